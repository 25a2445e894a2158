// Package eventstore is the contract of angz's one source of truth: a log of
// events with positions in commit order, read by aggregate, by position, by
// command and by correlation. Drivers live below it and are held to the contract
// by the suite in storetest; only node chooses one.
//
// DESIGN.md beside this file says why the log looks as it does.
package eventstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"

	"github.com/angz-dev/angz/runtime/book"
)

// Store is everything a driver offers. All methods may be called from many
// goroutines at once. Consumers declare the part they need.
type Store interface {
	Writer
	Streams
	Log
	Index
	Subscriptions
	Parking
	// Epoch identifies this log; it changes only when an operator says so,
	// after a restore that lost events.
	Epoch() uuid.UUID
	// Close waits for the writes it has accepted, then releases everything.
	// Calls after it fail with ErrClosed.
	Close() error
}

// Writer changes aggregates.
type Writer interface {
	// Append stores the events of one command, its snapshot and the aggregate's
	// human name, all or nothing, and returns when they are durable. It answers
	// a repeated command with what was stored then. Errors: *Conflict when
	// Append.Next is not the aggregate's next number, ErrOverloaded,
	// ErrUnavailable, ErrClosed, or the context's if it ended before the append
	// was accepted; one that was accepted is seen through.
	Append(ctx context.Context, request Append) (Appended, error)
	// SaveSnapshot keeps a snapshot unless a newer one is there.
	SaveSnapshot(ctx context.Context, snapshot Snapshot) error
}

// Streams reads single aggregates.
type Streams interface {
	// Aggregate returns what is known of an aggregate, the zero Info for an
	// unknown one.
	Aggregate(ctx context.Context, key book.Key) (Info, error)
	// Load returns, as of one moment, what is known of an aggregate and the
	// events that make up its state: those after Info.Snapshot if snapshots may
	// be used and there is one, else all.
	Load(ctx context.Context, key book.Key, snapshots bool) (Info, []Event, error)
	// Events returns the aggregate's events with numbers in the range, in order.
	Events(ctx context.Context, key book.Key, wanted Range) ([]Event, error)
	// NextAt returns the number that was next when the log ended at position:
	// one more than the aggregate's newest event at or below it, 0 if none.
	NextAt(ctx context.Context, key book.Key, position uint64) (uint32, error)
}

// Log reads the whole log in the order of positions.
type Log interface {
	// ReadLog returns events with positions above after, in order and without
	// holes. It never cuts a command's events apart: it returns about limit
	// events, more if the last command needs them. Empty means the end.
	ReadLog(ctx context.Context, after uint64, limit int) ([]Event, error)
	// Head returns the position of the newest durable event, 0 for an empty
	// log. It costs no I/O.
	Head() uint64
	// Changed returns a channel that is closed when Head next moves. Take the
	// channel before reading Head, then no move is missed.
	Changed() <-chan struct{}
}

// Index finds events by something other than their aggregate.
type Index interface {
	// ByCommand returns the events of one command, none if it stored none.
	ByCommand(ctx context.Context, id uuid.UUID) ([]Event, error)
	// ByCorrelation returns the events of a correlation with positions above
	// after, in order; whole commands, about limit events.
	ByCorrelation(ctx context.Context, correlationID string, after uint64, limit int) ([]Event, error)
	// Roots returns up to limit aggregates in the order (domain, root), those
	// after the given key; the zero key stands before all.
	Roots(ctx context.Context, after book.Key, limit int) ([]Root, error)
}

// Subscriptions keeps the places of consumers in the log.
type Subscriptions interface {
	// Claim takes over the named subscription, creating it at position 0, and
	// fences all earlier claims of it.
	Claim(ctx context.Context, name string) (Claim, error)
	// Advance moves a claimed subscription from one position to another and
	// parks events, all or nothing. ErrFenced when the claim has been replaced
	// or the position is not From.
	Advance(ctx context.Context, advance Advance) error
	// Positions lists all subscriptions by name.
	Positions(ctx context.Context) ([]Position, error)
}

// Parking keeps events that a consumer could not handle.
type Parking interface {
	// Parked lists a subscription's parked events in state StateParked, in the
	// order of positions, those after the given one, up to limit.
	Parked(ctx context.Context, subscription string, after uint64, limit int) ([]Parked, error)
	// Blocked lists the aggregates with events in state StateParked.
	Blocked(ctx context.Context, subscription string) ([]book.Key, error)
	// SetParked changes the state of one parked event. ErrNotParked when there
	// is none at this position.
	SetParked(ctx context.Context, subscription string, position uint64, state State) error
}

