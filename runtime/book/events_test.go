package book_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"pgregory.net/rapid"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
)

var key = book.Key{Domain: "customer", Root: counting}

func happened() *anypb.Any { return &anypb.Any{TypeUrl: "examples.Happened"} }

func num(number uint32) *pb.EventPage {
	return &pb.EventPage{Sequence: &pb.EventPage_Num{Num: number}, Event: happened()}
}

func force(value bool) *pb.EventPage {
	return &pb.EventPage{Sequence: &pb.EventPage_Force{Force: value}, Event: happened()}
}

func unnumbered() *pb.EventPage { return &pb.EventPage{Event: happened()} }

func TestAServicesAnswerMustContinueTheSequence(t *testing.T) {
	t.Parallel()
	const fine = ""
	for _, test := range []struct {
		what  string
		next  uint32
		pages []*pb.EventPage
		want  string
	}{
		{"nothing", 5, nil, fine},
		{"right numbers", 5, []*pb.EventPage{num(5), num(6), num(7)}, fine},
		{"the first event of all", 0, []*pb.EventPage{num(0)}, fine},
		{"no numbers", 5, []*pb.EventPage{unnumbered(), unnumbered()}, fine},
		{"force", 5, []*pb.EventPage{force(true), force(false)}, fine},
		{"all sorts", 5, []*pb.EventPage{num(5), unnumbered(), force(true), num(8)}, fine},
		{"one too high", 5, []*pb.EventPage{num(6)}, "pages[0] has number 6, expected 5"},
		{"one too low", 5, []*pb.EventPage{num(4)}, "pages[0] has number 4, expected 5"},
		{"counted from 0", 5, []*pb.EventPage{num(0)}, "pages[0] has number 0, expected 5"},
		{"a gap", 5, []*pb.EventPage{num(5), num(7)}, "pages[1] has number 7, expected 6"},
		{"the same twice", 5, []*pb.EventPage{num(5), num(5)}, "pages[1] has number 5, expected 6"},
		{"a gap after one without number", 5, []*pb.EventPage{unnumbered(), num(7)}, "pages[1] has number 7, expected 6"},
		{"no event", 5, []*pb.EventPage{num(5), {Sequence: &pb.EventPage_Num{Num: 6}}}, "pages[1] carries no event"},
		{"a nil page", 5, []*pb.EventPage{nil}, "pages[0] carries no event"},
		{"the last numbers there are", math.MaxUint32 - 2, []*pb.EventPage{unnumbered(), unnumbered()}, fine},
		{"more than there are", math.MaxUint32 - 1, []*pb.EventPage{unnumbered(), unnumbered()}, "2 more events after number 4294967294 do not fit into 32 bits"},
	} {
		same(t, test.what, test.want, fault(t, book.CheckNew(key, test.next, &pb.EventBook{Cover: key.Cover(""), Pages: test.pages})))
	}
	same(t, "no answer", fine, fault(t, book.CheckNew(key, 5, nil)))
}

func TestAServicesAnswerMustBeForTheCommandedAggregate(t *testing.T) {
	t.Parallel()
	alice := book.Key{Domain: "customer", Root: book.Root("customer", "alice")}
	for _, test := range []struct {
		what  string
		cover *pb.Cover
		want  string
	}{
		{"no cover", nil, ""},
		{"an empty cover", &pb.Cover{}, ""},
		{"its own", alice.Cover("alice"), ""},
		{"without root", &pb.Cover{Domain: "customer"}, ""},
		{"an empty root", &pb.Cover{Domain: "customer", Root: &pb.UUID{}}, ""},
		{"without domain", &pb.Cover{Root: &pb.UUID{Value: alice.Root[:]}}, ""},
		{"by name", &pb.Cover{Domain: "customer", AggregateId: "alice"}, ""},
		{"by name alone", &pb.Cover{AggregateId: "alice"}, ""},
		{"a name of its own beside the root", alice.Cover("Alice"), ""},
		{"another domain", book.Key{Domain: "order", Root: alice.Root}.Cover(""), `the answer is for domain "order", the command was for "customer"`},
		{"another root", key.Cover(""), fmt.Sprintf("the answer is for root %x, the command was for %x", counting[:], alice.Root[:])},
		{"half a root", &pb.Cover{Root: &pb.UUID{Value: alice.Root[:8]}}, fmt.Sprintf("the answer is for root %x, the command was for %x", alice.Root[:8], alice.Root[:])},
		{"another name", &pb.Cover{Domain: "customer", AggregateId: "bob"},
			fmt.Sprintf(`the answer is for "bob", whose root is %s; the command was for root %s`, book.Root("customer", "bob"), alice.Root)},
	} {
		answer := &pb.EventBook{Cover: test.cover, Pages: []*pb.EventPage{unnumbered()}}
		same(t, test.what, test.want, fault(t, book.CheckNew(alice, 0, answer)))
	}
}

