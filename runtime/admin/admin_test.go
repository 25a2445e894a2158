package admin_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/admin"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/eventstore/sqlite"
	"github.com/angz-dev/angz/runtime/transport"
)

const (
	parked   = pb.DeadLetterState_DEAD_LETTER_STATE_PARKED
	retry    = pb.DeadLetterState_DEAD_LETTER_STATE_RETRY
	resolved = pb.DeadLetterState_DEAD_LETTER_STATE_RESOLVED
	skipped  = pb.DeadLetterState_DEAD_LETTER_STATE_SKIPPED
)

var (
	began  = time.Date(2026, time.March, 14, 15, 9, 26, 0, time.UTC)
	member = uuid.UUID{15: 9}
	tea    = book.Key{Domain: "order", Root: book.Root("order", "tea")}
	milk   = book.Key{Domain: "order", Root: book.Root("order", "milk")}
	alice  = book.Key{Domain: "customer", Root: book.Root("customer", "alice")}
	names  = map[book.Key]string{tea: "tea", milk: "milk", alice: "alice"}
)

// world is a store with an admin role over it and a client of the role.
type world struct {
	*testing.T
	store  *sqlite.Store
	client pb.AdminClient

	mu      sync.Mutex
	decided []string // subscriptions that consumers were told of
}

func newWorld(t *testing.T, options admin.Options) *world {
	t.Helper()
	store, err := sqlite.Open(t.Context(), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &world{T: t, store: store}
	options.Store = store
	options.Decided = func(subscription string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.decided = append(w.decided, subscription)
	}
	conn := transport.NewMemory()
	pb.RegisterAdminServer(conn, admin.New(options))
	w.client = pb.NewAdminClient(conn)
	return w
}

// nudged returns the subscriptions that consumers were told of since the last
// time, in order.
func (w *world) nudged() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	told := w.decided
	w.decided = nil
	slices.Sort(told)
	return told
}

// append stores one command's events.
func (w *world) append(key book.Key, next uint32, types ...string) {
	w.Helper()
	request := eventstore.Append{CommandID: uuid.New(), Key: key, Name: names[key], Next: next, CorrelationID: "c-" + names[key]}
	for _, name := range types {
		request.Events = append(request.Events, eventstore.NewEvent{TypeURL: "x/" + name, Payload: []byte(name), CreatedAt: began})
	}
	if _, err := w.store.Append(w.Context(), request); err != nil {
		w.Fatal(err)
	}
}

// park keeps dead letters under the name of a consumer's subscription, or their
// own.
func (w *world) park(name string, letters ...eventstore.Parked) {
	w.Helper()
	if _, err := w.store.Share(w.Context(), eventstore.Share{Name: name, Member: member, Address: "here:1", Slices: 1, Lease: time.Hour}); err != nil {
		w.Fatal(err)
	}
	for i := range letters {
		letters[i].State, letters[i].FirstAt, letters[i].LastAt = eventstore.StateParked, began, began.Add(time.Minute)
	}
	if err := w.store.Advance(w.Context(), eventstore.Advance{Name: name, Park: letters}); err != nil {
		w.Fatal(err)
	}
}

// filled is a world in which a projector and two sagas have dead letters: of tea
// one that failed and one behind it, of milk and alice one each.
func filled(t *testing.T, options admin.Options) *world {
	t.Helper()
	w := newWorld(t, options)
	w.append(tea, 0, "Placed", "Paid")    // 1, 2
	w.append(milk, 0, "Placed")           // 3
	w.append(tea, 2, "Shipped")           // 4
	w.append(alice, 0, "CustomerCreated") // 5
	w.park("projector/receipt",
		eventstore.Parked{Position: 2, Key: tea, Sequence: 0, Attempts: 6, Reason: "no printer"},
		eventstore.Parked{Position: 3, Key: milk, Sequence: 0, Attempts: 1, Reason: "no paper"},
		eventstore.Parked{Position: 4, Key: tea, Sequence: 2, Reason: "waits"},
	)
	w.park("saga/loyalty", eventstore.Parked{Position: 5, Key: alice, Attempts: 1, Reason: "no points"})
	w.park("saga/reserve",
		eventstore.Parked{Subscription: "saga/reserve/compensation", Position: 2, Key: tea, Attempts: 1, Reason: "sold out"},
		eventstore.Parked{Subscription: "saga/reserve/compensation", Position: 4, Key: tea, Sequence: 2, Attempts: 1, Reason: "sold out"},
	)
	return w
}

