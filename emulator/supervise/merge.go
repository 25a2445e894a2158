package supervise

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"unicode"
	"unicode/utf8"
)

// palette holds the colours of names: the bright and the plain ones that can be
// read on a dark and on a light background.
var palette = []string{"36", "35", "34", "32", "33", "96", "95", "94", "92"}

// Merged writes the lines of many programs into one stream, each with the name
// of its program before it. It is safe for concurrent use.
type Merged struct {
	width    int
	prefixes map[string]string // only for the names known from the start
	color    bool

	mu     sync.Mutex
	writer io.Writer
	line   []byte
}

// NewMerged returns a Merged for these names, coloured or not.
func NewMerged(writer io.Writer, color bool, names ...string) *Merged {
	m := &Merged{writer: writer, color: color, prefixes: map[string]string{}}
	for _, name := range names {
		m.width = max(m.width, utf8.RuneCountInString(name))
	}
	for i, name := range names {
		m.prefixes[name] = m.prefix(name, palette[i%len(palette)])
	}
	return m
}

func (m *Merged) prefix(name, color string) string {
	text := fmt.Sprintf("%-*s | ", m.width, printable([]byte(name), false))
	if !m.color {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

// Line writes one line of a program. What could confuse a terminal is made
// visible; colours stay if there are to be any.
func (m *Merged) Line(name string, line []byte) {
	prefix, known := m.prefixes[name]
	if !known {
		prefix = m.prefix(name, "2")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.line = append(m.line[:0], prefix...)
	m.line = append(m.line, printable(line, m.color)...)
	if m.color && bytes.ContainsRune(line, '\x1b') {
		m.line = append(m.line, "\x1b[0m"...)
	}
	m.line = append(m.line, '\n')
	// Nobody could be told that the one place for messages is gone.
	_, _ = m.writer.Write(m.line)
}

// Writer returns a writer for one name, to which whole lines must be written, as
// loggers do.
func (m *Merged) Writer(name string) io.Writer { return lineWriter{m, name} }

type lineWriter struct {
	merged *Merged
	name   string
}

func (w lineWriter) Write(text []byte) (int, error) {
	for line := range bytes.Lines(text) {
		w.merged.Line(w.name, bytes.TrimRight(line, "\r\n"))
	}
	return len(text), nil
}

// printable makes a line harmless for a terminal. Of what was overwritten by
// means of carriage returns only the last state is kept, as one would see it.
func printable(line []byte, color bool) []byte {
	if i := bytes.LastIndexByte(bytes.TrimRight(line, "\r"), '\r'); i >= 0 {
		line = line[i+1:]
	}
	if isPlain(line) {
		return line
	}
	var safe []byte
	for len(line) > 0 {
		if n := colorLength(line); n > 0 {
			if color {
				safe = append(safe, line[:n]...)
			}
			line = line[n:]
			continue
		}
		r, size := utf8.DecodeRune(line)
		switch {
		case r == '\t' || unicode.IsPrint(r) && r != utf8.RuneError:
			safe = append(safe, line[:size]...)
		case r != '\r':
			safe = append(safe, "\uFFFD"...)
		}
		line = line[size:]
	}
	return safe
}

func isPlain(line []byte) bool {
	for _, b := range line {
		if (b < ' ' && b != '\t') || b >= 0x7f {
			return false
		}
	}
	return true
}

// colorLength returns how long the sequence is that sets colours and begins the
// line, 0 if there is none.
func colorLength(line []byte) int {
	if len(line) < 3 || line[0] != '\x1b' || line[1] != '[' {
		return 0
	}
	for i, b := range line[2:] {
		if b == 'm' {
			return i + 3
		}
		if (b < '0' || b > '9') && b != ';' && b != ':' {
			return 0
		}
	}
	return 0
}
