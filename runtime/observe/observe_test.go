package observe_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/observe"
)

var moment = time.Date(2024, 1, 15, 11, 30, 45, 123456789, time.FixedZone("CET", 3600))

// logger returns a logger with what it has written.
func logger(t *testing.T, options observe.Options) (*slog.Logger, *bytes.Buffer) {
	t.Helper()
	var written bytes.Buffer
	options.Writer = &written
	made, err := observe.New(options)
	if err != nil {
		t.Fatal(err)
	}
	return made, &written
}

// say logs at a fixed moment.
func say(l *slog.Logger, level slog.Level, message string, attrs ...slog.Attr) {
	if !l.Enabled(context.Background(), level) {
		return
	}
	record := slog.NewRecord(moment, level, message, 0)
	record.AddAttrs(attrs...)
	if err := l.Handler().Handle(context.Background(), record); err != nil {
		panic(err)
	}
}

func TestTextIsOneLineForPeople(t *testing.T) {
	t.Parallel()
	l, written := logger(t, observe.Options{Format: "text"})
	part := observe.Component(l, "aggregate").With(observe.KeyDomain, "order")
	say(l, slog.LevelInfo, "Starting")
	say(part, slog.LevelWarn, "slow answer", slog.Duration("duration", 1500*time.Millisecond), slog.Any("error", errors.New("no \x1b[31m\nroute")))
	say(part.WithGroup("call"), slog.LevelError, "two\nlines", slog.String("empty", ""), slog.Group("in", slog.Int("n", 1)), slog.Attr{})
	want := `2024-01-15T10:30:45.123Z  INFO angzarr: Starting
2024-01-15T10:30:45.123Z  WARN angzarr.aggregate: slow answer domain=order duration=1.5s error="no \x1b[31m\nroute"
2024-01-15T10:30:45.123Z ERROR angzarr.aggregate: two\nlines domain=order call.empty="" call.in.n=1
`
	if diff := cmp.Diff(want, written.String()); diff != "" {
		t.Error(diff)
	}
}

func TestColorMarksTheLevelOnly(t *testing.T) {
	t.Parallel()
	l, written := logger(t, observe.Options{Terminal: true, Color: true})
	say(l, slog.LevelError, "failed", slog.String("why", "x"))
	want := "\x1b[2m2024-01-15T10:30:45.123Z\x1b[0m \x1b[31mERROR\x1b[0m \x1b[2mangzarr:\x1b[0m failed \x1b[2mwhy=\x1b[0mx\n"
	if diff := cmp.Diff(want, written.String()); diff != "" {
		t.Error(diff)
	}
}

