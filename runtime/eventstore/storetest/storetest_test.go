package storetest

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/anishathalye/porcupine"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
)

// naiveLog gives out positions like a database sequence: before the commit. Its
// first commit takes so long that a follower passes it by. This is the mistake
// that the tail test is there for.
type naiveLog struct {
	mu       sync.Mutex
	position uint64
	next     map[book.Key]uint32
	visible  []eventstore.Event
	changed  chan struct{}
	passed   chan struct{} // closed when a follower has gone past the first event
}

func newNaiveLog() *naiveLog {
	return &naiveLog{next: make(map[book.Key]uint32), changed: make(chan struct{}), passed: make(chan struct{})}
}

func (l *naiveLog) Append(ctx context.Context, request eventstore.Append) (eventstore.Appended, error) {
	first, err := l.take(request)
	if err != nil {
		return eventstore.Appended{}, err
	}
	if first == 1 {
		select {
		case <-l.passed:
		case <-ctx.Done():
			return eventstore.Appended{}, ctx.Err()
		}
	}
	l.commit(stored(request, first))
	return eventstore.Appended{
		Next: request.Next + uint32(len(request.Events)), Last: first + uint64(len(request.Events)) - 1,
	}, nil
}

// take is where a database would have checked the unique key.
func (l *naiveLog) take(request eventstore.Append) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if next := l.next[request.Key]; next != request.Next {
		return 0, &eventstore.Conflict{Key: request.Key, Want: request.Next, Next: next}
	}
	first := l.position + 1
	l.position += uint64(len(request.Events))
	l.next[request.Key] += uint32(len(request.Events))
	return first, nil
}

func (l *naiveLog) commit(events []eventstore.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.visible = append(l.visible, events...)
	slices.SortFunc(l.visible, func(a, b eventstore.Event) int { return int(a.Position) - int(b.Position) })
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *naiveLog) ReadLog(_ context.Context, after uint64, _ int) ([]eventstore.Event, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := slices.IndexFunc(l.visible, func(e eventstore.Event) bool { return e.Position > after })
	if first < 0 {
		return nil, nil
	}
	if l.visible[0].Position > 1 {
		select {
		case <-l.passed:
		default:
			close(l.passed)
		}
	}
	return slices.Clone(l.visible[first:]), nil
}

func (l *naiveLog) Head() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.visible) == 0 {
		return 0
	}
	return l.visible[len(l.visible)-1].Position
}

func (l *naiveLog) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

// TestTailTestSeesLostEvents proves that the suite would notice a store whose
// positions are not in the order of commits.
func TestTailTestSeesLostEvents(t *testing.T) {
	t.Parallel()
	err := followed(t.Context(), newNaiveLog(), 16, 50)
	if err == nil {
		t.Fatal("a log that skips events passed the tail test")
	}
	t.Log(err)
}

// plainStore does one thing after the other, so its histories are in order.
type plainStore struct {
	mu    sync.Mutex
	model *model
}

func (s *plainStore) Append(_ context.Context, request eventstore.Append) (eventstore.Appended, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	answer, conflict := s.model.append(request)
	if conflict {
		next := s.model.info(request.Key).Next
		return eventstore.Appended{Next: next}, &eventstore.Conflict{Key: request.Key, Want: request.Next, Next: next}
	}
	return answer, nil
}

func (s *plainStore) Aggregate(_ context.Context, key book.Key) (eventstore.Info, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.model.info(key), nil
}

func (s *plainStore) Events(_ context.Context, key book.Key, _ eventstore.Range) ([]eventstore.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.model.of(key), nil
}

// staleStore answers some looks from memory, as a cache does that nobody told of
// an append.
type staleStore struct {
	*plainStore
	old   map[book.Key]eventstore.Info
	looks int
}

func (s *staleStore) Aggregate(_ context.Context, key book.Key) (eventstore.Info, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.looks++; s.looks%10 == 0 {
		return s.old[key], nil
	}
	s.old[key] = s.model.info(key)
	return s.old[key], nil
}

// dirtyStore appends in spite of a conflict.
type dirtyStore struct{ *plainStore }

