package story_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/angz-dev/angz/emulator/story"
	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/observe"
	"github.com/angz-dev/angz/runtime/runtimetest"
)

// teller keeps what a recorder tells. It is for one goroutine at a time.
type teller struct {
	*story.Recorder
	told []story.Story
}

func newTeller(options story.Options) *teller {
	t := &teller{}
	options.Tell = func(told story.Story) { t.told = append(t.told, told) }
	t.Recorder = story.New(options)
	all := func(string) bool { return true }
	t.Follows("saga/fulfil", all)
	t.Follows("projector/receipt", all)
	return t
}

// texts returns what has been told since the last call.
func (t *teller) texts() (texts []string) {
	for _, told := range t.told {
		texts = append(texts, told.Text(story.Style{}))
	}
	t.told = nil
	return texts
}

// stored is a decision that stored one event.
func stored(domain, id, name string, sequence uint32) observe.Decision {
	command := runtimetest.Command(domain, id, 0, name)
	return observe.Decision{Command: command, Events: events(domain, id, name, sequence), Began: time.Now(), Took: 2 * time.Millisecond}
}

func events(domain, id, name string, sequence uint32) *pb.EventBook {
	page := runtimetest.Event("shop." + name + "Done")
	page.Sequence = &pb.EventPage_Num{Num: sequence}
	return &pb.EventBook{Cover: runtimetest.Command(domain, id, 0, name).Cover, Pages: []*pb.EventPage{page}}
}

// because makes a command one that a saga sent for an event.
func because(decision observe.Decision, domain, id string, sequence, index uint32) observe.Decision {
	decision.Command.SagaOrigin = &pb.SagaCommandOrigin{
		SagaName: "fulfil", TriggeringAggregate: runtimetest.Command(domain, id, 0, "x").Cover, TriggeringEventSequence: sequence, CommandIndex: index,
	}
	return decision
}

func handled(component string, events *pb.EventBook) observe.Delivery {
	return observe.Delivery{Component: component, Events: events, Began: time.Now(), Took: time.Millisecond}
}

func TestTheOrderInWhichThingsAreToldDoesNotMatter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		root := stored("order", "o1", "Place", 0)
		child := because(stored("stock", "p1", "Reserve", 4), "order", "o1", 0, 0)
		steps := []func(*teller){
			func(r *teller) { r.Decided(root) },
			func(r *teller) { r.Decided(child) },
			func(r *teller) { r.Delivered(handled("projector/receipt", root.Events)) },
			func(r *teller) { r.Delivered(handled("projector/receipt", child.Events)) },
			func(r *teller) { r.Delivered(handled("saga/fulfil", child.Events)) },
		}
		want := []string{"order o1 Place → PlaceDone #0 2ms → receipt 1ms, fulfil <1ms → stock p1 Reserve → ReserveDone #4 2ms → receipt 1ms, fulfil 1ms"}
		for range 300 {
			r := newTeller(story.Options{})
			order := rand.Perm(len(steps))
			for _, i := range order {
				steps[i](r)
			}
			// The saga is done when its command is.
			r.Delivered(handled("saga/fulfil", root.Events))
			if diff := cmp.Diff(want, r.texts()); diff != "" {
				t.Fatalf("told in the order %v: %s", order, diff)
			}
			r.Close()
			if left := r.texts(); len(left) > 0 {
				t.Fatalf("told in the order %v, left: %v", order, left)
			}
		}
	})
}

func TestAComponentThatCatchesUpTellsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newTeller(story.Options{})
		for sequence := range uint32(10_000) {
			r.Delivered(handled("projector/receipt", events("order", "o1", "Place", sequence)))
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if told := r.texts(); len(told) > 0 {
			t.Errorf("told %v", told)
		}
	})
}

