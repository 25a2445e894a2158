package story

import (
	"container/list"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/observe"
)

// Options describe a recorder. Zero values mean the defaults given.
type Options struct {
	// Tell is given each story when it has settled, and one that takes longer than
	// Patience as it stands then. It is called by the goroutines of the roles,
	// several at once, and must return soon.
	Tell func(Story)
	// Patience is how long a story may take before it is told unfinished; 5 s.
	Patience time.Duration
	// Open is how many unfinished stories are kept; 1,024. Beyond it the oldest
	// one is told as it stands.
	Open int
	Now  func() time.Time // time.Now
}

const (
	// mostCommands are told of one story. A saga that answers itself for ever
	// would make one without end.
	mostCommands = 200
	// mostEarly is how many books may be known that came before their command was
	// told, and mostRecent of how many stories it is remembered that they ended.
	mostEarly, mostRecent = 256, 1024
	// early is how long a book may be known before its command.
	early = 2 * time.Second
	// forgotten is when a story that never settles is given up.
	forgotten = 10 * time.Minute
)

// Recorder gathers what the roles say and tells it as stories. It is an
// observe.Observer, safe for concurrent use, and of bounded size.
type Recorder struct {
	options Options

	mu       sync.Mutex
	follows  []*following
	nodes    map[place]*node
	open     list.List // of *tale, oldest first
	early    list.List // of *tale without its beginning, oldest first
	recent   map[place]struct{}
	ring     []place // the members of recent, oldest at next
	next     int
	watching *time.Timer // nil when nothing is open
	closed   bool
}

// following is a component that runs.
type following struct {
	component string
	wants     func(domain string) bool
}

// place names the events of one command by the last of them.
type place struct {
	key  book.Key
	last uint32
}

// node is where a command stands in its story.
type node struct {
	tale    *tale
	command *Command
}

// tale is a story under way.
type tale struct {
	story    Story
	places   []place
	open     int // followers that have something to do yet
	commands int
	began    time.Time // by Options.Now, when it was first heard of
	told     bool
	element  *list.Element
}

// New returns a recorder to which nothing has been said.
func New(options Options) *Recorder {
	if options.Patience == 0 {
		options.Patience = 5 * time.Second
	}
	if options.Open == 0 {
		options.Open = 1024
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	return &Recorder{options: options, nodes: map[place]*node{}, recent: map[place]struct{}{}}
}

// Follows implements observe.Observer.
func (r *Recorder) Follows(component string, wants func(domain string) bool) (ends func()) {
	added := &following{component, wants}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.follows = append(r.follows, added)
	slices.SortStableFunc(r.follows, func(a, b *following) int { return strings.Compare(a.component, b.component) })
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.follows = slices.DeleteFunc(r.follows, func(f *following) bool { return f == added })
	}
}

// Decided implements observe.Observer.
func (r *Recorder) Decided(decision observe.Decision) {
	command, origin := commandOf(decision)
	r.mu.Lock()
	finished := r.decided(decision, command, origin)
	r.watch()
	r.mu.Unlock()
	r.tell(finished)
}

func (r *Recorder) decided(decision observe.Decision, command *Command, origin *origin) []Story {
	at, stored := placeOf(decision.Events)
	if r.closed || decision.Duplicate && stored && decision.Mode == modeCascade && r.knows(at) {
		return nil // who waits for what a command causes sends it again
	}
	t := &tale{story: Story{Correlation: decision.Command.GetCorrelationId(), Began: decision.Began, Command: command}, began: r.options.Now(), commands: 1}
	if origin != nil {
		if t = r.attach(command, origin, decision.Command.GetCorrelationId()); t == nil {
			return nil
		}
	}
	t.lasts(decision.Began.Add(decision.Took))
	if command.Outcome == Accepted {
		r.expect(t, command, at)
	}
	var finished []Story
	if t.element == nil {
		t.element = r.open.PushBack(t)
		if r.open.Len() > r.options.Open {
			finished = r.end(r.open.Front().Value.(*tale))
		}
	}
	return append(finished, r.settle(t)...)
}

