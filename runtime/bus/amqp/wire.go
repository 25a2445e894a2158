package amqp

import (
	"encoding/hex"
	"fmt"
	"math"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
	"google.golang.org/protobuf/proto"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/bus"
)

const contentType = "application/protobuf"

// The headers of a message. Positions are signed on the wire: AMQP brokers differ
// about unsigned ones.
const (
	headerPosition = "position"
	headerPrevious = "previous"
	headerEpoch    = "log_epoch"
	headerTrace    = "traceparent"
)

// short is how long AMQP's short texts may be: names, keys and ids.
const short = 255

// encode returns a message as it travels, and its routing key.
func encode(message bus.Message, epoch uuid.UUID) (key string, publishing amqp.Publishing, err error) {
	events := message.Book
	if events.GetPosition() > math.MaxInt64 || message.Previous >= events.GetPosition() {
		return "", publishing, fmt.Errorf("the book at position %d cannot follow position %d", events.GetPosition(), message.Previous)
	}
	body, err := proto.Marshal(events)
	if err != nil {
		return "", publishing, fmt.Errorf("encode the book at position %d: %w", events.Position, err)
	}
	headers := amqp.Table{
		headerPosition: int64(events.Position), headerPrevious: int64(message.Previous), headerEpoch: epoch.String(),
	}
	if events.TraceContext != "" {
		headers[headerTrace] = events.TraceContext
	}
	domain, root := events.GetCover().GetDomain(), hex.EncodeToString(events.GetCover().GetRoot().GetValue())
	publishing = amqp.Publishing{
		Headers: headers, ContentType: contentType, DeliveryMode: amqp.Persistent, Body: body,
		MessageId: abridged(fmt.Sprintf("%s/%s/%d", domain, root, first(events))),
	}
	if len(events.CorrelationId) <= short {
		// A part of it would correlate wrongly. The book has all of it anyway.
		publishing.CorrelationId = events.CorrelationId
	}
	return abridged(domain + "." + root), publishing, nil
}

func first(events *pb.EventBook) uint32 {
	if len(events.Pages) == 0 {
		return 0
	}
	return book.First(events)
}

// abridged makes a text fit. The end tells books apart, so the beginning goes.
func abridged(text string) string { return text[max(0, len(text)-short):] }

// unfit says that a message is not a book of this log.
type unfit struct {
	kind   string // the same for all messages that are unfit in the same way
	detail string
}

func (e *unfit) Error() string { return e.kind + ": " + e.detail }

// place reads a message's headers: its own position and the one before it. The
// error is an *unfit.
func place(headers amqp.Table, epoch string) (previous, position uint64, err error) {
	if previous, err = positive(headers, headerPrevious); err != nil {
		return 0, 0, err
	}
	if position, err = positive(headers, headerPosition); err != nil {
		return 0, 0, err
	}
	if from, _ := headers[headerEpoch].(string); from != epoch {
		return 0, 0, &unfit{"the message is of another log", fmt.Sprintf("log_epoch %q, expected %q", abridged(from), epoch)}
	}
	if previous >= position {
		return 0, 0, &unfit{"the positions make no sense", fmt.Sprintf("%d after %d", position, previous)}
	}
	return previous, position, nil
}

func positive(headers amqp.Table, name string) (uint64, error) {
	value, found := headers[name]
	if !found {
		return 0, &unfit{"the message has not come from a relay", "it has no header " + name}
	}
	var number int64
	switch value := value.(type) {
	case int64:
		number = value
	case int32: // how some brokers give back small numbers
		number = int64(value)
	default:
		return 0, &unfit{"the message has not come from a relay", fmt.Sprintf("header %s is a %T", name, value)}
	}
	if number < 0 {
		return 0, &unfit{"the positions make no sense", fmt.Sprintf("%s is %d", name, number)}
	}
	return uint64(number), nil
}

// decode reads the book of a message with the given position. The error is an
// *unfit.
func decode(typed string, body []byte, position uint64) (*pb.EventBook, error) {
	if typed != contentType {
		return nil, &unfit{"the content type is not " + contentType, fmt.Sprintf("%q", typed)}
	}
	events := &pb.EventBook{}
	if err := proto.Unmarshal(body, events); err != nil {
		return nil, &unfit{"the body is not a book", err.Error()}
	}
	if events.Position != position {
		return nil, &unfit{"the book has another position than its message", fmt.Sprintf("%d, expected %d", events.Position, position)}
	}
	if _, err := book.CheckStored(events); err != nil {
		return nil, &unfit{"the book is not one that was stored", err.Error()}
	}
	if len(events.Pages) == 0 {
		return nil, &unfit{"the book is not one that was stored", "it has no events"}
	}
	return events, nil
}