// Event is one stored event.
type Event struct {
	Position      uint64 // place in the log, from 1, in commit order, without holes
	Key           book.Key
	Name          string // human name of the aggregate, empty if none is known
	Sequence      uint32 // number in its aggregate, from 0
	TypeURL       string // as the service gave it
	Payload       []byte // not to be changed: it may be shared
	CreatedAt     time.Time
	CommandID     uuid.UUID
	CorrelationID string
	Causation     string // "saga SOURCE-DOMAIN/ROOT/NUMBER" for a saga's command, else empty
	Offset        int    // place among the events of its command, from 0
	Count         int    // how many events its command stored
}

// NewEvent is an event to be stored.
type NewEvent struct {
	TypeURL   string
	Payload   []byte // not copied; must not be changed after the call
	CreatedAt time.Time
}

// Append is one command's outcome.
type Append struct {
	CommandID     uuid.UUID
	Repeatable    bool // the id may have been used before, so look
	Key           book.Key
	Name          string     // human name, remembered when first given; may be empty
	Next          uint32     // number of the first new event; must be the aggregate's next
	Events        []NewEvent // at least one
	CorrelationID string
	Causation     string
	Snapshot      *Snapshot // kept with the events; nil for none
}

// Appended says what became of an Append.
type Appended struct {
	Next      uint32  // the aggregate's next number now
	Last      uint64  // position of the command's last event
	Duplicate bool    // the command had been stored before; nothing was added
	Events    []Event // the events stored before, when Duplicate
}

// Snapshot is the state of an aggregate after the event with number Sequence.
type Snapshot struct {
	Key      book.Key
	Sequence uint32
	TypeURL  string
	State    []byte
}

// Info is what a store knows of an aggregate.
type Info struct {
	Next     uint32 // number of the next event; 0 when there is none yet
	Name     string
	Snapshot *Snapshot // the newest intact one; nil for none
}

// Range is an inclusive range of numbers; Limit 0 means all.
type Range struct {
	From, To uint32
	Limit    int
}

// All is the range of every event.
var All = Range{From: 0, To: math.MaxUint32}

// Root names one aggregate.
type Root struct {
	Key  book.Key
	Name string
}

// Claim is the right to move a subscription until somebody else claims it.
type Claim struct {
	Name     string
	Position uint64 // everything up to here is done
	Epoch    uint64 // one higher than that of the claim before
}

// Advance moves a subscription.
type Advance struct {
	Name     string
	Epoch    uint64
	From, To uint64
	Park     []Parked // each under its own Subscription, or under Name when that is empty
}

// Position is where a subscription stands.
type Position struct {
	Name      string
	Position  uint64
	Epoch     uint64
	UpdatedAt time.Time
}

// State of a parked event.
type State string

// The states of parked events: parked until somebody decides, then done again
// or given up.
const (
	StateParked   State = "parked"
	StateResolved State = "resolved"
	StateSkipped  State = "skipped"
)

// Parked is one command's events that a subscription could not handle.
type Parked struct {
	Subscription string
	Position     uint64 // of the command's last event
	Key          book.Key
	Sequence     uint32 // of the command's first event
	Attempts     int    // 0 when it waits behind another one of its aggregate
	Reason       string
	State        State
	FirstAt      time.Time // of the first failure
	LastAt       time.Time // of the last one
}

// Errors that drivers answer with, wrapped in what was being done.
var (
	ErrClosed      = errors.New("the event store is closed")
	ErrOverloaded  = errors.New("the event store has too many writes waiting")
	ErrUnavailable = errors.New("the event store cannot be written or read")
	ErrFenced      = errors.New("the subscription has been taken over")
	ErrNotParked   = errors.New("no event is parked there")
)

// Conflict says that an append expected another next number than there was.
type Conflict struct {
	Key  book.Key
	Want uint32 // what the append expected
	Next uint32 // what is next
}

func (e *Conflict) Error() string {
	return fmt.Sprintf("append to %s: expects number %d, the aggregate is at %d", e.Key, e.Want, e.Next)
}