// knows reports whether a command with these events is being told, or was just
// now.
func (r *Recorder) knows(at place) bool {
	_, open := r.nodes[at]
	_, recently := r.recent[at]
	return open || recently
}

// attach puts a saga's command under the events that made the saga act. It
// returns nil when the story is too long already.
func (r *Recorder) attach(command *Command, from *origin, correlation string) *tale {
	parent := r.node(from.place, func(root *Command) {
		root.Domain, root.ID = from.place.key.Domain, from.id
	}, correlation)
	saga, known := parent.command.follower("saga/" + from.saga)
	if !known {
		parent.tale.open++
	}
	command.index = from.index
	for i, before := range saga.Commands {
		if before.index != command.index || before.Undoes != command.Undoes || before.Domain != command.Domain {
			continue
		}
		if command.Outcome == Duplicate && before.Outcome == Accepted {
			return nil // the saga was asked again
		}
		saga.Commands[i] = command
		return parent.tale
	}
	if parent.tale.commands >= mostCommands {
		parent.tale.story.Left++
		return nil
	}
	parent.tale.commands++
	saga.Commands = append(saga.Commands, command)
	return parent.tale
}

// expect waits for everybody who follows the events of a command.
func (r *Recorder) expect(t *tale, command *Command, at place) {
	before := r.nodes[at]
	r.nodes[at] = &node{t, command}
	t.places = append(t.places, at)
	for _, following := range r.follows {
		if !following.wants(command.Domain) {
			continue
		}
		if _, known := command.follower(following.component); !known {
			t.open++
		}
	}
	if before != nil && before.tale.story.Command.Outcome == Earlier && before.tale != t {
		r.join(t, command, before.tale)
	}
}

// join puts what came before its command was told under that command.
func (r *Recorder) join(t *tale, command *Command, ahead *tale) {
	for _, follower := range ahead.story.Command.Followers {
		expected, _ := command.follower(follower.Kind + "/" + follower.Name)
		if expected.State.open() {
			t.open-- // what it has come to is counted with those ahead
		}
		*expected = *follower
	}
	t.open += ahead.open
	t.commands += ahead.commands
	t.lasts(ahead.story.Began.Add(ahead.story.Took))
	for _, at := range ahead.places {
		if known := r.nodes[at]; known != nil && known.tale == ahead {
			known.tale = t
			t.places = append(t.places, at)
		}
	}
	r.early.Remove(ahead.element)
}

// Delivered implements observe.Observer.
func (r *Recorder) Delivered(delivery observe.Delivery) {
	at, ok := placeOf(delivery.Events)
	if !ok {
		return
	}
	r.mu.Lock()
	finished := r.delivered(at, delivery)
	r.watch()
	r.mu.Unlock()
	r.tell(finished)
}

func (r *Recorder) delivered(at place, delivery observe.Delivery) []Story {
	if r.closed {
		return nil
	}
	found := r.node(at, func(root *Command) {
		root.Domain, root.ID = at.key.Domain, idOf(delivery.Events.Cover, at.key)
	}, delivery.Events.CorrelationId)
	if found.command.Outcome == Earlier && found.command.Events == nil {
		found.command.Events, found.command.More = eventsOf(delivery.Events)
	}
	follower, known := found.command.follower(delivery.Component)
	t := found.tale
	if known && follower.State.open() {
		t.open--
	}
	follower.took(delivery)
	if follower.State.open() {
		t.open++
	}
	t.lasts(delivery.Began.Add(delivery.Took))
	return r.settle(t)
}

// took notes an attempt.
func (f *Follower) took(delivery observe.Delivery) {
	switch delivery.Outcome {
	case observe.Handled:
		f.State = Done
	case observe.Failed:
		f.State = Failing
	case observe.Parked:
		f.State = Parked
	case observe.Abandoned:
		f.State = Blocked
	}
	f.Reason = clipped(delivery.Reason)
	if delivery.Outcome == observe.Handled || delivery.Outcome == observe.Failed {
		f.Attempts++
		f.Took += delivery.Took
		f.Waited += delivery.Waited
	}
}

