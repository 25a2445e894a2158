package sqlite

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
)

// What a reader saw long ago must not decide an append. The writer is made to
// forget the aggregate, as it does when many others come after it.
func TestOldSightOfAnAggregateDecidesNothing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		next    uint32 // of the append
		wantErr error
	}{
		"the append is as old":   {next: 1, wantErr: &eventstore.Conflict{Want: 1, Next: 3}},
		"the append is up to it": {next: 3},
		"the append is ahead":    {next: 4, wantErr: &eventstore.Conflict{Want: 4, Next: 3}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := opened(t, filepath.Join(t.TempDir(), "store.db"))
			key := newKey()
			mustAppend(t, s, command(key, 0, "one"))
			if _, _, err := s.Load(t.Context(), key, true); err != nil {
				t.Fatal(err)
			}
			mustAppend(t, s, command(key, 1, "two", "three"))
			withWriter(t, s, func(*conn) error { s.writer.known.forget(); return nil })

			_, err := s.Append(t.Context(), command(key, c.next, "four"))
			if c.wantErr == nil {
				if err != nil {
					t.Fatal(err)
				}
				wantPayloads(t, s, "one", "two", "three", "four")
				return
			}
			var want, got *eventstore.Conflict
			errors.As(c.wantErr, &want)
			if !errors.As(err, &got) {
				t.Fatalf("got %v, want %v", err, want)
			}
			want.Key = key
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			wantPayloads(t, s, "one", "two", "three")
		})
	}
}

func mustAppend(t *testing.T, s *Store, request eventstore.Append) {
	t.Helper()
	if _, err := s.Append(t.Context(), request); err != nil {
		t.Fatal(err)
	}
}

// Those who read together get each their own answer, those with a long history
// too.
func TestManyWhoLoadAtOnceGetWhatTheyAskedFor(t *testing.T) {
	t.Parallel()
	s := opened(t, filepath.Join(t.TempDir(), "store.db"))
	counts := map[book.Key]int{}
	for _, count := range []int{0, 1, 2, longLoad, longLoad + 1, 3 * longLoad} {
		for range 20 {
			key := newKey()
			counts[key] = count
			if count == 0 {
				continue
			}
			payloads := make([]string, count)
			for i := range payloads {
				payloads[i] = strconv.Itoa(i)
			}
			mustAppend(t, s, command(key, 0, payloads...))
		}
	}
	var wait sync.WaitGroup
	for key, count := range counts {
		wait.Go(func() {
			if err := loadsWhole(t, s, key, count); err != nil {
				t.Errorf("%d events: %v", count, err)
			}
		})
	}
	wait.Wait()
	if len(s.loads.waiting) != 0 || s.loads.leading {
		t.Errorf("afterwards %d wait, leading: %t", len(s.loads.waiting), s.loads.leading)
	}
}

func loadsWhole(t *testing.T, s *Store, key book.Key, count int) error {
	info, events, err := s.Load(t.Context(), key, true)
	if err != nil {
		return err
	}
	want, err := s.Events(t.Context(), key, eventstore.All)
	if err != nil {
		return err
	}
	if int(info.Next) != count || len(events) != count {
		return fmt.Errorf("next is %d, with %d events", info.Next, len(events))
	}
	if diff := cmp.Diff(want, events); diff != "" {
		return fmt.Errorf("(-Events +Load):\n%s", diff)
	}
	return nil
}
