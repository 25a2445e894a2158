package chaos

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/transport"
)

// Calls returns a connection on which calls for a component are treated badly:
// those of its service, and a saga's commands. Streams are left alone. It fits
// node.Options.Calls.
func (c *Chaos) Calls(name string, conn grpc.ClientConnInterface) grpc.ClientConnInterface {
	if c == nil {
		return conn
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.components[name] == nil {
		c.components[name] = &component{calls: semaphore.NewWeighted(all), passed: make(chan struct{})}
	}
	return badConn{conn, c, name, c.components[name]}
}

type badConn struct {
	grpc.ClientConnInterface
	chaos     *Chaos
	name      string
	component *component
}

// Invoke implements grpc.ClientConnInterface.
func (b badConn) Invoke(ctx context.Context, method string, request, response any, options ...grpc.CallOption) error {
	answer, ok := response.(proto.Message)
	i, correlation, known := about(b.name, request)
	if !ok || !known {
		return b.ClientConnInterface.Invoke(ctx, method, request, response, options...)
	}
	call := &call{
		badConn: b, dice: b.chaos.throw(i), correlation: correlation, answer: answer,
		ask: func(into proto.Message) error {
			return b.ClientConnInterface.Invoke(ctx, method, request, into, options...)
		},
	}
	if i.road == roadCommand {
		return call.command()
	}
	return call.service(ctx)
}

// about returns what a call is about; false for calls that are none of chaos's
// business.
func about(component string, request any) (i identity, correlation string, known bool) {
	i.component = component
	var cover *pb.Cover
	switch r := request.(type) {
	case *pb.EventBook:
		if len(r.Pages) == 0 {
			return i, "", false
		}
		i.road, cover, i.sequence, correlation = roadCall, r.Cover, book.Last(r), r.CorrelationId
	case *pb.ContextualCommand:
		i.road, cover, i.sequence, correlation = roadDecision, r.GetCommand().GetCover(), next(r.Events), r.GetCommand().GetCorrelationId()
		i.command = commandName(r.Command)
	case *pb.CommandBook:
		origin := r.SagaOrigin
		i.road, cover, i.sequence, correlation = roadCommand, origin.GetTriggeringAggregate(), origin.GetTriggeringEventSequence(), r.CorrelationId
		i.command = fmt.Sprint(origin.GetCommandIndex(), " ", commandName(r))
	default:
		return i, "", false
	}
	key, err := book.KeyOf(cover)
	i.domain, i.root = key.Domain, key.Root
	return i, correlation, err == nil
}

// next returns the number of the event that comes after a history.
func next(history *pb.EventBook) uint32 {
	switch {
	case len(history.GetPages()) > 0:
		return book.Last(history) + 1
	case history.GetSnapshot() != nil:
		return history.Snapshot.Sequence + 1
	}
	return 0
}

func commandName(command *pb.CommandBook) string {
	if len(command.GetPages()) == 0 {
		return ""
	}
	return book.ShortName(command.Pages[0].GetCommand().GetTypeUrl())
}

// call is one call that is treated badly.
type call struct {
	badConn
	dice        dice
	correlation string
	answer      proto.Message
	ask         func(into proto.Message) error
}

func (c *call) inject(kind Kind) { c.chaos.inject(c.dice.fault(kind), c.correlation) }

// breaks reports whether the call is to fail in this way, and may.
func (c *call) breaks(kind Kind, probability float64) bool {
	if !c.dice.hit(kind, probability) || !c.chaos.mayBreak(c.dice) {
		return false
	}
	c.inject(kind)
	return true
}

// command calls an aggregate for a saga.
func (c *call) command() error {
	if err := c.ask(c.answer); err != nil {
		return err
	}
	if c.breaks(AnswerLost, c.chaos.options.Drops) {
		return transport.NewBroken(fmt.Sprintf("chaos lost the answer to a command of %s that was done", c.name))
	}
	return nil
}

// service calls a service.
func (c *call) service(ctx context.Context) error {
	options := &c.chaos.options
	if c.dice.identity.road == roadCall && c.dice.hit(Overtaken, options.Reorders) {
		c.inject(Overtaken)
		if err := c.component.letPass(ctx, c.dice.among(Overtaken, mostOvertake), within(ctx, c.dice.delay(Overtaken, options.LongestDelay))); err != nil {
			return err
		}
	}
	if c.breaks(CrashedBefore, options.Crashes) {
		c.crash(ctx, "before it did anything with "+c.what())
		return c.died("before its work")
	}
	if err := c.asks(ctx); err != nil {
		return err
	}
	if c.dice.hit(Slowed, options.Slow) {
		c.inject(Slowed)
		_ = pause(ctx, within(ctx, c.dice.delay(Slowed, options.LongestDelay)))
	}
	if c.breaks(CrashedAfter, options.Crashes) {
		c.crash(ctx, "after it was done with "+c.what()+", before its answer")
		return c.died("after its work")
	}
	return nil
}

// asks calls the service, or twice in the hope for the same answer.
func (c *call) asks(ctx context.Context) error {
	if err := c.component.calls.Acquire(ctx, 1); err != nil {
		return err
	}
	defer c.component.calls.Release(1)
	c.component.pass()
	if !c.dice.hit(Repeated, c.chaos.options.Duplicates) {
		return c.reach(c.answer)
	}
	first := c.answer.ProtoReflect().New().Interface()
	if err := c.reach(first); err != nil {
		return err
	}
	c.inject(Repeated)
	err := c.reach(c.answer)
	if c.dice.identity.road == roadCall {
		c.compare(first, err)
	}
	return err
}

// reach asks the service. A call that meets what is left of a process that chaos
// killed is made again: the kill was meant for another one.
func (c *call) reach(into proto.Message) error {
	err := c.ask(into)
	for range mostMeetings {
		if !transport.Broken(err) || !c.component.killedWithin(aftermath) {
			break
		}
		proto.Reset(into)
		err = c.ask(into)
	}
	return err
}

// what says for people what the service is asked about.
func (c *call) what() string {
	i := c.dice.identity
	if i.road == roadDecision {
		return fmt.Sprintf("%s for %s/%s", i.command, i.domain, i.root)
	}
	return fmt.Sprintf("event %d of %s/%s", i.sequence, i.domain, i.root)
}

func (c *call) died(when string) error {
	return transport.NewBroken(fmt.Sprintf("the connection to %s's service broke during the call: chaos broke it %s", c.name, when))
}

// within returns a delay that leaves half of the time until the context's
// deadline.
func within(ctx context.Context, delay time.Duration) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return min(delay, time.Until(deadline)/2)
	}
	return delay
}

