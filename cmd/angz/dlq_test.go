package main

import (
	"bytes"
	"context"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/angz-dev/angz/inspect"
	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/admin"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/eventstore/sqlite"
	"github.com/angz-dev/angz/runtime/transport"
)

// clinic is a running system with dead letters: of order tea one that failed and
// one behind it, of order milk one, and one that a saga left apart.
type clinic struct {
	socket string
	store  *sqlite.Store
}

var (
	clinicTea  = book.Key{Domain: "order", Root: book.Root("order", "tea")}
	clinicMilk = book.Key{Domain: "order", Root: book.Root("order", "milk")}
)

// newClinic serves a clinic. decided is what its consumers do when somebody has
// decided, nil for nothing.
func newClinic(t *testing.T, decided func(store *sqlite.Store)) *clinic {
	t.Helper()
	store, err := sqlite.Open(t.Context(), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := &clinic{store: store, socket: filepath.Join(t.TempDir(), "s")}
	c.fill(t)
	options := admin.Options{Store: store}
	if decided != nil {
		options.Decided = func(string) { decided(store) }
	}
	server := transport.NewServer(transport.ServerOptions{})
	pb.RegisterAdminServer(server, admin.New(options))
	listener, err := transport.Listen(transport.Address{Network: "unix", Address: c.socket})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- server.Run(ctx, listener) }()
	t.Cleanup(func() {
		stop()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func (c *clinic) fill(t *testing.T) {
	t.Helper()
	began := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	payload, err := proto.Marshal(wrapperspb.String("a\x1b"))
	if err != nil {
		t.Fatal(err)
	}
	for i, stored := range []struct {
		key  book.Key
		name string
		next uint32
	}{{clinicTea, "tea", 0}, {clinicTea, "tea", 2}, {clinicMilk, "milk", 0}} {
		event := eventstore.NewEvent{TypeURL: "x/google.protobuf.StringValue", Payload: payload, CreatedAt: began}
		request := eventstore.Append{CommandID: uuid.UUID{15: byte(i + 1)}, Key: stored.key, Name: stored.name, Next: stored.next, CorrelationID: "c-1", Events: []eventstore.NewEvent{event}}
		if i == 0 {
			request.Events = append(request.Events, event)
		}
		if _, err := c.store.Append(t.Context(), request); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.store.Share(t.Context(), eventstore.Share{Name: "projector/receipt", Member: uuid.UUID{1}, Slices: 1, Lease: time.Hour}); err != nil {
		t.Fatal(err)
	}
	letter := func(subscription string, position uint64, key book.Key, sequence uint32, attempts int, reason string) eventstore.Parked {
		return eventstore.Parked{Subscription: subscription, Position: position, Key: key, Sequence: sequence, Attempts: attempts, Reason: reason, State: eventstore.StateParked, FirstAt: began, LastAt: began.Add(time.Minute)}
	}
	if err := c.store.Advance(t.Context(), eventstore.Advance{Name: "projector/receipt", Park: []eventstore.Parked{
		letter("", 2, clinicTea, 0, 6, "no printer\nat all\x1b[2J"), letter("", 3, clinicTea, 2, 0, "waits"), letter("", 4, clinicMilk, 0, 1, "no paper"),
		letter("saga/loyalty/compensation", 4, clinicMilk, 0, 1, "command rejected: no"),
	}}); err != nil {
		t.Fatal(err)
	}
}

// angz runs a command line against the clinic.
func (c *clinic) angz(t *testing.T, args ...string) seen {
	t.Helper()
	var out, talk bytes.Buffer
	code := run(t.Context(), append(append([]string{"dlq"}, args...), "--address", c.socket), streams{in: strings.NewReader(""), out: &out, err: &talk, environ: []string{"USER=bob"}})
	plain := strings.NewReplacer(c.socket, "SOCKET", clinicTea.Root.String(), "TEA", clinicMilk.Root.String(), "MILK")
	times := regexp.MustCompile(`at 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ`)
	ago := regexp.MustCompile(` \d+[dh] `)
	return seen{code, ago.ReplaceAllString(times.ReplaceAllString(plain.Replace(out.String()), "at TIME"), " AGO "), plain.Replace(talk.String())}
}

func TestDeadLettersAsPeopleSeeThem(t *testing.T) {
	t.Parallel()
	c := newClinic(t, nil)
	next := "next: angz dlq show projector/receipt 2, then angz dlq retry projector/receipt 2 --wait, or angz dlq skip projector/receipt 2 --note WHY\n"
	const milk = `"state":"parked","domain":"order","aggregate_id":"milk","root":"MILK","sequence":0,"count":1,"type":"google.protobuf.StringValue","correlation_id":"c-1",` +
		`"attempts":1,"reason":"command rejected: no","first_at":"2026-01-31T12:00:00Z","last_at":"2026-01-31T12:01:00Z"`
	for title, test := range map[string]struct {
		args []string
		want seen
	}{
		"list": {args: []string{"list"}, want: seen{Err: next, Out: "" +
			"COMPONENT                  POSITION  AGGREGATE   EVENT             TRIED  STATE   LAST  REASON\n" +
			"projector/receipt          2         order tea   0 StringValue +1  6      parked  AGO  no printer …\n" +
			"projector/receipt          3         order tea   2 StringValue     -      parked  AGO  waits\n" +
			"projector/receipt          4         order milk  0 StringValue     1      parked  AGO  no paper\n" +
			"saga/loyalty/compensation  4         order milk  0 StringValue     1      parked  AGO  command rejected: no\n"}},
		"list one aggregate": {args: []string{"list", "loyalty", "--domain", "order", "--aggregate", "milk", "-o", "json"}, want: seen{
			Out: `{"component":"saga/loyalty/compensation","position":4,` + milk + "}\n"}},
		"list for yaml": {args: []string{"list", "loyalty", "-o", "yaml"}, want: seen{Out: `---
component: saga/loyalty/compensation
position: 4
state: parked
domain: order
aggregate_id: milk
root: MILK
sequence: 0
count: 1
type: google.protobuf.StringValue
correlation_id: c-1
attempts: 1
reason: 'command rejected: no'
first_at: "2026-01-31T12:00:00Z"
last_at: "2026-01-31T12:01:00Z"
`}},
		"list nothing":        {args: []string{"list", "nobody"}, want: seen{Err: "no dead letters\n"}},
		"list other states":   {args: []string{"list", "--state", "skipped,resolved"}, want: seen{Err: "no dead letters\n"}},
		"list nothing, json":  {args: []string{"list", "nobody", "-o", "json"}},
		"list too few":        {args: []string{"list", "loyalty", "--all", "--limit", "1", "-o", "json"}, want: seen{Out: `{"component":"saga/loyalty/compensation","position":4,` + milk + "}\n"}},
		"list an empty name":  {args: []string{"list", ""}, want: seen{Code: 2, Err: "error: COMPONENT is empty: name one such as projector/receipt, see \"angz dlq list\"\n"}},
		"list with two words": {args: []string{"list", "--all", "--state", "retry"}, want: seen{Code: 2, Err: "error: found both --all and --state, expected one of the two\n"}},
		"list a state":        {args: []string{"list", "--state", "dead"}, want: seen{Code: 2, Err: "error: --state: found \"dead\", expected parked, retry, resolved, skipped\n"}},
		"list half an aggregate": {args: []string{"list", "--aggregate", "tea"}, want: seen{
			Code: 2, Err: "error: --aggregate: found \"tea\" without its domain: add --domain\n"}},
		"show": {args: []string{"show", "projector/receipt", "2"}, want: seen{Out: "projector/receipt 2  parked\n" +
			"  aggregate    order tea (TEA)\n" +
			"  correlation  c-1\n" +
			"  tried        6 times, first 2026-01-31T12:00:00Z, last 2026-01-31T12:01:00Z\n" +
			"  reason       no printer\n" +
			"               at all\\x1b[2J\n" +
			"   0  2026-01-31T12:00:00.000Z  StringValue  \"a\\u001b\"\n" +
			"   1  2026-01-31T12:00:00.000Z  StringValue  \"a\\u001b\"\n"}},
		"show for a program": {args: []string{"show", "saga/loyalty/compensation", "4", "--output", "json"}, want: seen{
			Out: `{"component":"saga/loyalty/compensation","position":4,` + milk + `,"events":[{"domain":"order","aggregate_id":"milk","root":"MILK","sequence":0,` +
				`"type":"google.protobuf.StringValue","created_at":"2026-01-31T12:00:00Z","correlation_id":"c-1","position":4,"payload":"a\u001b"}]}` + "\n"}},
		"show what is not there": {args: []string{"show", "projector/receipt", "7"}, want: seen{
			Code: 1, Err: "refused: no dead letter of projector/receipt at position 7: see \"angz dlq list --all\" (NOT_FOUND)\n"}},
		"show no number": {args: []string{"show", "projector/receipt", "first"}, want: seen{
			Code: 2, Err: "error: POSITION: found \"first\", expected a number from the column POSITION of \"angz dlq list\"\n"}},
		"retry everything": {args: []string{"retry", "projector/receipt"}, want: seen{
			Code: 2, Err: "error: which dead letters of projector/receipt? give a POSITION, or --domain and --aggregate, or --all\nsee \"angz dlq retry --help\"\n"}},
		"retry both": {args: []string{"retry", "projector/receipt", "2", "--all"}, want: seen{
			Code: 2, Err: "error: found --all together with a POSITION or --aggregate, expected one of them\n"}},
		"retry without time": {args: []string{"retry", "projector/receipt", "2", "--wait", "--timeout", "0s"}, want: seen{
			Code: 2, Err: "error: --timeout: found 0s, expected more than nothing, such as 1m\n"}},
		"skip without a reason": {args: []string{"skip", "projector/receipt", "2", "--note", " "}, want: seen{
			Code: 2, Err: "error: --note is missing: say why the events are given up, such as --note 'order was a test'\n"}},
		"skip what is not there": {args: []string{"skip", "nobody", "--all", "--note", "x"}, want: seen{
			Code: 1, Err: "refused: no dead letters that wait are selected: see \"angz dlq list\" (NOT_FOUND)\n"}},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, c.angz(t, test.args...)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAListThatIsCutOffSaysSo(t *testing.T) {
	t.Parallel()
	got := newClinic(t, nil).angz(t, "list", "receipt", "--limit", "2", "-o", "json")
	if strings.Count(got.Out, "\n") != 2 || got.Err != "there are more than 2: give more with --limit, or narrow it with COMPONENT, --domain and --aggregate\n" {
		t.Errorf("%+v", got)
	}
}

func TestSkippingSaysWhatIsGivenUpAndKeepsWhy(t *testing.T) {
	t.Parallel()
	c := newClinic(t, nil)
	steps := []struct {
		args []string
		want seen
	}{
		{[]string{"skip", "receipt", "--domain", "order", "--aggregate", "tea", "--note", "a test"}, seen{Out: "projector/receipt 2  order tea  skipped\nprojector/receipt 3  order tea  skipped\n"}},
		{[]string{"skip", "projector/receipt", "2", "--note", "a test"}, seen{Code: 1, Err: "refused: the dead letter of projector/receipt at position 2 is skipped already (FAILED_PRECONDITION)\n"}},
		{[]string{"show", "projector/receipt", "3"}, seen{Out: "projector/receipt 3  skipped\n" +
			"  aggregate    order tea (TEA)\n" +
			"  correlation  c-1\n" +
			"  tried        never, waits since 2026-01-31T12:00:00Z\n" +
			"  reason       waits\n" +
			"  note         skip by bob at TIME: a test\n" +
			"   2  2026-01-31T12:00:00.000Z  StringValue  \"a\\u001b\"\n"}},
	}
	for _, step := range steps {
		if diff := cmp.Diff(step.want, c.angz(t, step.args...)); diff != "" {
			t.Errorf("%v: %s", step.args, diff)
		}
	}
}

func TestRetryingWithoutWaitingMarksTheFirst(t *testing.T) {
	t.Parallel()
	want := seen{Out: "projector/receipt 2  order tea  to be handled again\n", Err: "see what becomes of it with \"angz dlq list\", or give --wait\n"}
	if diff := cmp.Diff(want, newClinic(t, nil).angz(t, "retry", "projector/receipt", "3")); diff != "" {
		t.Error(diff)
	}
}

// consumer handles what is to be retried as a consumer does: in order, until one
// fails.
func consumer(t *testing.T, fails map[uint64]string) func(*sqlite.Store) {
	return func(store *sqlite.Store) {
		letters, err := store.Parked(t.Context(), eventstore.ParkedQuery{States: []eventstore.State{eventstore.StateParked, eventstore.StateRetry}, Limit: 100})
		if err != nil {
			t.Error(err)
		}
		stopped := map[string]bool{}
		for _, letter := range letters {
			lane := letter.Subscription + " " + letter.Key.String()
			if stopped[lane] {
				continue
			}
			decision := eventstore.Decision{Subscription: letter.Subscription, Position: letter.Position, To: eventstore.StateResolved, Attempts: 1}
			if reason, fail := fails[letter.Position]; fail {
				stopped[lane], decision.To, decision.Reason = true, eventstore.StateParked, reason
			}
			if err := store.Decide(t.Context(), decision); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestWaitingForWhatIsRetried(t *testing.T) {
	t.Parallel()
	for title, test := range map[string]struct {
		decided func(*sqlite.Store)
		args    []string
		want    seen
	}{
		"all goes well": {
			decided: consumer(t, nil), args: []string{"projector/receipt", "--all"},
			want: seen{Out: "projector/receipt 2  order tea  handled\nprojector/receipt 4  order milk  handled\n"},
		},
		"one behind fails": {
			decided: consumer(t, map[uint64]string{3: "no ink\nat all"}), args: []string{"projector/receipt", "--all"},
			want: seen{Code: 1, Out: "projector/receipt 3  order tea  failed again: no ink …\nprojector/receipt 4  order milk  handled\n",
				Err: "error: 1 of 2 failed again: see \"angz dlq list\"\n"},
		},
		"one that stands alone": {
			decided: consumer(t, nil), args: []string{"saga/loyalty/compensation", "4"},
			want: seen{Out: "saga/loyalty/compensation 4  order milk  handled\n"},
		},
		"nobody is there": {
			args: []string{"projector/receipt", "2", "--timeout", "300ms"},
			want: seen{Code: 1, Err: "error: 1 of 1 not handled within 300ms; they stay marked and are handled when an instance of the component runs: " +
				"see \"angz dlq list\", or give more time with --timeout\n"},
		},
		"for a program": {
			decided: consumer(t, map[uint64]string{4: "no"}), args: []string{"saga/loyalty/compensation", "4", "-o", "json"},
			want: seen{Code: 1, Err: "error: 1 of 1 failed again: see \"angz dlq list\"\n",
				Out: `{"component":"saga/loyalty/compensation","position":4,"state":"retry",*,"outcome":"failed","failed_at":{"component":"saga/loyalty/compensation","position":4,"state":"parked",*}}` + "\n"},
		},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			got := newClinic(t, test.decided).angz(t, append([]string{"retry", "--wait"}, test.args...)...)
			got.Out = regexp.MustCompile(`"domain":"order",[^}]*?"note":"[^"]*"`).ReplaceAllString(got.Out, "*")
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTablesFit(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	letters := []inspect.DeadLetter{
		{Component: "projector/receipt", Position: 12345, Domain: "order", Root: "b1019e12", Sequence: 3, Type: "shop.Paid", Attempts: 2, State: "parked",
			LastAt: now.Add(-3 * time.Minute), Reason: "ein Grund, der viel zu lang für eine Zeile ist, und noch länger"},
	}
	for width, want := range map[int]string{
		0: "COMPONENT          POSITION  AGGREGATE       EVENT   TRIED  STATE   LAST  REASON\n" +
			"projector/receipt  12345     order b1019e12  3 Paid  2      parked  3m    ein Grund, der viel zu lang für eine Zeile ist, und noch länger\n",
		100: "COMPONENT          POSITION  AGGREGATE       EVENT   TRIED  STATE   LAST  REASON\n" +
			"projector/receipt  12345     order b1019e12  3 Paid  2      parked  3m    ein Grund, der viel zu la…\n",
		40: "COMPONENT          POSITION  AGGREGATE       EVENT   TRIED  STATE   LAST  REASON\n" +
			"projector/receipt  12345     order b1019e12  3 Paid  2      parked  3m    ein Grund, der viel…\n",
	} {
		var out strings.Builder
		if err := writeLetters(&out, false, width, letters, now); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("%d: %s", width, diff)
		}
	}
	for ago, want := range map[time.Duration]string{0: "now", -time.Second: "now", 59 * time.Second: "59s", 59 * time.Minute: "59m", 47 * time.Hour: "47h", 48 * time.Hour: "2d"} {
		if got := agoText(now.Add(-ago), now); got != want {
			t.Errorf("%s: %q, want %q", ago, got, want)
		}
	}
}
