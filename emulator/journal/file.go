package journal

import (
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

const (
	// fileBytes is how long a file grows, and files how many there are of a name,
	// the one that grows included: order.log, order.1.log, order.2.log.
	fileBytes = 10 << 20
	files     = 3
	// bufferBytes of a name wait to be written.
	bufferBytes = 64 << 10
	// memoryBytes of a name are kept in memory when there are no files.
	memoryBytes = 256 << 10
)

// stampForm begins each line of a file: when the line came, always in UTC and of
// the same length, so that a file can be read again whatever its lines are.
const stampForm = "2006-01-02T15:04:05.000000Z"

// stream is what one name has said. Its lock is held by whoever calls a method.
type stream struct {
	name string
	path string // of the file that grows; empty for none

	mu      sync.Mutex
	count   uint64 // of the lines so far
	buffer  []byte // what is not in the file yet
	file    *os.File
	size    int64 // of file
	limit   int64 // of file, when it is put aside
	broken  bool  // the file may end within a line
	failed  error // why the newest attempt to write failed; nil if it did not
	newest  []kept
	inBytes int // of newest
}

// kept is one line in memory.
type kept struct {
	at   time.Time
	line []byte
}

func newStream(name, dir string) *stream {
	s := &stream{name: name, limit: fileBytes}
	if dir != "" {
		s.path = filepath.Join(dir, fileName(name))
	}
	return s
}

// fileName returns the name of the file for what a name says. Names that are no
// good as one are told apart by a number.
func fileName(name string) string {
	safe := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.' {
			return r
		}
		return '-'
	}, name)
	if safe != name || strings.HasPrefix(name, ".") || name == "" || len(name) > 100 {
		sum := fnv.New32a()
		_, _ = sum.Write([]byte(name)) // it never fails
		safe = fmt.Sprintf("%.80s-%08x", strings.TrimLeft(safe, "."), sum.Sum32())
	}
	return safe + ".log"
}

// put keeps a line. first says that nothing waited to be written before.
func (s *stream) put(at time.Time, line []byte) (first bool, err error) {
	s.count++
	if s.path == "" {
		s.remember(at, line)
		return false, nil
	}
	first = len(s.buffer) == 0
	s.buffer = at.UTC().AppendFormat(s.buffer, stampForm)
	s.buffer = append(s.buffer, ' ')
	s.buffer = append(s.buffer, line...)
	s.buffer = append(s.buffer, '\n')
	if len(s.buffer) >= bufferBytes {
		err = s.flush()
	}
	return first, err
}

func (s *stream) remember(at time.Time, line []byte) {
	s.newest = append(s.newest, kept{at, append([]byte(nil), line...)})
	s.inBytes += len(line) + perLine
	drop := 0
	for ; s.inBytes > memoryBytes; drop++ {
		s.inBytes -= len(s.newest[drop].line) + perLine
		s.newest[drop].line = nil
	}
	s.newest = s.newest[drop:]
}

// perLine is what a line takes in memory besides its text.
const perLine = 64

// flush writes what waits to the file, and begins another one if that has grown
// enough. What cannot be written is lost, so that it does not pile up.
func (s *stream) flush() error {
	if len(s.buffer) == 0 {
		return nil
	}
	s.failed = s.write(s.buffer)
	s.buffer = s.buffer[:0]
	if cap(s.buffer) > 4*bufferBytes {
		s.buffer = nil
	}
	return s.failed
}

func (s *stream) write(text []byte) error {
	if s.file == nil {
		if err := s.open(); err != nil {
			return err
		}
	}
	if s.broken {
		text = append([]byte("\n"), text...)
	}
	n, err := s.file.Write(text)
	s.size += int64(n)
	if err != nil {
		s.broken = s.broken || n > 0
		return err
	}
	s.broken = false
	if s.size < s.limit {
		return nil
	}
	return s.rotate()
}

func (s *stream) open() error {
	if err := os.MkdirAll(filepath.Dir(s.path), 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(s.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("%w (and %w)", err, file.Close())
	}
	s.file, s.size = file, info.Size()
	s.broken = s.size > 0 && !endsWithLine(s.path, s.size)
	return nil
}

// endsWithLine reports whether a file that somebody wrote before ends where a
// line does.
func endsWithLine(path string, size int64) bool {
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	last := make([]byte, 1)
	_, err = file.ReadAt(last, size-1)
	return err == nil && last[0] == '\n'
}

// rotate puts the file aside. If that is not possible, because somebody has it
// open where that matters, it grows a little longer.
func (s *stream) rotate() error {
	if err := s.file.Close(); err != nil {
		return err
	}
	s.file, s.limit = nil, fileBytes
	for i := files - 2; i >= 0; i-- {
		if err := os.Rename(s.numbered(i), s.numbered(i+1)); err != nil && !os.IsNotExist(err) {
			s.limit = s.size + fileBytes/10
			return nil
		}
	}
	return nil
}

// numbered returns the path of the i-th newest file.
func (s *stream) numbered(i int) string {
	if i == 0 {
		return s.path
	}
	return fmt.Sprintf("%s.%d.log", strings.TrimSuffix(s.path, ".log"), i)
}

func (s *stream) close() error {
	err := s.flush()
	if s.file == nil {
		return err
	}
	if closeErr := s.file.Close(); err == nil {
		err = closeErr
	}
	s.file = nil
	return err
}