// component is a projector, a saga or a domain, and the calls of its service.
type component struct {
	calls *semaphore.Weighted // each call under way has one of all, and a kill has all

	mu     sync.Mutex // guards the rest
	begun  int        // calls
	passed chan struct{}
	killed time.Time
}

// all is more calls than there ever are at once.
const all = 1 << 30

// pass takes note of a call that begins.
func (c *component) pass() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.begun++
	close(c.passed)
	c.passed = make(chan struct{})
}

// letPass waits until so many calls have begun, or for so long.
func (c *component) letPass(ctx context.Context, count int, longest time.Duration) error {
	timer := time.NewTimer(longest)
	defer timer.Stop()
	c.mu.Lock()
	until := c.begun + count
	for c.begun < until {
		passed := c.passed
		c.mu.Unlock()
		select {
		case <-passed:
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
		c.mu.Lock()
	}
	c.mu.Unlock()
	return nil
}

const (
	// quiet is how long a kill waits for the other calls of the service to end,
	// which it would break too.
	quiet = time.Second
	// moment is how long a process that has been killed may take to be gone, as a
	// rule.
	moment = 50 * time.Millisecond
	// aftermath is for how long calls may meet what is left of it, and mostMeetings
	// how often one call does.
	aftermath    = 5 * time.Second
	mostMeetings = 3
)

// crash kills the service, unless it has been killed not long ago or other calls
// of it do not end.
func (c *call) crash(ctx context.Context, why string) {
	if c.chaos.options.Restart == nil || !c.component.mayDie(c.chaos.options.Rest) {
		return
	}
	waiting, cancel := context.WithTimeout(ctx, quiet)
	defer cancel()
	if c.component.calls.Acquire(waiting, all) != nil {
		return
	}
	defer c.component.calls.Release(all)
	c.chaos.killed(c.name)
	c.chaos.options.Restart(c.name, "chaos killed it "+why)
	_ = pause(ctx, moment)
}

// mayDie reports whether the last kill is so long ago, and counts as one if so.
func (c *component) mayDie(rest time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); c.killed.IsZero() || now.Sub(c.killed) >= rest {
		c.killed = now
		return true
	}
	return false
}

func (c *component) killedWithin(duration time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.killed.IsZero() && time.Since(c.killed) < duration
}

func (c *Chaos) killed(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kills[name]++
}
