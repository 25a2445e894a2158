package chaos

import (
	"encoding/binary"
	"hash/fnv"
	"sync"
	"time"

	"github.com/google/uuid"
)

// mostAttempts is how often the same message or call may be hit. The attempts
// after that are left in peace, so that everything comes to rest.
const mostAttempts = 3

// mostBroken is how often the delivery of one book is made to fail. The runtime
// gives a book six attempts before it is a dead letter, which leaves four for what
// goes wrong by itself. A service that dies under a command is asked three times
// at most, so that a decision is hit once.
const (
	mostBroken         = 2
	mostBrokenDecision = 1
)

// identity is what a decision is about: the same message for the same component
// has the same one in every run.
type identity struct {
	road      road
	component string
	domain    string
	root      uuid.UUID
	sequence  uint32
	command   string
}

// road is where something travels.
type road string

const (
	roadBus      road = "bus"      // from the relay to a component
	roadCall     road = "call"     // from angz to a projector or a saga
	roadDecision road = "decision" // from angz to a domain's service
	roadCommand  road = "command"  // from a saga to an aggregate
	roadBroken   road = "broken"   // all that is made to fail for one book or one decision
)

// hash returns the number from which everything about the identity follows.
func (i identity) hash(seed uint64) uint64 {
	h := fnv.New64a()
	var number [8]byte
	write := func(value uint64) {
		binary.LittleEndian.PutUint64(number[:], value)
		h.Write(number[:])
	}
	write(seed)
	for _, text := range []string{string(i.road), i.component, i.domain, i.command} {
		write(uint64(len(text))) // so that no two lists of texts look the same
		h.Write([]byte(text))
	}
	h.Write(i.root[:])
	write(uint64(i.sequence))
	return mix(h.Sum64())
}

// mix spreads the bits of a number evenly: the finalizer of SplitMix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// dice are the decisions about one attempt at one thing. They depend on nothing
// but what it was made from, so that it does not matter when they are asked, in
// which order, or whether at all.
type dice struct {
	identity identity
	hash     uint64
	attempt  int
}

// luck returns a number from 0 up to 1, another one for each word.
func (d dice) luck(word string) float64 {
	h := fnv.New64a()
	h.Write([]byte(word))
	return float64(mix(d.hash^mix(h.Sum64()+uint64(d.attempt)))>>11) / (1 << 53)
}

// hit reports whether a fault of this kind, this probable, is to happen.
func (d dice) hit(kind Kind, probability float64) bool {
	return d.attempt < mostAttempts && d.luck(string(kind)) < probability
}

// among returns a number from 1 to most.
func (d dice) among(kind Kind, most int) int {
	return 1 + int(d.luck("how many "+string(kind))*float64(most))
}

// delay returns how long something of this kind takes, longest at most.
func (d dice) delay(kind Kind, longest time.Duration) time.Duration {
	return time.Duration((0.1 + 0.9*d.luck("how long "+string(kind))) * float64(longest))
}

// fault returns the fault of this kind.
func (d dice) fault(kind Kind) Fault {
	i := d.identity
	return Fault{Kind: kind, Component: i.component, Domain: i.domain, Root: i.root, Sequence: i.sequence, Command: i.command, Attempt: d.attempt}
}

// throw returns the dice for the next attempt at something.
func (c *Chaos) throw(i identity) dice {
	hash := i.hash(c.options.Seed)
	return dice{identity: i, hash: hash, attempt: c.seen.next(hash)}
}

// mayBreak reports whether the delivery of the book, or the decision, that the
// dice are about may be made to fail once more, and counts it if so.
func (c *Chaos) mayBreak(d dice) bool {
	broken, most := d.identity, mostBrokenDecision
	if broken.road != roadDecision {
		// A saga's commands fail together with the book that it answers.
		broken.command, most = "", mostBroken
	}
	broken.road = roadBroken
	return c.broken.nextBelow(broken.hash(c.options.Seed), most)
}

// counters count by hashes, and forget those that were not asked for in a long
// time. The zero value is ready.
type counters struct {
	mu          sync.Mutex
	new, before map[uint64]int
}

// remembered is how many counters are kept at least. What is done about a book
// takes seconds, in which there are not that many.
const remembered = 1 << 15

// next counts and returns the count before.
func (c *counters) next(hash uint64) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	count := c.get(hash)
	c.new[hash] = count + 1
	return count
}

// nextBelow counts if the count is below most, and reports whether it was.
func (c *counters) nextBelow(hash uint64, most int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	count := c.get(hash)
	if count >= most {
		return false
	}
	c.new[hash] = count + 1
	return true
}

// get returns a count. The caller holds the lock and sets the count after.
func (c *counters) get(hash uint64) int {
	if count, known := c.new[hash]; known {
		return count
	}
	if c.new == nil || len(c.new) >= remembered {
		c.new, c.before = map[uint64]int{}, c.new
	}
	return c.before[hash]
}