func TestASagaThatCatchesUpTellsWhatItCauses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newTeller(story.Options{})
		child := because(stored("stock", "p1", "Reserve", 4), "order", "o1", 7, 0)
		r.Decided(child)
		r.Delivered(handled("saga/fulfil", events("order", "o1", "Place", 7)))
		for _, component := range []string{"projector/receipt", "saga/fulfil"} {
			r.Delivered(handled(component, child.Events))
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		want := []string{"order o1 → PlaceDone #7 earlier → fulfil <1ms → stock p1 Reserve → ReserveDone #4 2ms → receipt 1ms, fulfil 1ms"}
		if diff := cmp.Diff(want, r.texts()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestWhatNeverSettlesIsToldOnceAndForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newTeller(story.Options{})
		decided := stored("order", "o1", "Place", 0)
		decided.Command.CorrelationId = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
		r.Decided(decided)
		time.Sleep(time.Hour)
		synctest.Wait()
		want := []string{"order o1 Place → PlaceDone #0 2ms → receipt pending, fulfil pending  not settled after 5.0s  corr=6ba7b810"}
		if diff := cmp.Diff(want, r.texts()); diff != "" {
			t.Error(diff)
		}
		r.Close()
		if told := r.texts(); len(told) > 0 {
			t.Errorf("told again: %v", told)
		}
	})
}

func TestOnlySoManyStoriesAreOpen(t *testing.T) {
	t.Parallel()
	r := newTeller(story.Options{Open: 10})
	for sequence := range uint32(30) {
		r.Decided(stored("order", "o1", "Place", sequence))
	}
	if told := r.texts(); len(told) != 20 || !strings.Contains(told[0], "#0 ") || !strings.Contains(told[0], "not settled") {
		t.Errorf("told %d: %v", len(told), told[:1])
	}
	r.Close()
	if told := r.texts(); len(told) != 10 {
		t.Errorf("told %d at the end", len(told))
	}
	r.Decided(stored("order", "o1", "Place", 99))
	if told := r.texts(); len(told) > 0 {
		t.Errorf("told after the end: %v", told)
	}
}

func TestASagaThatAnswersItselfForEverIsCut(t *testing.T) {
	t.Parallel()
	r := newTeller(story.Options{})
	r.Decided(stored("order", "o1", "Place", 0))
	for sequence := range uint32(1000) {
		r.Decided(because(stored("order", "o1", "Place", sequence+1), "order", "o1", sequence, 0))
	}
	r.Close()
	lines := strings.Split(r.texts()[0], "\n")
	if len(lines) != 1 || len(lines[0]) > 20_000 {
		t.Errorf("%d lines, the first of %d bytes", len(lines), len(lines[0]))
	}
}

func TestASagaThatIsAskedAgainIsToldOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newTeller(story.Options{})
		root := stored("order", "o1", "Place", 0)
		r.Decided(root)
		away := because(stored("stock", "p1", "Reserve", 4), "order", "o1", 0, 0)
		away.Events, away.Err = nil, status.Error(codes.Unavailable, "away")
		r.Decided(away)
		r.Delivered(observe.Delivery{Component: "saga/fulfil", Events: root.Events, Outcome: observe.Failed, Reason: "away"})
		child := because(stored("stock", "p1", "Reserve", 4), "order", "o1", 0, 0)
		r.Decided(child)
		again := because(stored("stock", "p1", "Reserve", 4), "order", "o1", 0, 0)
		again.Duplicate = true
		r.Decided(again)
		for _, events := range []*pb.EventBook{child.Events, root.Events} {
			r.Delivered(handled("projector/receipt", events))
			r.Delivered(handled("saga/fulfil", events))
		}
		want := []string{"order o1 Place → PlaceDone #0 2ms → receipt 1ms, fulfil <1ms (attempt 2) → stock p1 Reserve → ReserveDone #4 2ms → receipt 1ms, fulfil 1ms"}
		if diff := cmp.Diff(want, r.texts()); diff != "" {
			t.Error(diff)
		}
	})
}

// branching is a story with two commands of one saga.
func branching(t *testing.T) (branching *story.Story) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { // time stands still, so that what is measured is known
		r := newTeller(story.Options{})
		root := stored("customer", "alice@example.com", "CreateCustomer", 0)
		root.Command.CorrelationId = "3f2a7b11-9dad-11d1-80b4-00c04fd430c8"
		r.Decided(root)
		for index := range uint32(2) {
			child := because(stored("order", fmt.Sprint("o", index), "AddPoints", 3), "customer", "alice@example.com", 0, index)
			if index == 1 {
				child.Events, child.Err = nil, status.Error(codes.FailedPrecondition, "too \x1b[2Jmany\npoints")
			}
			r.Decided(child)
		}
		r.Delivered(handled("saga/fulfil", root.Events))
		r.Close()
		if len(r.told) != 1 {
			t.Fatalf("told %d stories", len(r.told))
		}
		branching = &r.told[0]
	})
	return branching
}

