package observe

import (
	"context"
	"sync/atomic"
	"time"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
)

// Observer is told what becomes of commands, step by step, by the roles of one
// process while they work. It is for whoever tells people: the emulator's line
// for each command. Tracing serves the same end through processes and costs a
// fifth of a command more; see DESIGN.md.
//
// The methods are called by many goroutines, in no order between them: what a
// command causes may be told before the command. They must return at once, and
// neither keep nor change the messages they are given.
type Observer interface {
	// Follows says that a component, such as projector/receipt, takes the events
	// for which wants says so until the function returned is called.
	Follows(component string, wants func(domain string) bool) (ends func())
	// Decided tells of a command that has been answered, before anybody who
	// follows at once is waited for.
	Decided(Decision)
	// Delivered tells of a book that a component was given, or has been spared.
	Delivered(Delivery)
}

// Decision is what has become of a command.
type Decision struct {
	Command *pb.CommandBook // with a correlation id, unless it was refused for what it is
	Mode    pb.SyncMode     // how long its sender waits
	// Events are what was stored for it; nil when there was nothing to store.
	Events *pb.EventBook
	// Duplicate says that the command had been done before, and these are the
	// events of that time.
	Duplicate bool
	Err       error // a gRPC status saying why it was refused; nil if it was not
	Began     time.Time
	Took      time.Duration
	Waited    time.Duration // of that, for a service that was not there
}

// Delivery is one attempt to have a component handle a book.
type Delivery struct {
	Component string
	Events    *pb.EventBook // the events of one command, or their end
	Outcome   DeliveryOutcome
	Reason    string // of every outcome but Handled; of that, a dead letter that was left beside
	Began     time.Time
	Took      time.Duration
	Waited    time.Duration // of that, for a service that was not there
}

// DeliveryOutcome says what has become of a book.
type DeliveryOutcome int

// The outcomes of deliveries.
const (
	Handled   DeliveryOutcome = iota // by the component; nothing is left to do
	Failed                           // this time: the book comes again
	Parked                           // as a dead letter, after the attempts before
	Abandoned                        // as a dead letter, unseen, because earlier events of the aggregate are
)

// Waits adds up how long the work in a context waited for services that were not
// there. The nil pointer has waited for nothing.
type Waits struct{ nanoseconds atomic.Int64 }

type waitsKey struct{}

// CountWaits returns a context in which waits are counted. Of several around a
// piece of work the innermost counts.
func CountWaits(ctx context.Context) (context.Context, *Waits) {
	counted := &Waits{}
	return context.WithValue(ctx, waitsKey{}, counted), counted
}

// Waited says that the work in a context has waited for a service.
func Waited(ctx context.Context, length time.Duration) {
	if counted, ok := ctx.Value(waitsKey{}).(*Waits); ok {
		counted.nanoseconds.Add(int64(length))
	}
}

// Total returns how long has been waited so far.
func (w *Waits) Total() time.Duration {
	if w == nil {
		return 0
	}
	return time.Duration(w.nanoseconds.Load())
}
