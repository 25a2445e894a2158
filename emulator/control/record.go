package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Record is what an emulator writes down about itself for those who look for it.
// It holds as long as the lock of its project is held.
type Record struct {
	Project  string    `json:"project"` // what the project is called
	Dir      string    `json:"dir"`     // its folder, absolute
	PID      int       `json:"pid"`
	Socket   string    `json:"socket"` // where it is controlled, absolute
	Started  time.Time `json:"started"`
	Detached bool      `json:"detached"`
	Terminal string    `json:"terminal,omitempty"` // that it was started in, such as /dev/pts/3
}

// longestSocket is how long the path of a control socket may be, in bytes. Some
// systems have room for 103, and the socket is made under another name first.
const longestSocket = 100

// longestRecord bounds what is read of a record, in bytes.
const longestRecord = 64 << 10

// parseRecord reads the text of a record and makes sure that it can be used.
func parseRecord(text []byte) (Record, error) {
	var record Record
	decoder := json.NewDecoder(bytes.NewReader(text))
	if err := decoder.Decode(&record); err != nil {
		return Record{}, fmt.Errorf("no JSON object of angz: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return Record{}, errors.New("found more after the JSON object, expected its end")
	}
	return record, record.check()
}

func (r Record) check() error {
	switch {
	case r.PID <= 0 || r.PID > 1<<31-1:
		return fmt.Errorf("pid: found %d, expected the number of a process", r.PID)
	case !filepath.IsAbs(r.Dir) || strings.ContainsRune(r.Dir, 0):
		return fmt.Errorf("dir: found %q, expected an absolute path", r.Dir)
	case !filepath.IsAbs(r.Socket) || strings.ContainsRune(r.Socket, 0) || len(r.Socket) > longestSocket:
		return fmt.Errorf("socket: found %q, expected an absolute path of at most %d bytes", r.Socket, longestSocket)
	case r.Started.IsZero():
		return errors.New("started: found nothing, expected a time")
	}
	return nil
}

// readRecord reads a record from a file.
func readRecord(path string) (Record, error) {
	file, err := os.Open(path)
	if err != nil {
		return Record{}, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, longestRecord))
	if err != nil {
		return Record{}, err
	}
	record, err := parseRecord(text)
	if err != nil {
		return Record{}, fmt.Errorf("read %s: %w", path, err)
	}
	return record, nil
}

// write puts the record into a file, which others see whole or not at all.
func (r Record) write(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".record")
	if err != nil {
		return err
	}
	_, err = file.Write(append(text, '\n'))
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return nil
}

// where says in words from where the emulator was started.
func (r Record) where() string {
	switch {
	case r.Detached:
		return "detached"
	case r.Terminal != "":
		return "in the terminal " + r.Terminal
	}
	return "without a terminal"
}
