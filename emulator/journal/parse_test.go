package journal_test

import (
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/angz-dev/angz/emulator/journal"
)

// came is when the lines of these tests come.
var came = time.Date(2026, 10, 28, 12, 34, 57, 0, time.UTC)

// said is when they say that they were written.
var said = time.Date(2026, 10, 28, 12, 34, 56, 789_000_000, time.UTC)

func f(key, value string) journal.Field { return journal.Field{Key: key, Value: value} }
func raw(key, value string) journal.Field {
	return journal.Field{Key: key, Value: value, JSON: true}
}

func TestLinesAreUnderstoodWhateverTheirDialect(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		line string
		want journal.Entry
	}{
		"slog": {
			`{"time":"2026-10-28T12:34:56.789Z","level":"WARN","msg":"slow","order":{"id":7,"of":{"who":"a b"}},"correlation_id":"c1","trace_id":"t1"}`,
			journal.Entry{Time: said, Level: slog.LevelWarn, Leveled: true, Text: "slow", Fields: []journal.Field{raw("order.id", "7"), f("order.of.who", "a b"), f("trace_id", "t1")}, Correlation: "c1", Trace: "t1"},
		},
		"slog between levels": {`{"time":"2026-10-28T12:34:56.789Z","level":"ERROR+2","msg":"m"}`, journal.Entry{Time: said, Level: slog.LevelError, Leveled: true, Text: "m"}},
		"zap": {
			`{"level":"info","ts":1793190896.789,"caller":"order/main.go:12","msg":"started","port":50051}`,
			journal.Entry{Time: said, Leveled: true, Text: "started", Fields: []journal.Field{f("caller", "order/main.go:12"), raw("port", "50051")}},
		},
		"logrus": {`{"level":"fatal","msg":"m","time":"2026-10-28T12:34:56Z"}`, journal.Entry{Time: said.Truncate(time.Second), Level: journal.LevelFatal, Leveled: true, Text: "m"}},
		"zerolog": {
			`{"level":"error","error":"no such row","time":1793190896,"message":"cannot"}`,
			journal.Entry{Time: said.Truncate(time.Second), Level: slog.LevelError, Leveled: true, Text: "cannot", Fields: []journal.Field{f("error", "no such row")}},
		},
		"structlog": {
			`{"customer": "alice", "event": "created \u00e9", "level": "info", "timestamp": "2026-10-28T12:34:56.789000Z", "correlationId": "c1"}`,
			journal.Entry{Time: said, Leveled: true, Text: "created é", Fields: []journal.Field{f("customer", "alice")}, Correlation: "c1"},
		},
		"python-json-logger": {
			`{"asctime": "2026-10-28 12:34:56,789", "levelname": "CRITICAL", "name": "root", "message": "gone", "event": "stop"}`,
			journal.Entry{Time: said, Level: journal.LevelFatal, Leveled: true, Text: "gone", Fields: []journal.Field{f("name", "root"), f("event", "stop")}},
		},
		"event before message": {`{"event":"stop","levelname":"INFO","message":"gone"}`, journal.Entry{Time: came, Leveled: true, Text: "gone", Fields: []journal.Field{f("event", "stop")}}},
		"pino": {
			`{"level":50,"time":1793190896789,"pid":12,"hostname":"h","msg":"m"}`,
			journal.Entry{Time: said, Level: slog.LevelError, Leveled: true, Text: "m", Fields: []journal.Field{raw("pid", "12"), f("hostname", "h")}},
		},
		"bunyan": {
			`{"name":"shop","hostname":"h","pid":1,"level":20,"msg":"m","time":"2026-10-28T12:34:56.789Z","v":0}`,
			journal.Entry{Time: said, Level: slog.LevelDebug, Leveled: true, Text: "m", Fields: []journal.Field{f("name", "shop"), f("hostname", "h"), raw("pid", "1"), raw("v", "0")}},
		},
		"tracing-subscriber": {
			`{"timestamp":"2026-10-28T12:34:56.789Z","level":"TRACE","fields":{"message":"took it","n":3},"target":"order","span":{"name":"handle"}}`,
			journal.Entry{Time: said, Level: journal.LevelTrace, Leveled: true, Text: "took it", Fields: []journal.Field{raw("n", "3"), f("target", "order"), f("span.name", "handle")}},
		},
		"ecs": {
			`{"@timestamp":"2026-10-28T12:34:56.789Z","log.level":"WARN","message":"m","ecs.version":"1.2.0","labels":{"correlation_id":"x"},"tags":["a","b"]}`,
			journal.Entry{Time: said, Level: slog.LevelWarn, Leveled: true, Text: "m", Fields: []journal.Field{f("ecs.version", "1.2.0"), f("labels.correlation_id", "x"), raw("tags", `["a","b"]`)}},
		},
		"ecs, nested": {`{"@timestamp":"2026-10-28T12:34:56.789Z","log":{"level":"error","logger":"x"},"message":"m"}`, journal.Entry{Time: said, Level: slog.LevelError, Leveled: true, Text: "m", Fields: []journal.Field{f("log.logger", "x")}}},
		"logback":     {`{"@timestamp":"2026-10-28T12:34:56.789+00:00","message":"m","level":"INFO","level_value":20000}`, journal.Entry{Time: said, Leveled: true, Text: "m", Fields: []journal.Field{raw("level_value", "20000")}}},
		"gcp":         {`{"severity":"NOTICE","message":"m","timestamp":"2026-10-28T12:34:56.789Z"}`, journal.Entry{Time: said, Leveled: true, Text: "m"}},
		"serilog":     {`{"@t":"2026-10-28T12:34:56.789Z","@mt":"m {n}","@l":"Warning","n":1}`, journal.Entry{Time: said, Level: slog.LevelWarn, Leveled: true, Text: "m {n}", Fields: []journal.Field{raw("n", "1")}}},
		"gelf":        {`{"short_message":"m","level":4,"timestamp":1793190896.789}`, journal.Entry{Time: said, Level: slog.LevelWarn, Leveled: true, Text: "m"}},

		"json of another day":   {`{"time":"2020-01-01T00:00:00Z","level":"info","msg":"m"}`, journal.Entry{Time: came, Leveled: true, Text: "m"}},
		"json that is no log":   {`{"a":1}`, journal.Entry{Time: came, Text: `{"a":1}`}},
		"json that is broken":   {`{"level":"error","msg":"m`, journal.Entry{Time: came, Text: `{"level":"error","msg":"m`}},
		"json with a tail":      {`{"level":"error","msg":"m"} x`, journal.Entry{Time: came, Text: `{"level":"error","msg":"m"} x`}},
		"a list":                {`["info"]`, journal.Entry{Time: came, Text: `["info"]`}},
		"an unknown level":      {`{"level":"loud","msg":"m"}`, journal.Entry{Time: came, Text: "m", Fields: []journal.Field{f("level", "loud")}}},
		"keys that come twice":  {`{"level":"info","level":"error","msg":"m","msg":"n"}`, journal.Entry{Time: came, Leveled: true, Text: "m", Fields: []journal.Field{f("level", "error"), f("msg", "n")}}},
		"escapes and a surplus": {`{"level":"info","msg":"a\"}\\","k\u0041":[1, {"}":"]"}]}`, journal.Entry{Time: came, Leveled: true, Text: `a"}\`, Fields: []journal.Field{raw("kA", `[1,{"}":"]"}]`)}}},

		"slog's text":         {`time=2026-10-28T12:34:56.789Z level=WARN msg="a b" n=1 correlation_id=c1`, journal.Entry{Time: said, Level: slog.LevelWarn, Leveled: true, Text: "a b", Fields: []journal.Field{f("n", "1")}, Correlation: "c1"}},
		"logrus's text":       {`time="2026-10-28T12:34:56Z" level=error msg="a \"b\"" err="x y"`, journal.Entry{Time: said.Truncate(time.Second), Level: slog.LevelError, Leveled: true, Text: `a "b"`, Fields: []journal.Field{f("err", "x y")}}},
		"no logfmt after all": {`set level=error with msg=x please`, journal.Entry{Time: came, Text: `set level=error with msg=x please`}},

		"plain":             {`listening on 50051`, journal.Entry{Time: came, Text: `listening on 50051`}},
		"capitals":          {`INFO listening`, journal.Entry{Time: came, Leveled: true, Text: `listening`}},
		"a sentence":        {`Info about nothing`, journal.Entry{Time: came, Text: `Info about nothing`}},
		"brackets":          {`[warn] slow`, journal.Entry{Time: came, Level: slog.LevelWarn, Leveled: true, Text: `slow`}},
		"python":            {`WARNING:root:a: b`, journal.Entry{Time: came, Level: slog.LevelWarn, Leveled: true, Text: `root:a: b`}},
		"python, asctime":   {`2026-10-28 12:34:56,789 - shop - ERROR - a - b`, journal.Entry{Time: said, Level: slog.LevelError, Leveled: true, Text: `shop - a - b`}},
		"uvicorn":           {`INFO:     Started server`, journal.Entry{Time: came, Leveled: true, Text: `Started server`}},
		"gunicorn":          {`[2026-10-28 12:34:56 +0000] [12] [INFO] Booting`, journal.Entry{Time: said.Truncate(time.Second), Leveled: true, Text: `[12] Booting`}},
		"loguru":            {`2026-10-28 12:34:56.789 | DEBUG    | m:f:1 - x`, journal.Entry{Time: said, Level: slog.LevelDebug, Leveled: true, Text: `m:f:1 - x`}},
		"go":                {`2026/10/28 12:34:56 listening  on all`, journal.Entry{Time: said.Truncate(time.Second), Text: `listening  on all`}},
		"a word in a text":  {`12:34:56.789 we saw an ERROR here - really`, journal.Entry{Time: said, Text: `we saw an ERROR here - really`}},
		"klog":              {`E1028 12:34:56.789000      12 file.go:3] cannot`, journal.Entry{Time: said, Level: slog.LevelError, Leveled: true, Text: `12 file.go:3] cannot`}},
		"env_logger":        {`[2026-10-28T12:34:56Z WARN  order::main] slow`, journal.Entry{Time: said.Truncate(time.Second), Level: slog.LevelWarn, Leveled: true, Text: `[order::main] slow`}},
		"tracing's text":    {"\x1b[2m2026-10-28T12:34:56.789000Z\x1b[0m \x1b[32m INFO\x1b[0m order: took it", journal.Entry{Time: said, Leveled: true, Text: `order: took it`}},
		"logback's text":    {`12:34:56.789 [main] INFO  com.shop.Order - took it`, journal.Entry{Time: said, Leveled: true, Text: `[main] com.shop.Order - took it`}},
		"java":              {`Exception in thread "main" x`, journal.Entry{Time: came, Level: slog.LevelError, Leveled: true, Text: `Exception in thread "main" x`}},
		"a traceback":       {`Traceback (most recent call last):`, journal.Entry{Time: came, Level: slog.LevelError, Leveled: true, Text: `Traceback (most recent call last):`}},
		"its indented rest": {`  File "a.py", line 3`, journal.Entry{Time: came, Text: `  File "a.py", line 3`}},
		"a panic":           {`panic: oh`, journal.Entry{Time: came, Level: journal.LevelFatal, Leveled: true, Text: `panic: oh`}},
		"rustc":             {`error[E0308]: mismatched types`, journal.Entry{Time: came, Level: slog.LevelError, Leveled: true, Text: `error[E0308]: mismatched types`}},
		"binary":            {"\x00\xff\x1b[2Jx", journal.Entry{Time: came, Text: "\x00\uFFFD\x1b[2Jx"}},
		"nothing":           {``, journal.Entry{Time: came}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.want.Name, c.want.Raw = "order", c.line
			got := journal.Parse("order", came, []byte(c.line))
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// FuzzParse has lines of anything understood and shown. Nothing panics, what is
// not taken out of a line stays in its text, and nothing moves the cursor.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`{"level":"info","msg":"m","a":{"b":[1,2]}}`, `[2026-10-28 12:34:56 +0000] [12] [INFO] Booting`, `level=info msg="a" b=c`, `E1028 12:34:56.789000 x`,
		`2026-10-28 12:34:56,789 - shop - ERROR - a`, "\x1b[31mERROR\x1b[0m \xff", "WARNING:root:x", "a\rb", `{"msg":"\ud800","fields":{"message":3}}`, "[", "INFO", `{"":{}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		entry := journal.Parse("order", came, line)
		if entry.Raw != string(line) {
			t.Errorf("%q is kept as %q", line, entry.Raw)
		}
		if !utf8.ValidString(entry.Text) {
			t.Errorf("the text of %q is %q", line, entry.Text)
		}
		var object map[string]any
		isObject := json.Unmarshal(line, &object) == nil
		for _, piece := range strings.Fields(entry.Text) {
			if !isObject && !strings.Contains(string(line), `\`) && utf8.Valid(line) && !strings.Contains(string(line), "\x1b") &&
				!strings.Contains(string(line), strings.TrimPrefix(piece, "[")) {
				t.Errorf("%q is in the text of %q and not in the line", piece, line)
			}
		}
		if message, ok := object["msg"].(string); ok && len(object) > 1 && entry.Leveled && entry.Text != message && !strings.Contains(string(line), `"msg"`) {
			t.Errorf("the text of %q is %q", line, entry.Text)
		}
		shown := show(t, line)
		if !utf8.ValidString(shown) || strings.ContainsAny(strings.TrimSuffix(shown, "\n"), "\x00\x1b\r\x07") {
			t.Errorf("%q is shown as %q", line, shown)
		}
	})
}

// show returns a line as a console shows it.
func show(t *testing.T, line []byte) string {
	t.Helper()
	var console strings.Builder
	j := journal.New(journal.Options{Console: &console, Clock: func() time.Time { return came }})
	j.Line("order", line)
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	return console.String()
}

func BenchmarkParse(b *testing.B) {
	for name, line := range map[string]string{
		"JSON":  `{"time":"2026-10-28T12:34:56.789Z","level":"INFO","msg":"order placed","order":"o1","amount":12.5,"customer":{"id":7,"name":"alice"},"correlation_id":"c1"}`,
		"text":  `2026-10-28 12:34:56,789 - shop - ERROR - order o1 of alice cannot be placed because the stock does not have it`,
		"plain": `order o1 of alice cannot be placed because the stock does not have it`,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				journal.Parse("order", came, []byte(line))
			}
		})
	}
}