func TestJSONIsOneObjectForPrograms(t *testing.T) {
	t.Parallel()
	l, written := logger(t, observe.Options{Directives: "trace"})
	part := observe.Component(l, "saga").With(observe.KeyComponent, "loyalty")
	say(part, observe.LevelTrace, "a\nb", slog.Duration(observe.KeyDuration, 1500*time.Microsecond), slog.Uint64(observe.KeySequence, 7))
	var got map[string]any
	if err := json.Unmarshal(written.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"time": "2024-01-15T10:30:45.123Z", "level": "TRACE", "msg": "a\nb", "target": "angzarr.saga",
		"component": "loyalty", "duration_ms": 1.5, "sequence": 7.0,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestFormatFollowsTheTerminalUnlessChosen(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		options observe.Options
		json    bool
	}{
		{observe.Options{}, true},
		{observe.Options{Terminal: true}, false},
		{observe.Options{Terminal: true, Format: "json"}, true},
		{observe.Options{Format: "text"}, false},
	} {
		l, written := logger(t, test.options)
		l.Info("hello")
		if got := strings.HasPrefix(written.String(), "{"); got != test.json {
			t.Errorf("%+v: wrote %q, JSON expected: %v", test.options, written, test.json)
		}
	}
}

func TestDirectivesChooseTheLevel(t *testing.T) {
	t.Parallel()
	const off = "OFF"
	for _, test := range []struct{ directives, base, aggregate, gateway string }{
		{"", "INFO", "INFO", "INFO"},
		{"debug", "DEBUG", "DEBUG", "DEBUG"},
		{"TRACE", "TRACE", "TRACE", "TRACE"},
		{"off", off, off, off},
		{"angzarr=debug,info", "DEBUG", "DEBUG", "DEBUG"},
		{"warn,angzarr.aggregate=trace", "WARN", "TRACE", "WARN"},
		{"angzarr::aggregate=debug", "INFO", "DEBUG", "INFO"},
		{"angzarr.aggregate=debug,angzarr=error", "ERROR", "DEBUG", "ERROR"},
		{"sqlx=debug,angzarr=info", "INFO", "INFO", "INFO"},
		{"hyper::client=off , tower-http=trace,", "INFO", "INFO", "INFO"},
		{"angz.gateway=error", "INFO", "INFO", "ERROR"},
		{"angzarr", "TRACE", "TRACE", "TRACE"},
		{"angzarr=debug,angzarr=warn", "WARN", "WARN", "WARN"},
		{"angzarr.agg=debug", "INFO", "INFO", "INFO"},
	} {
		l, _ := logger(t, observe.Options{Directives: test.directives})
		got := []string{least(l), least(observe.Component(l, "aggregate")), least(observe.Component(l, "gateway"))}
		if diff := cmp.Diff([]string{test.base, test.aggregate, test.gateway}, got); diff != "" {
			t.Errorf("%q: %s", test.directives, diff)
		}
	}
}

// least names the lowest level that a logger writes.
func least(l *slog.Logger) string {
	for _, level := range []struct {
		level slog.Level
		name  string
	}{{observe.LevelTrace, "TRACE"}, {slog.LevelDebug, "DEBUG"}, {slog.LevelInfo, "INFO"}, {slog.LevelWarn, "WARN"}, {slog.LevelError, "ERROR"}} {
		if l.Enabled(context.Background(), level.level) {
			return level.name
		}
	}
	return "OFF"
}

func TestWrongOptionsSayWhichAndWhatIsExpected(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		options observe.Options
		want    string
	}{
		{observe.Options{Directives: "info,angzarr=loud"}, `log directive "angzarr=loud": found "loud", expected a level: off, error, warn, info, debug or trace`},
		{observe.Options{Directives: "debgu"}, `log directive "debgu": found "debgu", expected a level (off, error, warn, info, debug, trace) or target=level, such as angzarr.aggregate=debug`},
		{observe.Options{Directives: "=info"}, `log directive "=info": found "", expected a level (off, error, warn, info, debug, trace) or target=level, such as angzarr.aggregate=debug`},
		{observe.Options{Directives: "a b=info"}, `log directive "a b=info": found "a b", expected a level (off, error, warn, info, debug, trace) or target=level, such as angzarr.aggregate=debug`},
		{observe.Options{Format: "xml"}, `log format: found "xml", expected text or json`},
	} {
		_, err := observe.New(test.options)
		if err == nil || err.Error() != test.want {
			t.Errorf("%+v:\n got %v\nwant %v", test.options, err, test.want)
		}
	}
}

func TestComponentWorksWithAnyLogger(t *testing.T) {
	t.Parallel()
	observe.Component(nil, "relay").Error("nobody hears this")
	var written bytes.Buffer
	foreign := slog.New(slog.NewTextHandler(&written, nil))
	observe.Component(foreign, "relay").Info("hello")
	if !strings.Contains(written.String(), "target=angzarr.relay") {
		t.Errorf("wrote %q", written.String())
	}
}

