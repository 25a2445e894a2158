// Package bus is the contract of the roads on which books travel from the log to
// the roles that consume them. The log is the truth and the bus a hint: a bus may
// lose, double or reorder messages, and a consumer repairs what it notices from
// the log, so that a bad bus costs time and never an event. Drivers live below
// and are held to the contract by the suite in bustest.
package bus

import (
	"context"
	"errors"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
)

// Message is one command's events on their way.
type Message struct {
	// Previous is the position at which the message before this one ended. A
	// consumer that has not seen everything up to it reads the hole from the log.
	Previous uint64
	// Book holds the events; Book.Position is the position of the last one. It
	// is shared between all consumers and must not be changed.
	Book *pb.EventBook
}

// Publisher hands messages to the bus.
type Publisher interface {
	// Publish returns when the bus has taken all messages, given in the order
	// of positions. After an error any number of them may have been taken.
	Publish(ctx context.Context, messages []Message) error
}

// Subscriber takes messages from the bus.
type Subscriber interface {
	// Subscribe starts receiving under the component's name. Messages published
	// after it returns are received, or leave a hole that a later message
	// shows: the newest message is always received in the end.
	Subscribe(ctx context.Context, name string) (Subscription, error)
}

// Subscription is one consumer's end of the bus. Next is called by one
// goroutine; Ack and Close may be called by others meanwhile.
type Subscription interface {
	// Next blocks until a message is there. It fails with ErrClosed after Close
	// or when the bus has closed, or with the context's error.
	Next(ctx context.Context) (Message, error)
	// Ack tells the bus that everything up to position has been handled. A bus
	// that keeps messages may then forget them.
	Ack(position uint64) error
	// Close ends the subscription. It is safe to call more than once.
	Close() error
}

// ErrClosed is returned by Next when no message will come any more.
var ErrClosed = errors.New("the bus subscription is closed")
