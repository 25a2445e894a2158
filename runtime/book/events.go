package book

import (
	"fmt"
	"math"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
)

// Fault says what is wrong with the book of new events that a service answered
// with.
type Fault struct {
	Problem string
}

func (e *Fault) Error() string { return e.Problem }

// CheckNew checks that a service's answer is for the commanded aggregate and
// continues its sequence at next. A page that carries no number, or force, is
// as good as one with the right number. A cover without root or domain stands
// for the commanded aggregate. The error is a *Fault.
func CheckNew(key Key, next uint32, answer *pb.EventBook) error {
	if err := checkCover(key, answer.GetCover()); err != nil {
		return err
	}
	if uint64(next)+uint64(len(answer.GetPages())) > math.MaxUint32 {
		return &Fault{fmt.Sprintf("%d more events after number %d do not fit into 32 bits", len(answer.Pages), next)}
	}
	for i, page := range answer.GetPages() {
		if page.GetEvent() == nil {
			return &Fault{fmt.Sprintf("pages[%d] carries no event", i)}
		}
		want := next + uint32(i)
		if num, ok := page.Sequence.(*pb.EventPage_Num); ok && num.Num != want {
			return &Fault{fmt.Sprintf("pages[%d] has number %d, expected %d", i, num.Num, want)}
		}
	}
	return nil
}

func checkCover(key Key, cover *pb.Cover) error {
	if cover == nil {
		return nil
	}
	if cover.Domain != "" && cover.Domain != key.Domain {
		return &Fault{fmt.Sprintf("the answer is for domain %q, the command was for %q", cover.Domain, key.Domain)}
	}
	root := cover.Root.GetValue()
	if len(root) == 0 && cover.AggregateId != "" {
		named := Root(key.Domain, cover.AggregateId)
		root = named[:]
	}
	if len(root) > 0 && string(root) != string(key.Root[:]) {
		return &Fault{fmt.Sprintf("the answer is for root %x, the command was for %x", root, key.Root[:])}
	}
	return nil
}

// First returns the number of the first page. The book must have pages that
// carry numbers, as all stored books do.
func First(events *pb.EventBook) uint32 { return events.Pages[0].GetNum() }

// Last returns the number of the last page, under the same condition as First.
func Last(events *pb.EventBook) uint32 { return events.Pages[len(events.Pages)-1].GetNum() }

// CheckStored checks that a book handed over as stored events names an
// aggregate and carries consecutive numbers. The error is an *Invalid.
func CheckStored(events *pb.EventBook) (Key, error) {
	key, err := KeyOf(events.GetCover())
	if err != nil {
		return Key{}, err
	}
	for i, page := range events.Pages {
		field := fmt.Sprintf("pages[%d]", i)
		if page.GetEvent() == nil {
			return Key{}, &Invalid{field + ".event", "nothing", "an event in a google.protobuf.Any"}
		}
		if _, ok := page.Sequence.(*pb.EventPage_Num); !ok {
			return Key{}, &Invalid{field + ".num", "no number", "the number under which the event is stored"}
		}
		if page.GetNum() == math.MaxUint32 {
			return Key{}, &Invalid{field + ".num", fmt.Sprint(page.GetNum()), "a lower number, one that another can follow"}
		}
		if want := First(events) + uint32(i); page.GetNum() != want {
			return Key{}, &Invalid{field + ".num", fmt.Sprint(page.GetNum()), fmt.Sprintf("%d, the number after the page before", want)}
		}
	}
	return key, nil
}

// After returns a book with only the pages from number next on, or the book
// itself if it starts there. The pages are shared with the given book.
func After(events *pb.EventBook, next uint32) *pb.EventBook {
	if len(events.Pages) == 0 || First(events) >= next {
		return events
	}
	skip := min(int(next-First(events)), len(events.Pages))
	return &pb.EventBook{
		Cover: events.Cover, Pages: events.Pages[skip:], CorrelationId: events.CorrelationId, Position: events.Position,
	}
}

// Bounds returns the inclusive range of numbers that a query asks for.
func Bounds(query *pb.Query) (from, to uint32) {
	from, to = max(query.LowerBound, query.FromSequence), query.UpperBound
	if to == 0 {
		to = math.MaxUint32
	}
	if query.AsOfSequence != nil {
		to = min(to, *query.AsOfSequence)
	}
	return from, to
}