// fault returns the text of a *book.Fault, "" for no error.
func fault(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	var found *book.Fault
	if !errors.As(err, &found) {
		t.Fatalf("got %v, want a *Fault", err)
	}
	return found.Problem
}

func TestStoredEventsCarryConsecutiveNumbers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		what  string
		pages []*pb.EventPage
		want  *book.Invalid
	}{
		{"none", nil, nil},
		{"one", []*pb.EventPage{num(7)}, nil},
		{"some", []*pb.EventPage{num(7), num(8), num(9)}, nil},
		{"the highest", []*pb.EventPage{num(math.MaxUint32)}, nil},
		{"no number", []*pb.EventPage{num(7), unnumbered()}, &book.Invalid{Field: "pages[1].num", Found: "no number", Want: "the number under which the event is stored"}},
		{"force", []*pb.EventPage{force(true)}, &book.Invalid{Field: "pages[0].num", Found: "no number", Want: "the number under which the event is stored"}},
		{"a hole", []*pb.EventPage{num(7), num(9)}, &book.Invalid{Field: "pages[1].num", Found: "9", Want: "8, the number after the page before"}},
		{"backwards", []*pb.EventPage{num(7), num(6)}, &book.Invalid{Field: "pages[1].num", Found: "6", Want: "8, the number after the page before"}},
		{"beyond the highest", []*pb.EventPage{num(math.MaxUint32), num(0)},
			&book.Invalid{Field: "pages[1].num", Found: "0", Want: "4294967296, the number after the page before"}},
		{"no event", []*pb.EventPage{{Sequence: &pb.EventPage_Num{Num: 7}}}, &book.Invalid{Field: "pages[0].event", Found: "nothing", Want: "an event in a google.protobuf.Any"}},
		{"a nil page", []*pb.EventPage{nil}, &book.Invalid{Field: "pages[0].event", Found: "nothing", Want: "an event in a google.protobuf.Any"}},
	} {
		found, err := book.CheckStored(&pb.EventBook{Cover: key.Cover(""), Pages: test.pages})
		if test.want != nil {
			same(t, test.what, test.want, invalid(t, err))
		} else if err != nil || found != key {
			t.Errorf("%s: got %v, %v", test.what, found, err)
		}
	}
	_, err := book.CheckStored(nil)
	same(t, "no book", "cover", invalid(t, err).Field)
}

// stored returns a book with count pages from number first on.
func stored(first, count uint32) *pb.EventBook {
	events := &pb.EventBook{Cover: key.Cover("alice"), CorrelationId: "c", Position: 99}
	for number := first; number < first+count; number++ {
		events.Pages = append(events.Pages, num(number))
	}
	return events
}

