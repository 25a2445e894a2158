package gateway

import (
	"slices"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"pgregory.net/rapid"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
)

func numbered(root byte, from, to uint32) *pb.EventBook {
	events := &pb.EventBook{Cover: book.Key{Domain: "order", Root: [16]byte{root}}.Cover("")}
	for num := uint64(from); num <= uint64(to); num++ {
		events.Pages = append(events.Pages, &pb.EventPage{Sequence: &pb.EventPage_Num{Num: uint32(num)}})
	}
	return events
}

// given returns the numbers of the books that are new, book by book.
func given(t rapid.TB, s *sent, events *pb.EventBook) [][]uint32 {
	books, err := s.fresh(events)
	if err != nil {
		t.Fatal(err)
	}
	var numbers [][]uint32
	for _, events := range books {
		var list []uint32
		for _, page := range events.Pages {
			list = append(list, page.GetNum())
		}
		numbers = append(numbers, list)
	}
	return numbers
}

func TestEachEventIsGivenOnce(t *testing.T) {
	t.Parallel()
	const top = ^uint32(0)
	s := &sent{}
	for _, step := range []struct {
		book *pb.EventBook
		want [][]uint32
	}{
		{numbered(1, 3, 5), [][]uint32{{3, 4, 5}}},
		{numbered(1, 3, 5), nil},
		{numbered(1, 4, 7), [][]uint32{{6, 7}}},
		{numbered(1, 0, 1), [][]uint32{{0, 1}}},
		{numbered(2, 3, 5), [][]uint32{{3, 4, 5}}},
		{numbered(1, 0, 9), [][]uint32{{2}, {8, 9}}},
		{numbered(1, 0, 9), nil},
		{numbered(1, top-1, top), [][]uint32{{top - 1, top}}},
		{numbered(1, top-1, top), nil},
		{&pb.EventBook{Cover: numbered(1, 0, 0).Cover}, nil},
	} {
		if got := given(t, s, step.book); !slices.EqualFunc(got, step.want, slices.Equal) {
			t.Errorf("%v: got %v, expected %v", step.book, got, step.want)
		}
	}
}

func TestWholeNewBookIsGivenAsItIs(t *testing.T) {
	t.Parallel()
	events := numbered(1, 0, 3)
	books, err := (&sent{}).fresh(events)
	if err != nil || len(books) != 1 || books[0] != events {
		t.Errorf("got %v, %v", books, err)
	}
}

func TestPagesThatCannotBeToldApartAreAlwaysGiven(t *testing.T) {
	t.Parallel()
	s := &sent{}
	forced := &pb.EventBook{Cover: numbered(1, 0, 0).Cover, Pages: []*pb.EventPage{{Sequence: &pb.EventPage_Force{Force: true}}, {}}}
	nameless := &pb.EventBook{Pages: numbered(1, 0, 0).Pages}
	for range 2 {
		for _, events := range []*pb.EventBook{forced, nameless} {
			if books, err := s.fresh(events); err != nil || len(books) != 1 || books[0] != events {
				t.Errorf("got %v, %v", books, err)
			}
		}
	}
}

func TestMemoryOfWhatWasSentIsBounded(t *testing.T) {
	t.Parallel()
	s := &sent{}
	var err error
	for num := uint32(0); err == nil && num < 4*maxSpans; num += 2 { // apart, so that nothing joins
		_, err = s.fresh(numbered(1, num, num))
	}
	if status.Code(err) != codes.ResourceExhausted || s.count > maxSpans+1 {
		t.Errorf("got %v with %d spans", err, s.count)
	}
}

func TestSentAgreesWithASetOfNumbers(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s, model := &sent{}, map[[2]uint32]bool{}
		for range rapid.IntRange(1, 40).Draw(t, "books") {
			root := rapid.ByteRange(0, 2).Draw(t, "root")
			from := rapid.Uint32Range(0, 30).Draw(t, "from")
			to := from + rapid.Uint32Range(0, 8).Draw(t, "length")
			var want, got []uint32
			for num := from; num <= to; num++ {
				if place := [2]uint32{uint32(root), num}; !model[place] {
					model[place] = true
					want = append(want, num)
				}
			}
			for _, list := range given(t, s, numbered(root, from, to)) {
				got = append(got, list...)
				if int(list[len(list)-1]-list[0]) != len(list)-1 {
					t.Fatalf("a book with a hole: %v", list)
				}
			}
			if !slices.Equal(got, want) {
				t.Fatalf("root %d, %d to %d: got %v, expected %v", root, from, to, got, want)
			}
		}
		spans := 0
		for _, list := range s.spans {
			spans += len(list)
		}
		if spans != s.count {
			t.Fatalf("%d spans are counted, %d are there", s.count, spans)
		}
	})
}
