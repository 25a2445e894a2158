// Package journal is what angz and the services of a project say, in one place:
// lines of any dialect are understood, shown on a console with the name of who
// said them, kept in files that do not grow without end, and read again. However
// much a service says, memory stays bounded and angz responsive; DESIGN.md beside
// this file says how.
package journal

import (
	"bytes"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// The levels that lines have besides those of slog.
const (
	LevelTrace = slog.LevelDebug - 4
	LevelFatal = slog.LevelError + 4
)

const (
	// maxLine is how long a line may be, in bytes. A longer one comes in pieces.
	maxLine = 64 << 10
	// flushEvery is how long a line waits at most until it is in its file.
	flushEvery = 150 * time.Millisecond
)

// Options describe a journal.
type Options struct {
	Console io.Writer // where lines are shown; nil for nowhere
	Color   bool      // of the console
	JSON    bool      // the console gets JSON, one object a line
	// Dir is the folder of the files, one for each name. Empty keeps no files, but
	// the newest lines in memory.
	Dir string
	// Quiet shows on the console only what angz itself says, by a Writer or Record.
	Quiet bool
	Names []string         // of those known from the start
	Clock func() time.Time // time.Now; its location is the one that times are shown in
}

// Filter says what the console shows. The files keep everything.
type Filter struct {
	Names []string // none for all
	// MinLevel leaves out the lines below it; nil leaves out none. A line without a
	// level counts as one for information.
	MinLevel slog.Leveler
}

func (f Filter) names(name string) bool {
	return len(f.Names) == 0 || slices.Contains(f.Names, name)
}

func (f Filter) level(level slog.Level) bool {
	return f.MinLevel == nil || level >= f.MinLevel.Level()
}

// Journal takes lines. It is safe for concurrent use.
type Journal struct {
	options Options
	console *console // nil for none

	mu      sync.RWMutex
	streams map[string]*stream
	names   []string // in the order of their coming
	closed  bool
	readers atomic.Pointer[[]*reader] // who reads what is to come

	keeping sync.WaitGroup
	dirty   chan struct{} // holds a token when there is something to keep
	done    chan struct{} // closed by Close

	trouble sync.Mutex
	failing error // why lines cannot be kept; nil if they can
}

// New returns a journal. Files that cannot be written are told of on the console,
// once, and then done without. The caller closes it.
func New(options Options) *Journal {
	if options.Clock == nil {
		options.Clock = time.Now
	}
	j := &Journal{options: options, streams: map[string]*stream{}, dirty: make(chan struct{}, 1), done: make(chan struct{})}
	j.readers.Store(&[]*reader{})
	if options.Console != nil {
		j.console = newConsole(options)
	}
	for _, name := range options.Names {
		j.Add(name)
	}
	j.keeping.Go(j.keep)
	return j
}

// Add makes a name known, so that its lines are aligned with others from the
// first one on. A name that is not known is added by its first line.
func (j *Journal) Add(name string) { j.stream(name) }

// Names returns the names known so far, in the order of their coming.
func (j *Journal) Names() []string {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return slices.Clone(j.names)
}

func (j *Journal) stream(name string) *stream {
	j.mu.RLock()
	known := j.streams[name]
	j.mu.RUnlock()
	if known != nil {
		return known
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if known = j.streams[name]; known == nil {
		known = newStream(name, j.options.Dir)
		j.streams[name] = known
		j.names = append(j.names, name)
		j.console.add(name)
	}
	return known
}

// Line takes a line of a service, without its end. It does not keep line. It may
// wait for the disk, and never for the console or for who reads the journal.
func (j *Journal) Line(name string, line []byte) {
	j.take(name, line, "", !j.options.Quiet)
}

// Record takes a line of angz itself that the console shows otherwise: the text
// there, which may have colours and several lines, and the line in the files.
func (j *Journal) Record(name string, line []byte, text string) {
	j.take(name, line, text, true)
}

// Writer returns a writer for what angz itself says under a name. It must be
// given whole lines, as loggers do; JSON is understood best.
func (j *Journal) Writer(name string) io.Writer { return lineWriter{j, name} }

type lineWriter struct {
	journal *Journal
	name    string
}

func (w lineWriter) Write(text []byte) (int, error) {
	for line := range bytes.Lines(text) {
		w.journal.take(w.name, bytes.TrimRight(line, "\r\n"), "", true)
	}
	return len(text), nil
}

func (j *Journal) take(name string, line []byte, text string, show bool) {
	s, now := j.stream(name), j.options.Clock()
	for first := true; first || len(line) > 0; first = false {
		end := min(len(line), maxLine)
		next := end
		if i := bytes.IndexByte(line[:end], '\n'); i >= 0 {
			end, next = i, i+1
		}
		piece := line[:end]
		line = line[next:]
		j.put(s, now, piece)
		if show && j.console != nil {
			if j.console.line(s.name, now, piece, text) {
				j.wake()
			}
			text = ""
		}
	}
}

// put keeps a line and hands it to those who read.
func (j *Journal) put(s *stream, now time.Time, line []byte) {
	s.mu.Lock()
	first, err := s.put(now, line)
	for _, reader := range *j.readers.Load() {
		reader.offer(s.name, s.count, now, line)
	}
	s.mu.Unlock()
	if err != nil {
		j.troubled(err)
	}
	if first {
		j.wake()
	}
}

// wake says that something waits to be kept or told.
func (j *Journal) wake() {
	select {
	case j.dirty <- struct{}{}:
	default:
	}
}

// keep writes what waits to the files, until Close. It sleeps as long as nothing
// is said.
func (j *Journal) keep() {
	timer := time.NewTimer(0)
	<-timer.C
	for {
		select {
		case <-j.dirty:
		case <-j.done:
			return
		}
		timer.Reset(flushEvery)
		select {
		case <-timer.C:
		case <-j.done:
			return
		}
		j.flush()
		if j.console.tellLeftOut(j.options.Clock()) {
			j.wake()
		}
	}
}

func (j *Journal) flush() {
	var failed error
	for _, s := range j.all() {
		s.mu.Lock()
		_ = s.flush() // it is remembered
		if s.failed != nil {
			failed = s.failed
		}
		s.mu.Unlock()
	}
	if failed != nil {
		j.troubled(failed)
		return
	}
	j.untroubled()
}

// all returns the streams in the order of their coming.
func (j *Journal) all() []*stream {
	j.mu.RLock()
	defer j.mu.RUnlock()
	all := make([]*stream, len(j.names))
	for i, name := range j.names {
		all[i] = j.streams[name]
	}
	return all
}

// troubled says once that lines cannot be kept.
func (j *Journal) troubled(err error) {
	j.trouble.Lock()
	known := j.failing != nil
	j.failing = err
	j.trouble.Unlock()
	if !known {
		j.console.say(slog.LevelWarn, "logs cannot be kept, everything else goes on: "+err.Error())
	}
}

func (j *Journal) untroubled() {
	j.trouble.Lock()
	known := j.failing != nil
	j.failing = nil
	j.trouble.Unlock()
	if known {
		j.console.say(slog.LevelInfo, "logs are kept again")
	}
}

// SetFilter changes what the console shows from now on.
func (j *Journal) SetFilter(filter Filter) { j.console.setFilter(filter) }

// Pause stops the console. What is said meanwhile is shown by Resume, as far as
// there is room for it; of the rest it is said how much it is.
func (j *Journal) Pause() { j.console.pause(true) }

// Resume lets the console go on.
func (j *Journal) Resume() { j.console.pause(false) }

// Close writes what waits to the files and the console and ends all reading. A
// console that takes nothing is given up after two seconds. Nothing may be said
// afterwards.
func (j *Journal) Close() error {
	j.mu.Lock()
	closed := j.closed
	j.closed = true
	j.mu.Unlock()
	if closed {
		return nil
	}
	close(j.done)
	j.keeping.Wait()
	var err error
	for _, s := range j.all() {
		s.mu.Lock()
		if closeErr := s.close(); closeErr != nil {
			err = closeErr
		}
		s.mu.Unlock()
	}
	for _, reader := range *j.readers.Load() {
		reader.close()
	}
	j.console.tellLeftOut(time.Time{})
	j.console.close()
	return err
}
