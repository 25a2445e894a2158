package supervise

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"
	"sync"
)

const (
	maxLine   = 64 << 10 // longer lines come in pieces
	tailLines = 10
	tailWidth = 1 << 10 // bytes kept of each line of the tail
)

// readLines calls emit for each line until the reader ends, with the line's end
// taken off. The line is valid only during the call.
func readLines(reader io.Reader, emit func(line []byte)) {
	buffered := bufio.NewReaderSize(reader, maxLine)
	for continued := false; ; {
		line, err := buffered.ReadSlice('\n')
		ended := bytes.HasSuffix(line, []byte("\n"))
		line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		// The end of a line that filled the last piece exactly is no empty line.
		if len(line) > 0 || ended && !continued {
			emit(line)
		}
		continued = errors.Is(err, bufio.ErrBufferFull)
		if err != nil && !continued {
			return
		}
	}
}

// tail keeps the last lines of an output.
type tail struct {
	mu   sync.Mutex
	kept []string
}

func (t *tail) add(line []byte) {
	text := string(line[:min(len(line), tailWidth)])
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.kept) == tailLines {
		t.kept = slices.Delete(t.kept, 0, 1)
	}
	t.kept = append(t.kept, text)
}

// lines returns the lines kept, oldest first; none for a nil tail.
func (t *tail) lines() []string {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.kept)
}
