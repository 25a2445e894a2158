// Package chaos makes delivery as bad as it is allowed to be: it wraps the bus and
// the connections to the user's services, and doubles, drops, delays, reorders and
// breaks what passes, so that a projector or a saga that counts on luck is found
// out at a desk rather than in production. What it does follows from a seed, and
// everything it does is repaired by the runtime. DESIGN.md beside this file says
// what is the same in two runs with one seed.
package chaos

import (
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
)

// Options say how bad it gets. Of each probability, 0 is the default given and
// less than 0 is never.
type Options struct {
	Seed uint64 // of every decision
	// Duplicates is how often a message of the bus comes twice, and how often a
	// service is asked twice, the first answer being lost; 0.2.
	Duplicates float64
	// Drops is how often the bus loses a message, and how often a saga does not
	// learn that its command was done; 0.05.
	Drops float64
	// Delays is how often the bus stands still with a message; 0.1.
	Delays float64
	// Reorders is how often a message of the bus comes after later ones, and how
	// often events wait at a projector or saga until others have overtaken
	// them; 0.1.
	Reorders float64
	// Slow is how often a service takes longer to answer; 0.1.
	Slow float64
	// Crashes is how often a service is killed before it has done what it was
	// asked, and how often after that, before its answer has arrived; 0.02.
	Crashes float64

	LongestDelay time.Duration // of a message or an answer; 500 ms
	// Rest is the shortest time between two kills of a service; 15 s, so that the
	// pauses before it is started again do not grow. Crashes meanwhile only lose
	// the answer.
	Rest time.Duration

	Logger *slog.Logger // hears of every fault; nil for none
	// Restart kills the process of a component's service, such as domain/order or
	// projector/receipt, for a reason given for people, and returns at once. What
	// brings it back is not asked for here. Nil kills nothing: crashes lose the
	// answer.
	Restart func(component, reason string)
	// OnFault is told of every fault when it is injected; it is called by several
	// goroutines and must return at once. May be nil.
	OnFault func(Fault)
}

func (o *Options) setDefaults() {
	for _, each := range []struct {
		value    *float64
		standard float64
	}{
		{&o.Duplicates, 0.2}, {&o.Drops, 0.05}, {&o.Delays, 0.1}, {&o.Reorders, 0.1}, {&o.Slow, 0.1}, {&o.Crashes, 0.02},
	} {
		if *each.value == 0 {
			*each.value = each.standard
		}
	}
	if o.LongestDelay <= 0 {
		o.LongestDelay = 500 * time.Millisecond
	}
	if o.Rest <= 0 {
		o.Rest = 15 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

// Kind says what is done to a message or a call.
type Kind string

// The kinds of faults. The first four happen on the bus, the next five at the
// call of a service, the last to the commands of sagas.
const (
	Dropped       Kind = "dropped"        // the component has to find it in the log
	Doubled       Kind = "doubled"        // it came once more
	Delayed       Kind = "delayed"        // it came late, and what was behind it too
	Reordered     Kind = "reordered"      // it came after later ones
	Repeated      Kind = "asked twice"    // the service was given the same again
	Overtaken     Kind = "overtaken"      // events of other aggregates were let pass
	Slowed        Kind = "slow"           // the answer took longer
	CrashedBefore Kind = "crashed before" // the service died before it did anything
	CrashedAfter  Kind = "crashed after"  // the service died when it had done it, the answer is lost
	AnswerLost    Kind = "answer lost"    // a saga's command was done, and the saga is not told
)

// Fault is one thing that was done. Two runs with the same seed that do the same
// have the same faults, whatever their order.
type Fault struct {
	Kind      Kind
	Component string // that the message or call was for, such as "projector/receipt"
	Domain    string // of the aggregate
	Root      uuid.UUID
	// Sequence is the number of the book's last event; of a call of a domain, the
	// number that comes next.
	Sequence uint32
	Command  string // what a call of a domain, or a saga's command, asks for
	Attempt  int    // how often the same was seen before
}

// Chaos is the faults of one run. It is safe for concurrent use. The nil pointer
// does nothing.
type Chaos struct {
	options Options
	seen    counters // how often each message and call was seen
	broken  counters // how often each book's delivery was made to fail

	mu         sync.Mutex // guards the rest
	components map[string]*component
	counts     map[Count]int // without Times
	kills      map[string]int
	suspects   map[string]*Suspect
}

// New returns chaos that has done nothing yet.
func New(options Options) *Chaos {
	options.setDefaults()
	return &Chaos{options: options, components: map[string]*component{}, counts: map[Count]int{}, kills: map[string]int{}, suspects: map[string]*Suspect{}}
}

// inject takes note of a fault that happens now.
func (c *Chaos) inject(fault Fault, correlation string) {
	c.mu.Lock()
	c.counts[Count{Component: fault.Component, Kind: fault.Kind}]++
	c.mu.Unlock()
	say := c.options.Logger.Debug
	if fault.Kind == CrashedBefore || fault.Kind == CrashedAfter {
		say = c.options.Logger.Info
	}
	say("chaos: "+string(fault.Kind), "component", fault.Component, "domain", fault.Domain, "root", fault.Root.String(),
		"sequence", fault.Sequence, "correlation_id", correlation)
	if c.options.OnFault != nil {
		c.options.OnFault(fault)
	}
}
