// Package control lets other programs on the machine see and steer a running
// emulator: it holds the one lock by which a project runs once, serves what
// proto/angz/control.proto describes on a socket of the project, and finds that
// socket again from another terminal.
package control

import (
	"context"
	"slices"
	"time"

	"github.com/angz-dev/angz/emulator/supervise"
)

// Emulator is what control serves. Its methods are called by several goroutines.
//
// Names are checked before they are passed on: they are those of services in the
// newest Status, and for Logs also of its OtherLogs.
type Emulator interface {
	// Status returns how the project is doing now. It does not block.
	Status() Status
	// Restart has services built and started again, all of them if none is named,
	// and returns as soon as that is noted down. What becomes of it is seen in
	// Status: one that is ready again has more Starts, one whose build failed or
	// that died has another Since. The reason goes into the log and becomes the
	// Cause.
	Restart(ctx context.Context, names []string, reason string) error
	// Pause keeps changes of files from restarting services, all of them if none
	// is named; Resume ends that.
	Pause(names ...string) error
	Resume(names ...string) error
	// Stop asks the emulator to end and returns at once. It may be called twice.
	Stop()
	// Logs calls each for the lines that the filter lets through, oldest first:
	// those that are kept and then, with Follow, those to come until the context
	// ends. It returns each's error if there is one, and nil when the context
	// ends. No lock may be held while each runs, which takes as long as the
	// reader likes.
	Logs(ctx context.Context, filter LogFilter, each func(LogLine) error) error
	// Changed returns a channel that is closed at the next change of Status. It
	// is asked for before Status, so that no change is missed.
	Changed() <-chan struct{}
}

// Status is how a project is doing at one moment.
type Status struct {
	Project   string // what it is called
	Dir       string // its folder, absolute
	File      string // its configuration, absolute; empty for none
	PID       int    // of the emulator
	Since     time.Time
	Detached  bool       // it has no terminal
	Ready     bool       // the runtime serves and every service is ready
	Endpoints []Endpoint // where clients on this machine reach the runtime
	Store     string     // where the events are kept, in words
	Services  []Service  // in the order of the configuration
	OtherLogs []string   // what logs besides the services
}

// Endpoint is where clients on this machine reach the runtime.
type Endpoint struct {
	Role    string // "gateway", "aggregate", "query", "stream" or "log"
	Address string // host:port, or the path of a socket
}

// Service is how one of the user's services is doing.
type Service struct {
	Name     string
	Kind     string // "domain", "projector" or "saga"
	Language string // empty when it is not known
	State    supervise.State
	PID      int // 0 while there is no process
	Address  string
	Starts   int       // how often it has been started
	Since    time.Time // when it came into this state
	// Problem says what is wrong, Tail what it or its build said last.
	Problem   string
	Tail      []string
	Cause     string // why it was last started again
	Elsewhere bool   // the person starts it, angz only waits for it
	Paused    bool   // changes of files do not restart it now
}

// Level is how grave a line of the log is.
type Level int8

// The levels. A line that does not say counts as Info.
const (
	LevelUnknown Level = iota
	LevelTrace
	LevelDebug
	LevelInfo
	LevelWarn
	LevelError
)

// levelNames are the levels as people write them.
var levelNames = []string{"", "trace", "debug", "info", "warn", "error"}

// LevelNames returns the names of the levels that can be asked for.
func LevelNames() []string { return levelNames[1:] }

// String returns the level's name, which is empty for LevelUnknown.
func (l Level) String() string {
	if l < 0 || int(l) >= len(levelNames) {
		return ""
	}
	return levelNames[l]
}

// ParseLevel reads the name of a level.
func ParseLevel(name string) (Level, bool) {
	for i, known := range levelNames[1:] {
		if name == known {
			return Level(i + 1), true
		}
	}
	return LevelUnknown, false
}

// LogFilter says which lines of the log are wanted.
type LogFilter struct {
	Names    []string  // of what logged them; none for all
	MinLevel Level     // LevelUnknown for all
	Since    time.Time // zero for all
	Tail     int       // so many of the kept lines that pass, the newest; negative for all
	Follow   bool      // go on with the lines to come
}

// Accepts reports whether a line passes the filter, apart from Tail.
func (f LogFilter) Accepts(line LogLine) bool {
	level := line.Level
	if level == LevelUnknown {
		level = LevelInfo
	}
	return level >= f.MinLevel && !line.Time.Before(f.Since) && (len(f.Names) == 0 || slices.Contains(f.Names, line.Name))
}

// LogLine is one line of the log.
type LogLine struct {
	Time  time.Time
	Name  string // of the service, or of OtherLogs
	Level Level
	Text  string // what it says, for people
	Raw   string // the line itself where that is more than Text
}
