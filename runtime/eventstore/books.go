package eventstore

import (
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
)

// Books returns events, given in the order of positions, as the books in which
// they were stored: one for each run of events of the same command.
func Books(events []Event) []*pb.EventBook {
	var books []*pb.EventBook
	for len(events) > 0 {
		n := 1
		for n < len(events) && events[n].CommandID == events[0].CommandID && events[n].Key == events[0].Key {
			n++
		}
		books = append(books, Book(events[:n]))
		events = events[n:]
	}
	return books
}

// Book returns events of one aggregate, in order, as one book under the first
// one's correlation. There must be at least one.
func Book(events []Event) *pb.EventBook {
	first, last := &events[0], &events[len(events)-1]
	return &pb.EventBook{
		Cover:         first.Key.Cover(first.Name),
		Pages:         Pages(events),
		CorrelationId: first.CorrelationID,
		Position:      last.Position,
		TraceContext:  first.Trace,
	}
}

// Pages returns events as pages.
func Pages(events []Event) []*pb.EventPage {
	pages := make([]*pb.EventPage, len(events))
	for i := range events {
		event := &events[i]
		pages[i] = &pb.EventPage{
			Sequence:  &pb.EventPage_Num{Num: event.Sequence},
			CreatedAt: timestamppb.New(event.CreatedAt),
			Event:     &anypb.Any{TypeUrl: event.TypeURL, Value: event.Payload},
		}
	}
	return pages
}
