package emulator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"

	"github.com/angz-dev/angz/emulator/control"
	"github.com/angz-dev/angz/emulator/journal"
	"github.com/angz-dev/angz/emulator/project"
	"github.com/angz-dev/angz/emulator/story"
	"github.com/angz-dev/angz/emulator/supervise"
	"github.com/angz-dev/angz/runtime/observe"
)

// The names under which angz itself, the events and the stories of commands stand
// in the log. No service is called so.
const (
	angzName   = "angz"
	eventsName = "events"
	storyName  = "story"
)

var ownNames = []string{angzName, eventsName, storyName}

// log brings together what angz and the services have to say.
type log struct {
	*journal.Journal
	logger  *slog.Logger    // of the whole runtime
	angz    *slog.Logger    // of the emulator
	events  io.Writer       // where events are printed
	stories *story.Recorder // what becomes of commands

	options Options
	last    map[string]supervise.Status // the newest trouble of each service
}

func newLog(options Options, names []string) (*log, error) {
	directives := options.Config.Log.Directives
	if options.Quiet {
		directives = "warn"
	}
	format := options.Config.Log.Format
	l := &log{options: options, last: map[string]supervise.Status{}, Journal: journal.New(journal.Options{
		Console: options.Stderr, Color: options.Color, JSON: format == "json" || format == "" && !options.Terminal, Quiet: options.Quiet,
		Dir: filepath.Join(options.Config.Dir, project.Folder, "logs"), Names: slices.Concat(ownNames, names),
	})}
	var err error
	// The journal understands JSON best, whatever it shows.
	if l.logger, err = observe.New(observe.Options{Writer: l.Writer(angzName), Format: "json", Directives: directives}); err != nil {
		return nil, err
	}
	l.angz = observe.Component(l.logger, "emulator")
	if len(options.Shown) > 0 {
		l.SetFilter(journal.Filter{Names: append(slices.Clone(options.Shown), angzName)})
	}
	l.events = lines{l.Journal, eventsName}
	l.stories = story.New(story.Options{Tell: l.tell})
	return l, nil
}

// lines writes whole lines as a service would, so that they are not shown where
// only angz itself is.
type lines struct {
	journal *journal.Journal
	name    string
}

func (w lines) Write(text []byte) (int, error) {
	for line := range strings.Lines(string(text)) {
		w.journal.Line(w.name, []byte(strings.TrimRight(line, "\r\n")))
	}
	return len(text), nil
}

// close writes what has been said. Nothing may be said afterwards.
func (l *log) close() error {
	l.stories.Close()
	return l.Journal.Close()
}

// tell tells what became of a command.
func (l *log) tell(told story.Story) {
	line, err := json.Marshal(told)
	if err != nil || l.options.Quiet {
		return // quiet, or nothing that could be said of it
	}
	var width int
	if l.options.Width != nil {
		width = l.options.Width()
	}
	l.Record(storyName, line, told.Text(story.Style{Color: l.options.Color, Width: width}))
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
		l.trouble(status, status.Name+" died and is started again", attributes)
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
	l.angz.Error(message+"; its last lines:", attributes...)
	for _, line := range status.Tail {
		_, _ = l.Writer(angzName).Write([]byte("  " + line + "\n"))
	}
}

// mistakes tells what is wrong with a file that was saved. Nothing changes until
// it is corrected. Who was told to stop while reading it has found no mistake.
func (l *log) mistakes(file string, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	l.angz.Error(file + " cannot be used as it is, so angz goes on as before:")
	for line := range strings.Lines(err.Error()) {
		_, _ = l.Writer(angzName).Write([]byte("  " + strings.TrimRight(line, "\n") + "\n"))
	}
}

// add makes the names of services known that have come later.
func (l *log) add(names []string) {
	for _, name := range names {
		l.Add(name)
	}
}

// say answers a person who has pressed a key.
func (l *log) say(text string) { l.print(text + "\n") }

// print writes to the console as it is.
func (l *log) print(text string) {
	// Nobody could be told that the console is gone.
	_, _ = io.WriteString(l.options.Stdout, text)
}

// clear empties the screen.
func (l *log) clear() { l.print("\x1b[H\x1b[2J\x1b[3J") }

// show chooses whose lines are shown, none for all, and whether only what is
// wrong.
func (l *log) show(names []string, warnings bool) {
	filter := journal.Filter{}
	what := "everything"
	if len(names) > 0 {
		filter.Names = slices.Concat(names, []string{angzName})
		what = strings.Join(names, ", ") + " and angz"
	}
	if warnings {
		filter.MinLevel = slog.LevelWarn
		what = "warnings and errors"
	}
	l.SetFilter(filter)
	l.say(fmt.Sprintf("showing %s; everything is kept in %s", what, filepath.Join(project.Folder, "logs")))
}

// Logs implements control.Emulator.
func (e controlled) Logs(ctx context.Context, filter control.LogFilter, each func(control.LogLine) error) error {
	query := journal.Query{Names: filter.Names, Since: filter.Since, Tail: filter.Tail, Follow: filter.Follow}
	if level, known := slogLevels[filter.MinLevel]; known {
		query.MinLevel = level
	}
	return e.log.Read(ctx, query, func(entry journal.Entry) error {
		if entry.Name == storyName {
			entry.Fields = nil // they say the same, for programs
		}
		return each(control.LogLine{Time: entry.Time, Name: entry.Name, Level: controlLevel(entry.Level), Text: entry.Line(), Raw: entry.Raw})
	})
}

// slogLevels are the levels of control in the journal's words.
var slogLevels = map[control.Level]slog.Level{
	control.LevelTrace: journal.LevelTrace, control.LevelDebug: slog.LevelDebug, control.LevelInfo: slog.LevelInfo,
	control.LevelWarn: slog.LevelWarn, control.LevelError: slog.LevelError,
}

func controlLevel(level slog.Level) control.Level {
	switch {
	case level >= slog.LevelError:
		return control.LevelError
	case level >= slog.LevelWarn:
		return control.LevelWarn
	case level >= slog.LevelInfo:
		return control.LevelInfo
	case level >= slog.LevelDebug:
		return control.LevelDebug
	}
	return control.LevelTrace
}