func TestTextFitsTheTerminal(t *testing.T) {
	t.Parallel()
	want := `customer alice@example.com CreateCustomer
  → CreateCustomerDone #0 2ms
  → receipt pending, fulfil <1ms  not settled after 2ms  corr=3f2a7b11
  fulfil → order o0 AddPoints
    → AddPointsDone #3 2ms
    → receipt pending, fulfil pending
  fulfil
    → order o1 AddPoints ✗ too �[2Jmany points (FAILED_PRECONDITION) 2ms`
	if diff := cmp.Diff(want, branching(t).Text(story.Style{Width: 40})); diff != "" {
		t.Error(diff)
	}
}

func TestARejectionIsRed(t *testing.T) {
	t.Parallel()
	text := branching(t).Text(story.Style{Color: true})
	if !strings.Contains(text, "\x1b[31m ✗ too �[2Jmany points (FAILED_PRECONDITION)\x1b[0m") {
		t.Errorf("%q", text)
	}
}

func TestJSONIsOneLineOfALog(t *testing.T) {
	t.Parallel()
	written, err := json.Marshal(branching(t))
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(written, &got); err != nil {
		t.Fatal(err)
	}
	command, _ := got["command"].(map[string]any)
	followers, _ := command["followers"].([]any)
	want := "customer alice@example.com CreateCustomer → CreateCustomerDone #0 2ms → receipt pending, fulfil <1ms  not settled after 2ms; " +
		"fulfil → order o0 AddPoints → AddPointsDone #3 2ms → receipt pending, fulfil pending; fulfil → order o1 AddPoints ✗ too �[2Jmany points (FAILED_PRECONDITION) 2ms"
	if got["msg"] != want || got["level"] != "WARN" || got["correlation_id"] != "3f2a7b11-9dad-11d1-80b4-00c04fd430c8" || len(followers) != 2 {
		t.Errorf("%s", written)
	}
}

func TestNothingThatAServiceSaysMovesTheCursor(t *testing.T) {
	t.Parallel()
	for range 1000 {
		noise := make([]byte, rand.IntN(60))
		for i := range noise {
			noise[i] = byte(rand.Uint32())
		}
		s := story.Story{Settled: true, Correlation: string(noise), Command: &story.Command{
			Domain: string(noise), ID: string(noise), Type: string(noise), Outcome: story.Rejected, Reason: string(noise),
			Followers: []*story.Follower{{Name: string(noise), State: story.Parked, Reason: string(noise)}},
		}}
		if text := s.Text(story.Style{}); !utf8.ValidString(text) || strings.ContainsAny(text, "\x1b\r\n\x00") {
			t.Fatalf("%q of %q", text, noise)
		}
	}
}

// BenchmarkStory is what one command with two followers costs to be told.
func BenchmarkStory(b *testing.B) {
	for name, tell := range map[string]func(story.Story){
		"recorded": func(story.Story) {},
		"written": func(told story.Story) {
			_ = told.Text(story.Style{Color: true, Width: 120})
			_, _ = json.Marshal(told)
		},
	} {
		b.Run(name, func(b *testing.B) {
			r := story.New(story.Options{Tell: tell})
			for _, component := range []string{"projector/receipt", "saga/fulfil"} {
				r.Follows(component, func(string) bool { return true })
			}
			decided := stored("order", "o1", "Place", 0)
			key, err := book.KeyOf(decided.Command.Cover)
			if err != nil {
				b.Fatal(err)
			}
			decided.Command.Cover = key.Cover("o1") // as the coordinator completes it
			decided.Events.Cover = decided.Command.Cover
			b.ReportAllocs()
			for b.Loop() {
				r.Decided(decided)
				r.Delivered(handled("projector/receipt", decided.Events))
				r.Delivered(handled("saga/fulfil", decided.Events))
			}
		})
	}
}