func (s *dirtyStore) Append(ctx context.Context, request eventstore.Append) (eventstore.Appended, error) {
	answer, err := s.plainStore.Append(ctx, request)
	if err != nil {
		request.Next = answer.Next
		return s.plainStore.Append(ctx, request)
	}
	return answer, nil
}

// forgetfulStore confirms appends that it does not keep.
type forgetfulStore struct {
	*plainStore
	appends int
}

func (s *forgetfulStore) Append(ctx context.Context, request eventstore.Append) (eventstore.Appended, error) {
	s.mu.Lock()
	s.appends++
	if s.appends%20 == 0 && s.model.info(request.Key).Next == request.Next {
		defer s.mu.Unlock()
		count := len(request.Events)
		return eventstore.Appended{Next: request.Next + uint32(count), Last: uint64(len(s.model.events) + count)}, nil
	}
	s.mu.Unlock()
	return s.plainStore.Append(ctx, request)
}

// TestHistoriesTellBrokenStores proves that the suite would notice stores whose
// answers no order explains, and finds nothing in one that is right.
func TestHistoriesTellBrokenStores(t *testing.T) {
	t.Parallel()
	plain := func() *plainStore { return &plainStore{model: newModel()} }
	for name, c := range map[string]struct {
		store recorded
		want  porcupine.CheckResult
	}{
		"one that is right":                       {plain(), porcupine.Ok},
		"one with a stale cache":                  {&staleStore{plainStore: plain(), old: make(map[book.Key]eventstore.Info)}, porcupine.Illegal},
		"one that overlooks conflicts":            {&dirtyStore{plain()}, porcupine.Illegal},
		"one that confirms what it does not keep": {&forgetfulStore{plainStore: plain()}, porcupine.Illegal},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			history, err := record(t.Context(), c.store)
			if err != nil {
				t.Fatal(err)
			}
			if result := porcupine.CheckOperationsTimeout(aggregateModel, history, explainable); result != c.want {
				t.Errorf("the history is %s, want %s", result, c.want)
			}
		})
	}
}

// TestSlicesOfAggregatesNeverChange holds what stores have on their disks: an
// aggregate that changed its slice would be handled twice, or never.
func TestSlicesOfAggregatesNeverChange(t *testing.T) {
	t.Parallel()
	keys := []book.Key{
		{Domain: "order"},
		{Domain: "order", Root: uuid.MustParse("00000000-0000-0000-0000-000000000001")},
		{Domain: "order", Root: uuid.MustParse("6ba7b810-9dad-11d1-80b4-00c04fd430c8")},
		{Domain: "customer", Root: uuid.MustParse("6ba7b810-9dad-11d1-80b4-00c04fd430c8")},
		{Domain: "lager-süd", Root: uuid.MustParse("ffffffff-ffff-ffff-ffff-ffffffffffff")},
		{Domain: strings.Repeat("x", 100), Root: uuid.MustParse("01890a5d-ac96-774b-bcce-b302099a8057")},
	}
	found := make(map[int][]int)
	for _, slices := range []int{1, 2, 7, 16, 1024} {
		for _, key := range keys {
			found[slices] = append(found[slices], eventstore.SliceOf(key, slices))
		}
	}
	want := map[int][]int{
		1:    {0, 0, 0, 0, 0, 0},
		2:    {1, 0, 0, 0, 1, 1},
		7:    {3, 5, 1, 5, 0, 1},
		16:   {7, 4, 10, 0, 13, 3},
		1024: {87, 708, 122, 976, 461, 835},
	}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("slices (-want +got):\n%s", diff)
	}
}

func TestSlicesAreOfAboutOneSize(t *testing.T) {
	t.Parallel()
	const slices, aggregates = 16, 16_000
	var sizes [slices]int
	for i := range aggregates {
		sizes[eventstore.SliceOf(book.Key{Domain: "order", Root: uuid.NewSHA1(uuid.Nil, []byte{byte(i), byte(i >> 8)})}, slices)]++
	}
	for slice, size := range sizes {
		if size < 850 || size > 1150 {
			t.Errorf("slice %d has %d of %d aggregates", slice, size, aggregates)
		}
	}
}
