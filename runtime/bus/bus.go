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
	// Subscribe starts receiving under the component's name, such as
	// "projector/receipt"; a bus may keep messages for that name while nobody
	// receives them. Without a name nothing is kept: the subscription is the
	// caller's own and forgotten when it ends. Every subscription receives every
	// message, also of two under one name. Messages published after Subscribe
	// returns are received, or leave a hole that a later message shows: the
	// newest message is always received in the end, as long as the bus itself
	// was reachable all the time.
	Subscribe(ctx context.Context, name string) (Subscription, error)
}

// Subscription is one consumer's end of the bus. Next is called by one
// goroutine; Ack and Close may be called by others meanwhile.
type Subscription interface {
	// Next blocks until a message is there. It fails with ErrClosed after Close
	// or when the bus has closed, or with the context's error.
	Next(ctx context.Context) (Message, error)
	// Ack tells the bus that the consumer has taken charge of everything up to
	// position. A bus that keeps messages may then forget them, and not deliver
	// those up to there any more: what is not done yet after a crash the consumer
	// finds in the log. It is cheap enough to be called for every message.
	Ack(position uint64) error
	// Close ends the subscription. It is safe to call more than once.
	Close() error
}

// ErrClosed is returned by Next when no message will come any more.
var ErrClosed = errors.New("the bus subscription is closed")
