package journal

import (
	"fmt"
	"io"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// consoleBytes wait for a console that is slow or paused. Older ones are left
	// out.
	consoleBytes = 512 << 10
	// A name may say so many lines and bytes on the console at once, and so many a
	// second for long.
	burstLines, burstBytes   = 2000, 512 << 10
	steadyLines, steadyBytes = 200, 64 << 10
	// silence is how long a name that says more is not shown.
	silence = time.Second
	// giveUp is how long Close waits for a console that takes nothing.
	giveUp = 2 * time.Second
)

// console shows lines. Whoever says something never waits for it: a goroutine of
// its own writes. All methods may be called on nil, which shows nothing.
type console struct {
	writer  io.Writer
	form    form
	folder  string // of the files, as it is told to people; empty for none
	clock   func() time.Time
	waiting *queue[shown]
	ended   chan struct{} // closed when the last thing has been written

	mu     sync.Mutex
	filter Filter
	floods map[string]*flood
}

// shown is a line as it is written.
type shown struct {
	name string
	text []byte
}

func (s shown) owner() string { return s.name }

// flood keeps one name from drowning the others.
type flood struct {
	lines, bytes float64 // that it may say at once
	at           time.Time
	until        time.Time // when it is shown again; zero if it is
	left         int       // lines that were left out
}

func newConsole(options Options) *console {
	c := &console{
		writer: options.Console, form: form{color: options.Color, json: options.JSON}, clock: options.Clock,
		waiting: newQueue(consoleBytes, func(s shown) int { return len(s.text) }), ended: make(chan struct{}), floods: map[string]*flood{},
	}
	if options.Dir != "" {
		// .angz/logs says more, in the project's folder, than the whole path.
		c.folder = filepath.Join(filepath.Base(filepath.Dir(options.Dir)), filepath.Base(options.Dir))
	}
	go c.write()
	return c
}

func (c *console) add(name string) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.form.add(name)
}

// line shows a line, as the text if there is one. It reports whether something has
// to be said later, of lines that were left out.
func (c *console) line(name string, at time.Time, line []byte, text string) (later bool) {
	c.mu.Lock()
	filter := c.filter
	c.mu.Unlock()
	if !filter.names(name) {
		return false
	}
	var entry Entry
	parsed := filter.MinLevel != nil
	if parsed {
		if entry = parse(name, at, line); !filter.level(entry.Level) {
			return false
		}
	}
	c.mu.Lock()
	allowed, left := c.flood(name).allow(at, len(line)+len(text))
	form := c.form
	c.mu.Unlock()
	if left > 0 {
		c.say(slog.LevelWarn, c.leftOut(name, left))
	}
	if !allowed {
		return true
	}
	if !parsed {
		entry = parse(name, at, line)
	}
	c.waiting.put(shown{name, form.entry(&entry, at, text)})
	return false
}

// flood returns the measure of a name. The caller holds the lock.
func (c *console) flood(name string) *flood {
	f := c.floods[name]
	if f == nil {
		f = &flood{lines: burstLines, bytes: burstBytes}
		c.floods[name] = f
	}
	return f
}

// allow reports whether a line of so many bytes is shown, and how many were left
// out before it.
func (f *flood) allow(now time.Time, size int) (allowed bool, left int) {
	if passed := now.Sub(f.at).Seconds(); passed > 0 {
		f.lines, f.bytes = min(f.lines+passed*steadyLines, burstLines), min(f.bytes+passed*steadyBytes, burstBytes)
		f.at = now
	}
	if now.Before(f.until) {
		f.left++
		return false, 0
	}
	left, f.left = f.left, 0
	f.until = time.Time{}
	if f.lines < 1 || f.bytes <= 0 {
		f.until, f.left = now.Add(silence), 1
		return false, left
	}
	f.lines--
	f.bytes -= float64(size)
	return true, left
}

// tellLeftOut says how many lines were left out of the names whose silence has
// passed; of all when now is zero. It reports whether others are still silent.
func (c *console) tellLeftOut(now time.Time) (later bool) {
	if c == nil {
		return false
	}
	c.mu.Lock()
	var notes []string
	for _, name := range slices.Sorted(maps.Keys(c.floods)) {
		switch f := c.floods[name]; {
		case f.left == 0:
		case !now.IsZero() && now.Before(f.until):
			later = true
		default:
			notes = append(notes, c.leftOut(name, f.left))
			f.left = 0
		}
	}
	c.mu.Unlock()
	for _, note := range notes {
		c.say(slog.LevelWarn, note)
	}
	return later
}

func (c *console) leftOut(name string, lines int) string {
	return fmt.Sprintf("… %s of %s left out here%s", count(lines), name, c.see(name))
}

// see says where lines are that are not shown.
func (c *console) see(name string) string {
	switch {
	case c.folder == "":
		return ""
	case name == "":
		return ", see " + c.folder
	}
	return ", see " + filepath.Join(c.folder, fileName(name))
}

func count(lines int) string {
	if lines == 1 {
		return "1 line"
	}
	digits := fmt.Sprint(lines)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits + " lines"
}

// noteName is the name under which the journal itself speaks.
const noteName = "angz"

// say shows a line of the journal's own, whatever the filter.
func (c *console) say(level slog.Level, text string) {
	if c == nil {
		return
	}
	c.waiting.put(c.note(level, text))
}

func (c *console) note(level slog.Level, text string) shown {
	now := c.clock()
	c.mu.Lock()
	form := c.form
	c.mu.Unlock()
	return shown{noteName, form.entry(&Entry{Time: now, Name: noteName, Level: level, Leveled: true, Text: text}, now, "")}
}

func (c *console) setFilter(filter Filter) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	filter.Names = slices.Clone(filter.Names)
	c.filter = filter
}

func (c *console) pause(paused bool) {
	if c != nil {
		c.waiting.hold(paused)
	}
}

// write writes what waits until the queue is closed and empty, or the console is
// gone.
func (c *console) write() {
	defer close(c.ended)
	const most = 64 << 10
	var batch []shown
	var text []byte
	for range c.waiting.ready {
		var dropped map[string]int
		var ended bool
		batch, dropped, ended = c.waiting.take(batch[:0], most)
		text = text[:0]
		if len(dropped) > 0 {
			text = append(text, c.note(slog.LevelWarn, c.dropped(dropped)).text...)
		}
		for i := range batch {
			text = append(text, batch[i].text...)
			batch[i] = shown{}
		}
		if len(text) > 0 {
			if _, err := c.writer.Write(text); err != nil {
				// Nobody could be told. The files go on.
				c.waiting.close()
				return
			}
		}
		if ended {
			return
		}
	}
}

// dropped says what a console that is slow or was paused has not been given.
func (c *console) dropped(lines map[string]int) string {
	total := 0
	var each []string
	for _, name := range slices.Sorted(maps.Keys(lines)) {
		total += lines[name]
		each = append(each, fmt.Sprintf("%s of %s", count(lines[name]), name))
	}
	said := ""
	if len(each) > 1 {
		said = " (" + strings.Join(each, ", ") + ")"
	}
	only := ""
	if len(each) == 1 {
		for name := range lines {
			only = name
			said = " of " + name
		}
	}
	return fmt.Sprintf("… %s%s left out here, because nobody took them%s", count(total), said, c.see(only))
}

// close writes what waits and ends the goroutine, unless the console takes
// nothing.
func (c *console) close() {
	if c == nil {
		return
	}
	c.waiting.close()
	timer := time.NewTimer(giveUp)
	defer timer.Stop()
	select {
	case <-c.ended:
	case <-timer.C:
	}
}
