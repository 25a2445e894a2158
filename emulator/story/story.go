// Package story tells what became of a command in one line: the events that were
// stored, who followed them and how long it took, the commands that sagas sent
// because of them, and what went wrong on the way. It is how a developer sees the
// whole system work without reading the log of every part.
package story

import "time"

// Story is one command with everything that it has caused.
type Story struct {
	Correlation string
	Began       time.Time
	Took        time.Duration // until the last step that is told
	// Settled says that nothing is under way any more. A story that takes too
	// long is told as it stands, and again, with Again, when it has settled.
	Settled, Again bool
	Command        *Command
	Left           int // commands that are not told because there are too many
}

// Command is one command, or, with the outcome Earlier, events whose command was
// given before angz began to watch.
type Command struct {
	Domain string
	ID     string // the human name of the aggregate, or its root's text
	Type   string // the message's name, without its package
	// Undoes says that the command compensates for one that was rejected.
	Undoes  bool
	Outcome Outcome
	Code    string // of a rejection, as gRPC spells it: FAILED_PRECONDITION
	Reason  string // of a rejection
	Events  []Event
	More    int // events that are not listed because there are too many
	Took    time.Duration
	Waited  time.Duration // of Took, for a service that was not there
	// Followers are in the order in which they were expected to act.
	Followers []*Follower

	index uint32 // among the commands that a saga sent for one book
}

// Outcome says what a command came to.
type Outcome string

// The outcomes of commands.
const (
	Accepted  Outcome = "accepted"  // there are events
	Unchanged Outcome = "unchanged" // accepted, and there was nothing to store
	Duplicate Outcome = "duplicate" // done before; the events are those of that time
	Rejected  Outcome = "rejected"
	Earlier   Outcome = "earlier"
)

// Event is one stored event.
type Event struct {
	Type     string
	Sequence uint32
}

// Follower is a projector or saga that takes the events of a command.
type Follower struct {
	Kind     string // "projector" or "saga"
	Name     string
	State    State
	Attempts int
	Took     time.Duration // of all attempts, with what a saga's commands took
	Waited   time.Duration // of Took, for a service that was not there
	// Reason is why it failed last, or of which dead letter it left beside the
	// events that it has handled.
	Reason   string
	Commands []*Command // that it sent
}

// State says how far a follower is.
type State string

// The states of followers.
const (
	Pending State = "pending" // it has not been given the events
	Done    State = "done"
	Failing State = "failing" // and is tried again
	Parked  State = "parked"  // the events are a dead letter
	Blocked State = "blocked" // the events wait behind a dead letter
)

// open reports whether the follower has something to do yet.
func (s State) open() bool { return s == Pending || s == Failing }

// Level says how grave a story is.
type Level int

// The levels of stories.
const (
	Fine    Level = iota
	Concern       // a rejection, or something that takes long
	Grave         // a dead letter
)

// Level returns the level of the gravest thing in the story.
func (s Story) Level() Level {
	level := s.Command.level()
	if !s.Settled {
		level = max(level, Concern)
	}
	return level
}

func (c *Command) level() Level {
	level := Fine
	if c.Outcome == Rejected {
		level = Concern
	}
	for _, follower := range c.Followers {
		if follower.Reason != "" && follower.State != Failing {
			level = Grave
		}
		for _, command := range follower.Commands {
			level = max(level, command.level())
		}
	}
	return level
}

// clone returns a copy that does not change when the story goes on.
func (s Story) clone() Story {
	s.Command = s.Command.clone()
	return s
}

func (c *Command) clone() *Command {
	copied := *c
	copied.Followers = make([]*Follower, len(c.Followers))
	for i, follower := range c.Followers {
		one := *follower
		one.Commands = make([]*Command, len(follower.Commands))
		for j, command := range follower.Commands {
			one.Commands[j] = command.clone()
		}
		copied.Followers[i] = &one
	}
	return &copied
}

// follower returns the named one, with whether it was there already.
func (c *Command) follower(component string) (found *Follower, known bool) {
	kind, name := split(component)
	for _, follower := range c.Followers {
		if follower.Name == name && follower.Kind == kind {
			return follower, true
		}
	}
	added := &Follower{Kind: kind, Name: name, State: Pending}
	c.Followers = append(c.Followers, added)
	return added, false
}