func place(component string, position uint64) *pb.DeadLetterPlace {
	return &pb.DeadLetterPlace{Component: component, Position: position}
}

// all are the places of filled.
var all = []string{"projector/receipt 2", "projector/receipt 3", "projector/receipt 4", "saga/loyalty 5", "saga/reserve/compensation 2", "saga/reserve/compensation 4"}

func places(letters []*pb.DeadLetter) (text []string) {
	for _, letter := range letters {
		text = append(text, fmt.Sprint(letter.Place.Component, " ", letter.Place.Position))
	}
	return text
}

// states lists the places of all dead letters by their state.
func (w *world) states() map[pb.DeadLetterState][]string {
	w.Helper()
	page, err := w.client.ListDeadLetters(w.Context(), &pb.DeadLetterQuery{States: []pb.DeadLetterState{parked, retry, resolved, skipped}})
	if err != nil {
		w.Fatal(err)
	}
	found := map[pb.DeadLetterState][]string{}
	for _, letter := range page.DeadLetters {
		found[letter.State] = append(found[letter.State], places([]*pb.DeadLetter{letter})[0])
	}
	return found
}

func (w *world) same(what string, want, got any) {
	w.Helper()
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		w.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// refused checks how a call failed.
func (w *world) refused(err error, code codes.Code, message string) {
	w.Helper()
	if said := status.Convert(err); said.Code() != code || !strings.Contains(said.Message(), message) {
		w.Errorf("got %v, want %s with %q", err, code, message)
	}
}

func TestADeadLetterSaysWhatItStandsFor(t *testing.T) {
	t.Parallel()
	w := filled(t, admin.Options{})
	want := &pb.DeadLetter{
		Place: place("projector/receipt", 2), Cover: tea.Cover("tea"), Sequence: 0, Count: 2, TypeUrl: "x/Placed", CorrelationId: "c-tea", State: parked,
		Reason: "no printer", Attempts: 6, FirstAt: timestamppb.New(began), LastAt: timestamppb.New(began.Add(time.Minute)),
	}
	page, err := w.client.ListDeadLetters(t.Context(), &pb.DeadLetterQuery{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	w.same("listed", &pb.DeadLetterPage{DeadLetters: []*pb.DeadLetter{want}, Next: want.Place}, page)

	found, err := w.client.GetDeadLetter(t.Context(), want.Place)
	if err != nil {
		t.Fatal(err)
	}
	want.Events = &pb.EventBook{Cover: want.Cover, CorrelationId: "c-tea", Position: 2, Pages: []*pb.EventPage{
		{Sequence: &pb.EventPage_Num{Num: 0}, CreatedAt: timestamppb.New(began), Event: &anypb.Any{TypeUrl: "x/Placed", Value: []byte("Placed")}},
		{Sequence: &pb.EventPage_Num{Num: 1}, CreatedAt: timestamppb.New(began), Event: &anypb.Any{TypeUrl: "x/Paid", Value: []byte("Paid")}},
	}}
	w.same("read", want, found)
}

func TestADeadLetterOfLostEventsIsShownAllTheSame(t *testing.T) {
	t.Parallel()
	w := newWorld(t, admin.Options{})
	w.park("projector/receipt", eventstore.Parked{Position: 9, Key: tea, Sequence: 7, Attempts: 1, Reason: "no"})
	found, err := w.client.GetDeadLetter(t.Context(), place("projector/receipt", 9))
	if err != nil {
		t.Fatal(err)
	}
	w.same("read", &pb.DeadLetter{
		Place: place("projector/receipt", 9), Cover: tea.Cover(""), Sequence: 7, State: parked, Reason: "no", Attempts: 1,
		FirstAt: timestamppb.New(began), LastAt: timestamppb.New(began.Add(time.Minute)), Events: &pb.EventBook{Cover: tea.Cover("")},
	}, found)
}

func TestADeadLetterThatIsNotThere(t *testing.T) {
	t.Parallel()
	w := filled(t, admin.Options{})
	for _, c := range []struct {
		place   *pb.DeadLetterPlace
		code    codes.Code
		message string
	}{
		{place("projector/receipt", 1), codes.NotFound, "no dead letter of projector/receipt at position 1"},
		{place("projector/receipt", 1<<63+1), codes.NotFound, "no dead letter"},
		{place("projector/other", 2), codes.NotFound, "no dead letter of projector/other at position 2"},
		{place("", 2), codes.InvalidArgument, "component: found nothing"},
		{place("projector/receipt", 0), codes.InvalidArgument, "position: found 0"},
	} {
		_, err := w.client.GetDeadLetter(t.Context(), c.place)
		w.refused(err, c.code, c.message)
	}
}

func TestWhichDeadLettersAreListed(t *testing.T) {
	t.Parallel()
	w := filled(t, admin.Options{})
	for name, c := range map[string]struct {
		selection *pb.DeadLetterSelection
		want      []string
	}{
		"all":                          {nil, all},
		"a component in full":          {&pb.DeadLetterSelection{Component: "projector/receipt"}, all[:3]},
		"a component by its name":      {&pb.DeadLetterSelection{Component: "reserve"}, all[4:]},
		"a saga itself":                {&pb.DeadLetterSelection{Component: "saga/reserve"}, nil},
		"a domain":                     {&pb.DeadLetterSelection{Domain: "customer"}, all[3:4]},
		"an aggregate by its name":     {&pb.DeadLetterSelection{Domain: "order", AggregateId: "milk"}, all[1:2]},
		"an aggregate by its root":     {&pb.DeadLetterSelection{Domain: "order", Root: milk.Cover("").Root}, all[1:2]},
		"an aggregate of a component":  {&pb.DeadLetterSelection{Component: "receipt", Domain: "order", AggregateId: "tea"}, []string{all[0], all[2]}},
		"a position":                   {&pb.DeadLetterSelection{Position: 2}, []string{all[0], all[4]}},
		"what there is not":            {&pb.DeadLetterSelection{Component: "receip"}, nil},
		"an aggregate that is unknown": {&pb.DeadLetterSelection{Domain: "order", AggregateId: "x"}, nil},
	} {
		page, err := w.client.ListDeadLetters(t.Context(), &pb.DeadLetterQuery{Selection: c.selection})
		if err != nil {
			t.Fatal(name, err)
		}
		w.same(name, c.want, places(page.DeadLetters))
	}
	for field, selection := range map[string]*pb.DeadLetterSelection{
		"domain":             {AggregateId: "tea"},
		"root.value":         {Domain: "order", Root: &pb.UUID{Value: []byte{1}}},
		"selection.position": {Position: 1 << 63},
	} {
		_, err := w.client.ListDeadLetters(t.Context(), &pb.DeadLetterQuery{Selection: selection})
		w.refused(err, codes.InvalidArgument, field+": found")
	}
	_, err := w.client.ListDeadLetters(t.Context(), &pb.DeadLetterQuery{States: []pb.DeadLetterState{parked, 0}})
	w.refused(err, codes.InvalidArgument, "states[1]: found DEAD_LETTER_STATE_UNSPECIFIED")
}

func TestPagesFollowEachOtherWithoutHoles(t *testing.T) {
	t.Parallel()
	w := filled(t, admin.Options{})
	for limit := range uint32(8) {
		var listed []string
		query := &pb.DeadLetterQuery{Limit: limit}
		for {
			page, err := w.client.ListDeadLetters(t.Context(), query)
			if err != nil {
				t.Fatal(err)
			}
			listed = append(listed, places(page.DeadLetters)...)
			if page.Next == nil {
				break
			}
			query.After = page.Next
		}
		w.same(fmt.Sprint("by ", limit), all, listed)
	}
}

func TestRetryMarksTheFirstOfEachAggregate(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		selection *pb.DeadLetterSelection
		marked    []string
		told      []string
	}{
		"a component":       {&pb.DeadLetterSelection{Component: "receipt"}, all[:2], []string{"projector/receipt"}},
		"one that waits":    {&pb.DeadLetterSelection{Component: "projector/receipt", Position: 4}, all[:1], []string{"projector/receipt"}},
		"the first itself":  {&pb.DeadLetterSelection{Component: "projector/receipt", Position: 3}, all[1:2], []string{"projector/receipt"}},
		"an aggregate":      {&pb.DeadLetterSelection{Domain: "order", AggregateId: "tea"}, []string{all[0], all[4], all[5]}, []string{"projector/receipt", "saga/reserve"}},
		"what stands alone": {&pb.DeadLetterSelection{Component: "saga/reserve/compensation", Position: 4}, all[5:], []string{"saga/reserve"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := filled(t, admin.Options{})
			decided, err := w.client.Retry(t.Context(), &pb.DeadLetterDecision{Selection: c.selection, By: "bob", Note: "printer\n bought"})
			if err != nil {
				t.Fatal(err)
			}
			w.same("marked", c.marked, places(decided.Decided))
			w.same("told", c.told, w.nudged())
			w.same("in the store", c.marked, w.states()[retry])
			for _, letter := range decided.Decided {
				if kept, err := w.client.GetDeadLetter(t.Context(), letter.Place); err != nil || kept.Note != letter.Note || letter.State != retry ||
					!strings.HasPrefix(kept.Note, "retry by bob at 2") || !strings.HasSuffix(kept.Note, "Z: printer bought") {
					t.Errorf("%v, %v", kept, err)
				}
			}
		})
	}
}

func TestSkipGivesUpWhatIsSelected(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		selection *pb.DeadLetterSelection
		skipped   []string
		told      []string
	}{
		"one":          {&pb.DeadLetterSelection{Component: "projector/receipt", Position: 2}, all[:1], []string{"projector/receipt"}},
		"one behind":   {&pb.DeadLetterSelection{Component: "projector/receipt", Position: 4}, all[2:3], []string{"projector/receipt"}},
		"an aggregate": {&pb.DeadLetterSelection{Component: "receipt", Domain: "order", AggregateId: "tea"}, []string{all[0], all[2]}, []string{"projector/receipt"}},
		"a component":  {&pb.DeadLetterSelection{Component: "reserve"}, all[4:], []string{"saga/reserve"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := filled(t, admin.Options{})
			decided, err := w.client.Skip(t.Context(), &pb.DeadLetterDecision{Selection: c.selection, Note: "nobody reads it"})
			if err != nil {
				t.Fatal(err)
			}
			w.same("skipped", c.skipped, places(decided.Decided))
			w.same("told", c.told, w.nudged())
			w.same("in the store", c.skipped, w.states()[skipped])
			if note := decided.Decided[0].Note; !strings.HasPrefix(note, "skip by somebody at 2") || !strings.HasSuffix(note, ": nobody reads it") {
				t.Error(note)
			}
		})
	}
}

func TestADecisionAboutNothingIsRefused(t *testing.T) {
	t.Parallel()
	w := filled(t, admin.Options{})
	one := &pb.DeadLetterSelection{Component: "projector/receipt", Position: 3}
	if _, err := w.client.Skip(t.Context(), &pb.DeadLetterDecision{Selection: one, Note: "no paper any more"}); err != nil {
		t.Fatal(err)
	}
	w.nudged()
	before := w.states()
	for _, c := range []struct {
		decision *pb.DeadLetterDecision
		code     codes.Code
		message  string
	}{
		{&pb.DeadLetterDecision{Note: "n"}, codes.InvalidArgument, "selection: found neither a component nor a position nor an aggregate"},
		{&pb.DeadLetterDecision{Selection: &pb.DeadLetterSelection{Domain: "order"}, Note: "n"}, codes.InvalidArgument, "selection: found neither"},
		{&pb.DeadLetterDecision{Selection: &pb.DeadLetterSelection{AggregateId: "tea"}, Note: "n"}, codes.InvalidArgument, "domain: found nothing"},
		{&pb.DeadLetterDecision{Selection: one, Note: "again"}, codes.FailedPrecondition, "the dead letter of projector/receipt at position 3 is skipped already"},
		{&pb.DeadLetterDecision{Selection: &pb.DeadLetterSelection{Component: "projector/receipt", Position: 1}, Note: "n"}, codes.NotFound, "no dead letter of projector/receipt at position 1"},
		{&pb.DeadLetterDecision{Selection: &pb.DeadLetterSelection{Component: "nobody"}, Note: "n"}, codes.NotFound, "no dead letters that wait are selected"},
	} {
		_, err := w.client.Skip(t.Context(), c.decision)
		w.refused(err, c.code, c.message)
		_, err = w.client.Retry(t.Context(), c.decision)
		w.refused(err, c.code, c.message)
	}
	_, err := w.client.Skip(t.Context(), &pb.DeadLetterDecision{Selection: one, Note: " \n"})
	w.refused(err, codes.InvalidArgument, "note: found nothing, expected a sentence")
	w.same("after", before, w.states())
	w.same("told", []string(nil), w.nudged())
}

func TestWhoCallsIsNotForTheCallerToSay(t *testing.T) {
	t.Parallel()
	w := filled(t, admin.Options{Caller: func(context.Context) string { return "carol" }})
	decided, err := w.client.Retry(t.Context(), &pb.DeadLetterDecision{Selection: &pb.DeadLetterSelection{Component: "loyalty"}, By: "bob"})
	if err != nil || !strings.HasPrefix(decided.Decided[0].Note, "retry by carol at ") {
		t.Errorf("%v, %v", decided, err)
	}
}

func TestANoteIsOfABoundedLength(t *testing.T) {
	t.Parallel()
	w := filled(t, admin.Options{})
	decided, err := w.client.Skip(t.Context(), &pb.DeadLetterDecision{Selection: &pb.DeadLetterSelection{Component: "loyalty"}, Note: strings.Repeat("ä", 100_000)})
	if err != nil || len(decided.Decided[0].Note) > 2100 {
		t.Errorf("%d bytes, %v", len(decided.GetDecided()[0].GetNote()), err)
	}
}

func TestManyAreDecidedAboutInSeveralRequests(t *testing.T) {
	t.Parallel()
	for name, decide := range map[string]func(pb.AdminClient) func(context.Context, *pb.DeadLetterDecision) (*pb.DeadLettersDecided, error){
		"retry": func(c pb.AdminClient) func(context.Context, *pb.DeadLetterDecision) (*pb.DeadLettersDecided, error) {
			return func(ctx context.Context, d *pb.DeadLetterDecision) (*pb.DeadLettersDecided, error) {
				return c.Retry(ctx, d)
			}
		},
		"skip": func(c pb.AdminClient) func(context.Context, *pb.DeadLetterDecision) (*pb.DeadLettersDecided, error) {
			return func(ctx context.Context, d *pb.DeadLetterDecision) (*pb.DeadLettersDecided, error) {
				return c.Skip(ctx, d)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, admin.Options{})
			// Of some aggregates a second letter lies beyond the first page.
			const aggregates, both = 1005, 5
			var letters []eventstore.Parked
			for i := range uint64(aggregates + both) {
				key := book.Key{Domain: "order", Root: book.Root("order", fmt.Sprint(i%aggregates))}
				letters = append(letters, eventstore.Parked{Position: i + 1, Key: key, Sequence: uint32(i / aggregates), Attempts: 1, Reason: "no"})
			}
			w.park("projector/receipt", letters...)
			decision := &pb.DeadLetterDecision{Selection: &pb.DeadLetterSelection{Component: "receipt"}, Note: "n"}
			seen, pages := map[uint64]bool{}, 0
			for {
				decided, err := decide(w.client)(t.Context(), decision)
				if err != nil {
					t.Fatal(err)
				}
				pages++
				for _, letter := range decided.Decided {
					seen[letter.Place.Position] = true
				}
				if decision.After = decided.Next; decision.After == nil {
					break
				}
			}
			want := map[string]int{"retry": aggregates, "skip": aggregates + both}[name]
			if len(seen) != want || pages != 2 || name == "retry" && seen[aggregates+1] {
				t.Errorf("%d were marked with %d requests, want %d with 2", len(seen), pages, want)
			}
		})
	}
}

