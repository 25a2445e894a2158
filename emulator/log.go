package emulator

import (
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/angz-dev/angz/emulator/supervise"
	"github.com/angz-dev/angz/runtime/observe"
)

// The names under which angz's own lines and the events stand in the log.
const (
	angzName   = "angz"
	eventsName = "events"
)

// log brings together what angz and the services have to say: lines with a name
// before them for people, JSON lines for programs.
type log struct {
	logger *slog.Logger // of the whole runtime
	angz   *slog.Logger // of the emulator
	events io.Writer    // where events are printed; nil for nowhere
	line   func(name string, line []byte)
	// advice prints a line that belongs to the one before; nil if it is in that.
	advice func(line string)

	last map[string]supervise.Status // the newest trouble of each service
}

func newLog(options Options, names []string) (*log, error) {
	format := options.Config.Log.Format
	if format == "" && !options.Terminal {
		format = "json"
	}
	directives := options.Config.Log.Directives
	if options.Quiet {
		directives = "warn"
	}
	l := &log{last: map[string]supervise.Status{}}
	settings := observe.Options{
		Writer: options.Stderr, Format: format, Directives: directives, Terminal: options.Terminal, Color: options.Color,
	}
	if format != "json" {
		merged := supervise.NewMerged(options.Stderr, options.Color, slices.Concat([]string{angzName, eventsName}, names)...)
		settings.Writer, l.events, l.line = merged.Writer(angzName), merged.Writer(eventsName), merged.Line
		l.advice = func(line string) { merged.Line(angzName, []byte("  "+line)) }
	}
	var err error
	if l.logger, err = observe.New(settings); err != nil {
		return nil, err
	}
	l.angz = observe.Component(l.logger, "emulator")
	if format == "json" {
		services := observe.Component(l.logger, "service")
		l.line = func(name string, line []byte) {
			services.Info(strings.ToValidUTF8(string(line), "\uFFFD"), observe.KeyComponent, name)
		}
	}
	if options.Quiet {
		l.events, l.line = nil, func(string, []byte) {}
	}
	return l, nil
}

// report tells what has become of a service.
func (l *log) report(status supervise.Status) {
	attributes := []any{observe.KeyComponent, status.Name}
	again := status.Starts > 1 && status.Cause != ""
	switch status.State {
	case supervise.Building, supervise.Rebuilding:
		if status.Starts > 0 {
			attributes = append(attributes, "cause", status.Cause)
		}
		l.angz.Info("building "+status.Name, attributes...)
	case supervise.Starting:
		attributes = append(attributes, observe.KeyAttempt, status.Starts, "cause", status.Cause)
		if again && status.Build == 0 && status.Cause != supervise.ItDied {
			l.angz.Info("starting "+status.Name+" again", attributes...)
			return
		}
		l.angz.Debug("starting "+status.Name, attributes...)
	case supervise.Ready:
		delete(l.last, status.Name)
		l.angz.Info(status.Name+" is ready"+map[bool]string{true: " again"}[again], append(attributes, readiness(status, again)...)...)
	case supervise.BuildFailed:
		l.trouble(status, status.Name+" is not started: what is wrong has to be corrected first", attributes)
	case supervise.Outdated:
		l.trouble(status, status.Name+" goes on as it was: what is wrong has to be corrected first", attributes)
	case supervise.Waiting:
		l.angz.Info("waiting for "+status.Name+", which somebody else starts", append(attributes, observe.KeyAddress, status.Address)...)
	case supervise.NotReady:
		l.trouble(status, status.Name+" is not ready, angz goes on waiting", attributes)
	case supervise.Died:
		attributes = append(attributes, observe.KeyDuration, status.Took, "restart_in", status.Delay)
		l.trouble(status, fmt.Sprintf("%s died and is started again", status.Name), attributes)
	}
}

// readiness says where a service is that is ready, and for one that was started
// again how long it was from the cause to here, the build apart.
func readiness(status supervise.Status, again bool) []any {
	attributes := []any{observe.KeyAddress, status.Address}
	if !again {
		return append(attributes, observe.KeyDuration, status.Took)
	}
	attributes = append(attributes, observe.KeyDuration, status.Whole)
	if status.Build > 0 {
		attributes = append(attributes, "build", status.Build)
	}
	return append(attributes, "cause", status.Cause)
}

// trouble tells what went wrong with a service, and once what it said before.
func (l *log) trouble(status supervise.Status, message string, attributes []any) {
	before, again := l.last[status.Name]
	l.last[status.Name] = status
	attributes = append(attributes, observe.KeyError, status.Problem)
	known := again && before.Problem == status.Problem && slices.Equal(before.Tail, status.Tail)
	if known || len(status.Tail) == 0 {
		l.angz.Error(message, attributes...)
		return
	}
	if l.advice == nil {
		l.angz.Error(message, append(attributes, "output", status.Tail)...)
		return
	}
	l.angz.Error(message+"; its last lines:", attributes...)
	for _, line := range status.Tail {
		l.advice(line)
	}
}

// mistakes tells what is wrong with a file that was saved. Nothing changes until
// it is corrected.
func (l *log) mistakes(file string, err error) {
	l.angz.Error(file+" cannot be used as it is, so angz goes on as before", "error", err)
}

func (l *log) add([]string)        {}
func (l *log) say(text string)     { l.angz.Info(text) }
func (l *log) clear()              {}
func (l *log) show([]string, bool) {}
