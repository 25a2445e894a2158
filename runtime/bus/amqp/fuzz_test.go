package amqp

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/bus"
)

func stored() *pb.EventBook {
	return &pb.EventBook{
		Cover:    &pb.Cover{Domain: "customer", Root: &pb.UUID{Value: make([]byte, 16)}},
		Pages:    []*pb.EventPage{{Sequence: &pb.EventPage_Num{Num: 3}, Event: &anypb.Any{TypeUrl: "x/y"}}},
		Position: 9,
	}
}

// FuzzDecode checks that whatever comes is a book or says why not, and that what
// is accepted can be published again as the same.
func FuzzDecode(f *testing.F) {
	body, err := proto.Marshal(stored())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(int64(8), int64(9), "e", contentType, body)
	f.Add(int64(-1), int64(9), "e", contentType, body)
	f.Add(int64(9), int64(9), "f", "text/plain", []byte{0xff})
	f.Fuzz(func(t *testing.T, previous, position int64, epoch, typed string, body []byte) {
		before, at, err := place(amqp.Table{headerPrevious: previous, headerPosition: position, headerEpoch: epoch}, "e")
		if err != nil {
			isUnfit(t, err)
			return
		}
		events, err := decode(typed, body, at)
		if err != nil {
			isUnfit(t, err)
			return
		}
		_, again, err := encode(bus.Message{Previous: before, Book: events}, uuid.UUID{})
		if err != nil {
			t.Fatal(err)
		}
		same, err := decode(again.ContentType, again.Body, at)
		if err != nil || !proto.Equal(events, same) {
			t.Errorf("%v became %v, %v", events, same, err)
		}
	})
}

func isUnfit(t *testing.T, err error) {
	t.Helper()
	if reason := (*unfit)(nil); !errors.As(err, &reason) || reason.kind == "" {
		t.Errorf("the error is %v", err)
	}
}

func TestPositionsOfAnyIntegerTypeAreRead(t *testing.T) {
	t.Parallel()
	previous, position, err := place(amqp.Table{headerPrevious: int32(8), headerPosition: int64(9), headerEpoch: "e"}, "e")
	if err != nil || previous != 8 || position != 9 {
		t.Errorf("%d, %d, %v", previous, position, err)
	}
}

func TestABookThatCannotFollowIsNotEncoded(t *testing.T) {
	t.Parallel()
	_, _, err := encode(bus.Message{Previous: 9, Book: stored()}, uuid.UUID{})
	if err == nil || !strings.Contains(err.Error(), "cannot follow") {
		t.Errorf("encode: %v", err)
	}
}
