package tui

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	tea "charm.land/bubbletea/v2"
)

// The commands that were sent are kept in a file, a line of JSON for each: it can be
// read by people, and several programs can add to it at the same time. Payloads may
// hold secrets, so it belongs to its owner alone, and it does not grow without end.
const (
	// mostRemembered is how many commands are offered again.
	mostRemembered = 200
	// mostHistory is how large the file may become before its older half is dropped.
	mostHistory = 1 << 20 // bytes
	// largestRemembered is how large a command may be to be kept.
	largestRemembered = 32 << 10 // bytes
)

// historyMsg brings the commands of earlier sessions, or says why they, or the newest
// one, are not kept.
type historyMsg struct {
	commands []sentCommand
	err      error
}

// historyFile returns where commands are kept, empty for nowhere.
func (m *model) historyFile() string {
	if m.options.ReadOnly {
		return ""
	}
	return m.options.History
}

func (m *model) readHistory() tea.Cmd {
	file := m.historyFile()
	if file == "" {
		return nil
	}
	return func() tea.Msg {
		commands, err := readHistory(file)
		return historyMsg{commands, err}
	}
}

func (m *model) takeHistory(message historyMsg) tea.Cmd {
	if message.err != nil {
		m.say("", fmt.Errorf("sent commands are not kept for the next time: %w", message.err))
	}
	m.streams.history = slices.Concat(message.commands, m.streams.history)
	return nil
}

// remember keeps a command for this session and the next ones.
func (m *model) remember(command sentCommand) tea.Cmd {
	history := append(m.streams.history, command)
	m.streams.history = history[max(0, len(history)-mostRemembered):]
	file := m.historyFile()
	if file == "" {
		return nil
	}
	return func() tea.Msg {
		if err := addHistory(file, command); err != nil {
			return historyMsg{err: err}
		}
		return nil
	}
}

// readHistory reads the newest commands of a file. What is no command in it is passed
// over.
func readHistory(file string) (commands []sentCommand, err error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for line := range bytes.Lines(text) {
		var command sentCommand
		if json.Unmarshal(line, &command) == nil && command.Command != "" {
			commands = append(commands, command)
		}
	}
	return commands[max(0, len(commands)-mostRemembered):], err
}

// addHistory adds a command to a file.
func addHistory(file string, command sentCommand) error {
	line, err := json.Marshal(command)
	if err != nil || len(line) > largestRemembered {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	opened, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = opened.Write(append(line, '\n')) // at once, so that nobody writes in between
	info, sizeErr := opened.Stat()
	if err := errors.Join(err, opened.Chmod(0o600), sizeErr, opened.Close()); err != nil || info.Size() <= mostHistory {
		return err
	}
	return halve(file)
}

// halve drops the older half of a file.
func halve(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	half := text[len(text)/2:]
	half = half[bytes.IndexByte(half, '\n')+1:]
	made, err := os.CreateTemp(filepath.Dir(file), "history-*") // 0600
	if err != nil {
		return err
	}
	_, err = made.Write(half)
	if err := errors.Join(err, made.Close()); err != nil {
		return errors.Join(err, os.Remove(made.Name()))
	}
	return os.Rename(made.Name(), file)
}