func TestSubscriptionsAreListedWithTheirLag(t *testing.T) {
	t.Parallel()
	w := filled(t, admin.Options{})
	if err := w.store.Advance(t.Context(), eventstore.Advance{Name: "projector/receipt", Moves: []eventstore.Move{{Epoch: 1, To: 4}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.store.Share(t.Context(), eventstore.Share{Name: "saga/loyalty", Member: member, Slices: 1, Lease: time.Hour, Leave: true}); err != nil {
		t.Fatal(err)
	}
	slice := func(name string, position uint64, holder, address string) *pb.SubscriptionSlice {
		return &pb.SubscriptionSlice{Component: name, Slices: 1, Position: position, Lag: 5 - position, Holder: holder, Address: address, Epoch: 1}
	}
	for component, want := range map[string][]*pb.SubscriptionSlice{
		"": {
			slice("projector/receipt", 4, member.String(), "here:1"), slice("saga/loyalty", 0, "", ""), slice("saga/reserve", 0, member.String(), "here:1"),
		},
		"loyalty":           {slice("saga/loyalty", 0, "", "")},
		"projector/receipt": {slice("projector/receipt", 4, member.String(), "here:1")},
		"nobody":            nil,
	} {
		list, err := w.client.ListSubscriptions(t.Context(), &pb.SubscriptionQuery{Component: component})
		if err != nil {
			t.Fatal(err)
		}
		for _, slice := range list.Slices {
			if !slice.UpdatedAt.IsValid() {
				t.Errorf("%v", slice)
			}
			slice.UpdatedAt = nil
		}
		w.same(component, &pb.SubscriptionList{Slices: want, Head: 5}, list)
	}
}

func TestADoorWithoutStoreAsksOneThatHasIt(t *testing.T) {
	t.Parallel()
	w := filled(t, admin.Options{})
	for _, caller := range []string{"carol", ""} {
		door := transport.NewMemory()
		pb.RegisterAdminServer(door, admin.Forward(w.client, func(context.Context) string { return caller }))
		client, asked := pb.NewAdminClient(door), &pb.DeadLetterDecision{Selection: &pb.DeadLetterSelection{Component: "receipt"}, By: "bob", Note: "n"}
		by := caller
		if by == "" {
			by = "bob"
		}
		for verb, decide := range map[string]func() (*pb.DeadLettersDecided, error){
			"retry": func() (*pb.DeadLettersDecided, error) { return client.Retry(t.Context(), asked) },
			"skip": func() (*pb.DeadLettersDecided, error) {
				return client.Skip(t.Context(), &pb.DeadLetterDecision{Selection: &pb.DeadLetterSelection{Position: 2, Component: "saga/reserve/compensation"}, By: "bob", Note: "n"})
			},
		} {
			if decided, err := decide(); status.Code(err) != codes.FailedPrecondition && (err != nil || !strings.HasPrefix(decided.Decided[0].Note, verb+" by "+by+" at ")) {
				t.Errorf("%v, %v", decided, err)
			}
		}
		if asked.By != "bob" {
			t.Error("the request was changed")
		}
		if page, err := client.ListDeadLetters(t.Context(), &pb.DeadLetterQuery{Limit: 1}); err != nil || len(page.DeadLetters) != 1 {
			t.Errorf("%v, %v", page, err)
		}
		if _, err := client.GetDeadLetter(t.Context(), place("projector/receipt", 1)); status.Code(err) != codes.NotFound {
			t.Error(err)
		}
		if list, err := client.ListSubscriptions(t.Context(), &pb.SubscriptionQuery{}); err != nil || list.Head != 5 {
			t.Errorf("%v, %v", list, err)
		}
	}
	if _, err := admin.Forward(w.client, nil).Retry(t.Context(), &pb.DeadLetterDecision{Selection: &pb.DeadLetterSelection{Component: "receipt"}}); err != nil {
		t.Error(err)
	}
}

func TestTroubleWithTheStoreIsTold(t *testing.T) {
	t.Parallel()
	w := filled(t, admin.Options{})
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	decision := &pb.DeadLetterDecision{Selection: &pb.DeadLetterSelection{Component: "receipt"}, Note: "n"}
	for name, call := range map[string]func() error{
		"list":          func() error { _, err := w.client.ListDeadLetters(t.Context(), nil); return err },
		"get":           func() error { _, err := w.client.GetDeadLetter(t.Context(), place("projector/receipt", 2)); return err },
		"retry":         func() error { _, err := w.client.Retry(t.Context(), decision); return err },
		"skip":          func() error { _, err := w.client.Skip(t.Context(), decision); return err },
		"subscriptions": func() error { _, err := w.client.ListSubscriptions(t.Context(), nil); return err },
	} {
		if err := call(); status.Code(err) != codes.Unavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
}