// node returns where the events at a place stand. If their command has not been
// told, about describes what is known of it.
func (r *Recorder) node(at place, about func(*Command), correlation string) *node {
	if found := r.nodes[at]; found != nil {
		return found
	}
	root := &Command{Outcome: Earlier}
	about(root)
	now := r.options.Now()
	t := &tale{story: Story{Correlation: correlation, Began: now, Command: root}, began: now, places: []place{at}}
	t.element = r.early.PushBack(t)
	added := &node{t, root}
	r.nodes[at] = added
	if r.early.Len() > mostEarly {
		r.forget(r.early.Front().Value.(*tale))
	}
	return added
}

// lasts notes that something of the story has happened until a moment.
func (t *tale) lasts(until time.Time) {
	t.story.Took = max(t.story.Took, until.Sub(t.story.Began))
}

// isEarly reports whether the story has no beginning yet.
func (t *tale) isEarly() bool { return t.story.Command.Outcome == Earlier }

// settle ends a story if nothing of it is under way.
func (r *Recorder) settle(t *tale) []Story {
	if t.open > 0 || t.isEarly() {
		return nil
	}
	t.story.Settled = true
	return r.end(t)
}

// end forgets a story and returns it, unless it has been told as it stands.
func (r *Recorder) end(t *tale) []Story {
	r.forget(t)
	if t.told && !t.story.Settled {
		return nil
	}
	t.story.Again = t.told
	return []Story{t.story.clone()}
}

func (r *Recorder) forget(t *tale) {
	if t.isEarly() {
		r.early.Remove(t.element)
	} else {
		r.open.Remove(t.element)
	}
	for _, at := range t.places {
		delete(r.nodes, at)
		r.remember(at)
	}
}

func (r *Recorder) remember(at place) {
	if _, known := r.recent[at]; known {
		return
	}
	if len(r.ring) < mostRecent {
		r.ring = append(r.ring, at)
	} else {
		delete(r.recent, r.ring[r.next])
		r.ring[r.next] = at
		r.next = (r.next + 1) % mostRecent
	}
	r.recent[at] = struct{}{}
}

func (r *Recorder) tell(stories []Story) {
	for _, story := range stories {
		r.options.Tell(story)
	}
}

// watch has a look at what is open after a while, as long as something is. The
// caller holds the lock.
func (r *Recorder) watch() {
	if r.watching == nil && r.open.Len()+r.early.Len() > 0 {
		r.watching = time.AfterFunc(min(r.options.Patience, early)/4, r.look)
	}
}

// look tells the stories that take long.
func (r *Recorder) look() {
	r.mu.Lock()
	r.watching = nil
	late := r.late(r.options.Now())
	if !r.closed {
		r.watch()
	}
	r.mu.Unlock()
	r.tell(late)
}

func (r *Recorder) late(now time.Time) (late []Story) {
	for element := r.early.Front(); element != nil; {
		t := element.Value.(*tale)
		element = element.Next()
		switch age := now.Sub(t.began); {
		case age < early:
			return append(late, r.lateOpen(now)...)
		case t.commands == 0:
			r.forget(t) // a component that catches up with the past is no story
		case t.open == 0:
			t.story.Settled = true
			late = append(late, r.end(t)...)
		case age > r.options.Patience:
			late = append(late, r.end(t)...)
		}
	}
	return append(late, r.lateOpen(now)...)
}

func (r *Recorder) lateOpen(now time.Time) (late []Story) {
	for element := r.open.Front(); element != nil; {
		t := element.Value.(*tale)
		element = element.Next()
		switch age := now.Sub(t.began); {
		case age < r.options.Patience:
			return late
		case age > forgotten:
			late = append(late, r.end(t)...)
		case !t.told:
			t.told = true
			t.lasts(now)
			late = append(late, t.story.clone())
		}
	}
	return late
}

// Close tells every story that is open as it stands. What is said afterwards is
// not heeded.
func (r *Recorder) Close() {
	r.mu.Lock()
	r.closed = true
	if r.watching != nil {
		r.watching.Stop()
	}
	var left []Story
	for element := r.open.Front(); element != nil; element = r.open.Front() {
		left = append(left, r.end(element.Value.(*tale))...)
	}
	r.mu.Unlock()
	r.tell(left)
}