func TestADisabledLevelCostsNoMemory(t *testing.T) {
	l, err := observe.New(observe.Options{Writer: io.Discard, Format: "text"})
	if err != nil {
		t.Fatal(err)
	}
	part, ctx := observe.Component(l, "aggregate"), context.Background()
	got := testing.AllocsPerRun(100, func() {
		part.DebugContext(ctx, "decided", observe.KeyDomain, "order")
		part.LogAttrs(ctx, observe.LevelTrace, "decided", slog.String(observe.KeyDomain, "order"), slog.Int(observe.KeySequence, 123456))
	})
	if got != 0 {
		t.Errorf("%v allocations, expected none", got)
	}
}

func TestLinesOfManyGoroutinesStayWhole(t *testing.T) {
	t.Parallel()
	l, written := logger(t, observe.Options{Format: "text"})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 100 {
				l.Info("hello", "key", "value")
			}
		})
	}
	all.Wait()
	for line := range strings.Lines(written.String()) {
		if !strings.HasSuffix(line, "  INFO angzarr: hello key=value\n") {
			t.Fatalf("a broken line: %q", line)
		}
	}
}

func TestFailedCallsAreLoggedWithoutPayload(t *testing.T) {
	t.Parallel()
	l, written := logger(t, observe.Options{Format: "text", Directives: "debug"})
	intercept := observe.UnaryServer(l)
	command := &pb.CommandBook{Cover: &pb.Cover{Domain: "order"}, CorrelationId: "c-1"}
	call := func(request any, err error) string {
		written.Reset()
		_, got := intercept(t.Context(), request, &grpc.UnaryServerInfo{FullMethod: "/a/B"}, func(context.Context, any) (any, error) { return nil, err })
		if !errors.Is(got, err) {
			t.Errorf("the interceptor made %v of %v", got, err)
		}
		_, rest, _ := strings.Cut(written.String(), "Z ")
		before, after, _ := strings.Cut(rest, " duration=")
		_, after, _ = strings.Cut(after, " ")
		return strings.TrimSpace(before + " " + after)
	}
	got := []string{
		call(command, nil),
		call(&pb.SyncCommandBook{Command: command}, status.Error(codes.Internal, "it broke")),
		call(command, status.Error(codes.NotFound, "no such domain")),
		call(&pb.SyncEventBook{}, status.Error(codes.Unavailable, "down")),
		call(nil, status.Error(codes.InvalidArgument, "no")),
	}
	want := []string{
		"",
		`WARN angzarr: call failed method=/a/B code=Internal error="it broke" domain=order correlation_id=c-1`,
		`DEBUG angzarr: call failed method=/a/B code=NotFound error="no such domain" domain=order correlation_id=c-1`,
		`WARN angzarr: call failed method=/a/B code=Unavailable error=down domain=""`,
		`DEBUG angzarr: call failed method=/a/B code=InvalidArgument error=no`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

type serverStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s serverStream) Context() context.Context { return s.ctx }

func TestFailedStreamsAreLogged(t *testing.T) {
	t.Parallel()
	l, written := logger(t, observe.Options{Format: "text"})
	failed := status.Error(codes.DataLoss, "gone")
	err := observe.StreamServer(l)(nil, serverStream{ctx: t.Context()}, &grpc.StreamServerInfo{FullMethod: "/a/S"}, func(any, grpc.ServerStream) error { return failed })
	if !errors.Is(err, failed) || !strings.Contains(written.String(), "call failed method=/a/S code=DataLoss") {
		t.Errorf("returned %v, wrote %q", err, written.String())
	}
}

func FuzzDirectives(f *testing.F) {
	for _, seed := range []string{"", "info", "angzarr=debug,info", "angzarr::aggregate=trace", "sqlx=debug", "=,,=", "a=b=c", "angz.=x", "\xff=info"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		l, err := observe.New(observe.Options{Writer: io.Discard, Directives: text})
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\x1b") || len(err.Error()) > 2000 {
				t.Errorf("an error not fit to print: %q", err)
			}
			return
		}
		least(observe.Component(l, "aggregate"))
	})
}
