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
	Bulk
	Streams
	Log
	Index
	Survey
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

// Ahead is what a store offers beside Writer when it takes appends in the order
// in which they are handed over: the next command of an aggregate can then be
// decided while the events of the one before are on their way to the disk.
type Ahead interface {
	// AppendAhead hands an append over and returns a function that waits for its
	// outcome, which is that of Append. Unless follows is zero, it is a *Conflict
	// also when the aggregate's newest event is not of that command: a number
	// that fits by chance does not make up for events that were never stored.
	// The context counts only until the append is accepted.
	AppendAhead(ctx context.Context, request Append, follows uuid.UUID) (outcome func() (Appended, error), err error)
}

// Bulk stores much at once of what was decided elsewhere.
type Bulk interface {
	// AppendAll stores the outcomes of several commands and returns when they are
	// durable, with one Result for each. Each is all or nothing and decided on its
	// own, as Append does, and may build on those before it. Those that are stored
	// have positions in the order given, unless somebody else appends to the same
	// aggregates meanwhile. The context counts only until they are accepted.
	AppendAll(ctx context.Context, requests []Append) []Result
}

// Result is what became of one of several appends.
type Result struct {
	Appended
	Err error // as Append returns it
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

// Subscriptions keeps the places of consumers in the log, and shares them out
// among the processes that do the same work.
//
// A subscription is divided into slices, each with a position of its own. An
// aggregate belongs to one slice, see SliceOf, so whoever holds the slice has the
// aggregate's events to itself and in order. A holder's lease is measured by the
// store's clock; that it still holds a slice is decided by nothing but Advance.
type Subscriptions interface {
	// Share makes the member one of those that work on a subscription, or says
	// that it still is one, and gives it slices that nobody holds up to its fair
	// share. The subscription and its slices are created at position 0 when they
	// are not there. It is to be repeated well within the lease.
	Share(ctx context.Context, request Share) (Shared, error)
	// Advance moves slices from one position to another and parks events, all or
	// nothing. *Fenced when one of the slices has another holder since, or is not
	// at its From.
	Advance(ctx context.Context, advance Advance) error
	// Positions lists all slices of all subscriptions by name and number.
	Positions(ctx context.Context) ([]Position, error)
	Steering
}

// Steering is how people decide about subscriptions. Share tells those who work on
// them.
type Steering interface {
	// Pause lets a subscription rest, or go on. ErrNoSubscription when there is
	// none of that name.
	Pause(ctx context.Context, pause Pause) error
	// Rewind asks for a subscription to begin again, instead of what was asked for
	// before. ErrNoSubscription when there is none of that name.
	Rewind(ctx context.Context, rewind Rewind) error
	// Rewound moves all slices back to where the rewind wants them, forgets what is
	// parked behind that place, and ends the rewind; or only ends it, if it failed.
	// ErrFenced when it is not the member's to do, or not any more.
	Rewound(ctx context.Context, rewound Rewound) error
	// Controls lists what has been decided, by name. Subscriptions about which
	// nobody ever decided are left out.
	Controls(ctx context.Context) ([]Control, error)
}

// Parking keeps events that a consumer could not handle.
type Parking interface {
	// Parked lists parked events in the order of (subscription, position).
	Parked(ctx context.Context, query ParkedQuery) ([]Parked, error)
	// Blocked lists the aggregates that a subscription may not go on with: those
	// with events in StateParked or StateRetry.
	Blocked(ctx context.Context, subscription string) ([]book.Key, error)
	// Decide changes the state of one command's parked events. ErrNotParked when
	// there are none at this place, or none in one of the states From if any are
	// given.
	Decide(ctx context.Context, decision Decision) error
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
	Causation     string // "SAGA SOURCE-DOMAIN/ROOT/NUMBER" for a saga's command, "SAGA/compensation …" for one that makes good for it, else empty
	Trace         string // W3C traceparent of the span that stored it, empty when it was not traced
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
	Trace         string    // W3C traceparent, empty for none
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

// Share says who wants to work on a subscription.
type Share struct {
	Name    string
	Member  uuid.UUID     // new for each start of a process and subscription
	Address string        // where other members reach this one; may be empty
	Slices  int           // at least 1; the first Share of a subscription fixes it
	Lease   time.Duration // after this time without another Share the member counts as gone
	Return  []int         // slices that the member holds, has come to rest in and gives back
	Leave   bool          // gives back everything and takes nothing
}

// Shared is how a subscription is shared out after a Share.
type Shared struct {
	Slices []Slice // all of them, by number; those of the member are its claims
	// Surplus is how many slices the member holds beyond its fair share, the
	// number of slices divided by that of members, rounded up. It is to bring
	// that many to rest and name them in Return. While a subscription is paused or
	// being rewound nobody gets slices, and all that a member holds are too many.
	Surplus int
	Paused  bool
	Note    string // who decided so and why, when it is paused
	// Rewind is for this member to do; nil when there is none, or while somebody
	// else does it or still holds slices.
	Rewind *Rewinding
}

// Rewinding is a rewind that is to be done.
type Rewinding struct {
	Number uint64 // of this rewind among all of its subscription, from 1
	To     uint64
	Clear  bool
}

// Pause says that a subscription is to rest, or to go on.
type Pause struct {
	Name   string
	Paused bool
	Note   string // who decided so and why
}

// Rewind says that a subscription is to begin again.
type Rewind struct {
	Name string
	To   uint64 // everything behind this position comes again; slices that have not come so far stay
	// Clear says that what the component has made is to be cleared away first.
	Clear bool
	Note  string // who decided so and why
}

// Rewound says that a rewind has been done.
type Rewound struct {
	Name   string
	Number uint64
	Member uuid.UUID
	Failed string // why it cannot be done; empty when it was
}

// Control is what people have decided about a subscription.
type Control struct {
	Name      string
	Paused    bool
	Note      string // of the newest decision
	At        time.Time
	Rewinding bool   // the newest rewind is not done yet
	Number    uint64 // of the newest rewind; 0 when there was none
	To        uint64 // of the newest rewind, as Clear
	Clear     bool
	Failed    string // why the newest rewind was not done; empty when it was
}

// Slice is one slice of a subscription.
type Slice struct {
	Number   int
	Position uint64    // everything of this slice up to here is done
	Epoch    uint64    // one higher than when another member held it
	Member   uuid.UUID // who holds it; uuid.Nil for nobody
	Address  string    // where its holder is reached; may be empty
}

// SliceOf returns the slice of an aggregate among the given number of slices.
func SliceOf(key book.Key, slices int) int { return key.Slice(slices) }

// Advance moves slices of one subscription.
type Advance struct {
	Name  string
	Moves []Move
	Park  []Parked // each under its own Subscription, or under Name when that is empty
}

// Move moves one slice.
type Move struct {
	Slice    int
	Epoch    uint64 // of the claim
	From, To uint64
}

// Position is where one slice of a subscription stands.
type Position struct {
	Name      string
	Slice     int
	Slices    int // how many the subscription has
	Position  uint64
	Epoch     uint64
	Member    uuid.UUID // who holds it by an unexpired lease; uuid.Nil for nobody
	Address   string
	UpdatedAt time.Time
}

// State of a parked event.
type State string

// The states of parked events: parked until somebody decides, then to be tried
// again and at last resolved, or given up.
const (
	StateParked   State = "parked"
	StateRetry    State = "retry"
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
	Note         string    // who decided last and why, empty before any decision
}

// ParkedQuery selects parked events.
type ParkedQuery struct {
	Subscription string   // empty for all
	States       []State  // none for all
	Key          book.Key // zero for all aggregates
	// AfterSubscription and AfterPosition are the place of the last one of the
	// page before.
	AfterSubscription string
	AfterPosition     uint64
	Limit             int // at least 1
}

// Decision says what is to become of parked events.
type Decision struct {
	Subscription string
	Position     uint64
	From         []State // which state they must be in; none for any
	To           State
	Attempts     int    // added to those counted so far
	Reason       string // replaces the reason, unless empty
	Note         string // replaces the note, unless empty
}

// Errors that drivers answer with, wrapped in what was being done.
var (
	ErrClosed      = errors.New("the event store is closed")
	ErrOverloaded  = errors.New("the event store has too many writes waiting")
	ErrUnavailable = errors.New("the event store cannot be written or read")
	ErrFenced      = errors.New("the subscription has been taken over")
	ErrSlices      = errors.New("the subscription is divided into another number of slices")
	ErrNotParked   = errors.New("no event is parked there")

	ErrNoSubscription = errors.New("there is no such subscription")
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

// Fenced says which slices of an Advance the caller no longer holds. It is an
// ErrFenced.
type Fenced struct {
	Name   string
	Slices []int
}

func (e *Fenced) Error() string {
	return fmt.Sprintf("slices %v of %s: %v", e.Slices, e.Name, ErrFenced)
}

// Unwrap makes a Fenced an ErrFenced.
func (e *Fenced) Unwrap() error { return ErrFenced }