func TestAfterLeavesThePagesFromANumberOn(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		first, count := rapid.Uint32Range(0, 5).Draw(t, "first"), rapid.Uint32Range(0, 5).Draw(t, "count")
		next := rapid.OneOf(rapid.Uint32Range(0, 12), rapid.Just(uint32(math.MaxUint32))).Draw(t, "next")
		events := stored(first, count)
		before := proto.Clone(events)
		want := stored(first, count)
		want.Pages = slices.DeleteFunc(want.Pages, func(page *pb.EventPage) bool { return page.GetNum() < next })
		if got := book.After(events, next); !proto.Equal(want, got) {
			t.Errorf("After(%d…, %d) = %v, want %v", first, next, got, want)
		}
		if !proto.Equal(before, events) {
			t.Errorf("the given book was changed to %v", events)
		}
	})
}

func TestAfterReturnsTheBookItselfWhereNothingGoes(t *testing.T) {
	t.Parallel()
	events := stored(3, 2)
	events.Snapshot = &pb.Snapshot{Sequence: 2}
	if got := book.After(events, 3); got != events {
		t.Errorf("got %v", got)
	}
	same(t, "first and last", []uint32{3, 4}, []uint32{book.First(events), book.Last(events)})
}

func TestBoundsOfAQuery(t *testing.T) {
	t.Parallel()
	const none = math.MaxUint32
	at := func(sequence uint32) *uint32 { return &sequence }
	for _, test := range []struct {
		what     string
		query    *pb.Query
		from, to uint32
	}{
		{"none", &pb.Query{}, 0, none},
		{"lower", &pb.Query{LowerBound: 3}, 3, none},
		{"its other name", &pb.Query{FromSequence: 3}, 3, none},
		{"the higher of the two", &pb.Query{LowerBound: 3, FromSequence: 4}, 4, none},
		{"the higher of the two, the other way", &pb.Query{LowerBound: 4, FromSequence: 3}, 4, none},
		{"upper", &pb.Query{UpperBound: 3}, 0, 3},
		{"no upper, the other way", &pb.Query{UpperBound: none}, 0, none},
		{"both", &pb.Query{LowerBound: 3, UpperBound: 3}, 3, 3},
		{"upside down", &pb.Query{LowerBound: 4, UpperBound: 3}, 4, 3},
		{"as of the first", &pb.Query{AsOfSequence: at(0)}, 0, 0},
		{"as of, below the upper", &pb.Query{AsOfSequence: at(2), UpperBound: 3}, 0, 2},
		{"as of, above the upper", &pb.Query{AsOfSequence: at(9), UpperBound: 3}, 0, 3},
	} {
		if from, to := book.Bounds(test.query); from != test.from || to != test.to {
			t.Errorf("%s: %d to %d, want %d to %d", test.what, from, to, test.from, test.to)
		}
	}
}

func FuzzEventBooks(f *testing.F) {
	f.Add(encoded(f, stored(0, 3)), uint32(0))
	f.Add(encoded(f, stored(math.MaxUint32-1, 1)), uint32(math.MaxUint32))
	f.Add(encoded(f, &pb.EventBook{Pages: []*pb.EventPage{force(true), unnumbered()}}), uint32(7))
	f.Add(encoded(f, &pb.EventBook{Cover: &pb.Cover{AggregateId: "bob"}}), uint32(7))
	f.Fuzz(func(t *testing.T, data []byte, next uint32) {
		events := &pb.EventBook{}
		if proto.Unmarshal(data, events) != nil {
			return
		}
		if fault(t, book.CheckNew(key, next, events)) == "" {
			for i, page := range events.Pages {
				if number, ok := page.Sequence.(*pb.EventPage_Num); ok && number.Num != next+uint32(i) {
					t.Errorf("number %d was let through as %d", number.Num, next+uint32(i))
				}
			}
		}
		if _, err := book.CheckStored(events); err != nil {
			invalid(t, err)
			return
		}
		for _, page := range book.After(events, next).Pages {
			if page.GetNum() < next {
				t.Errorf("After(%d) left number %d", next, page.GetNum())
			}
		}
		if len(events.Pages) > 0 && uint64(book.Last(events))-uint64(book.First(events)) != uint64(len(events.Pages)-1) {
			t.Errorf("%d pages from %d to %d", len(events.Pages), book.First(events), book.Last(events))
		}
	})
}
