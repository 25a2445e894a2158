package gateway

import (
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
)

// maxSpans bounds what one Execute remembers, to about ten megabytes. Only a
// workflow that touches this many aggregates meets it.
const maxSpans = 1 << 16

// sent remembers which events a client has been given.
type sent struct {
	spans map[book.Key][]span // in order, apart from each other
	count int
}

// span is an inclusive range of numbers.
type span struct{ from, to uint32 }

// fresh returns what of a book has not been given yet, as books of consecutive
// pages, and notes it. Pages that carry no number cannot be told from others
// and are always new.
func (s *sent) fresh(events *pb.EventBook) ([]*pb.EventBook, error) {
	if len(events.GetPages()) == 0 {
		return nil, nil
	}
	key, err := book.KeyOf(events.Cover)
	if err != nil {
		// Whoever made this book knows what it is about.
		return []*pb.EventBook{events}, nil
	}
	var books []*pb.EventBook
	start := -1 // of the run of new pages that the loop is in
	for i, page := range events.Pages {
		if s.add(key, page) {
			if start < 0 {
				start = i
			}
			continue
		}
		if start >= 0 {
			books = append(books, part(events, start, i))
			start = -1
		}
	}
	if start >= 0 {
		books = append(books, part(events, start, len(events.Pages)))
	}
	if s.count > maxSpans {
		return nil, status.Errorf(codes.ResourceExhausted, "correlation %s touches more aggregates than Execute can keep apart; "+
			"its events are stored: read them with EventQuery.GetEvents", events.CorrelationId)
	}
	return books, nil
}

// part returns the pages from one index up to another, the book itself if that
// is all of them.
func part(events *pb.EventBook, from, to int) *pb.EventBook {
	if from == 0 && to == len(events.Pages) {
		return events
	}
	return &pb.EventBook{
		Cover: events.Cover, Pages: events.Pages[from:to], CorrelationId: events.CorrelationId, Position: events.Position,
	}
}

// add notes a page and reports whether it is new.
func (s *sent) add(key book.Key, page *pb.EventPage) bool {
	sequence, ok := page.GetSequence().(*pb.EventPage_Num)
	if !ok {
		return true
	}
	num := sequence.Num
	spans := s.spans[key]
	// i is the first span that does not end before num.
	i, _ := slices.BinarySearchFunc(spans, num, func(s span, num uint32) int {
		if s.to < num {
			return -1
		}
		return 1
	})
	if i < len(spans) && spans[i].from <= num {
		return false
	}
	joinsLeft := i > 0 && spans[i-1].to+1 == num
	joinsRight := i < len(spans) && num+1 == spans[i].from
	before := len(spans)
	switch {
	case joinsLeft && joinsRight:
		spans[i-1].to = spans[i].to
		spans = slices.Delete(spans, i, i+1)
	case joinsLeft:
		spans[i-1].to = num
	case joinsRight:
		spans[i].from = num
	default:
		spans = slices.Insert(spans, i, span{num, num})
	}
	s.count += len(spans) - before
	if s.spans == nil {
		s.spans = map[book.Key][]span{}
	}
	s.spans[key] = spans
	return true
}
