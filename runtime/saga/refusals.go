package saga

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/delivery"
	"github.com/angz-dev/angz/runtime/eventstore"
)

// remembered is of how many books the refusals and what was done about them are
// kept in memory. It only has to outlast the attempts at one book.
const remembered = 1024

// turn is one handling of a book whose saga wants commands sent.
type turn struct {
	*memory
	events *pb.EventBook
	// anew says that somebody wants what was refused sent again.
	anew bool
}

// memory is what is known of the commands of one book. Only the lane of the
// book's aggregate uses it.
type memory struct {
	refused map[uint32]*refusal // by the command's index
	letter  eventstore.Parked   // what keeps the refusals, without them
}

// refusal is one command that its target has refused, for good: the same command
// accepted later, after it has been compensated for, would do what has been
// undone.
type refusal struct {
	reason string

	// What has been done about it so far in this process.
	queued, escalated, settled bool

	stored []*pb.CommandBook // those that caused events
	letter string            // what a person is to look at
	abort  error             // what a synchronous caller is to be told
}

// begin looks up which of the book's commands have been refused before.
func (c *Coordinator) begin(ctx context.Context, events *pb.EventBook) (*turn, error) {
	key, err := book.KeyOf(events.Cover)
	if err != nil {
		return nil, err
	}
	id := fmt.Sprint(key, " ", book.Last(events))
	anew := delivery.Anew(ctx)
	if known, ok := c.memories.GetIfPresent(id); ok {
		return &turn{memory: known, events: events, anew: anew}, nil
	}
	position, err := c.position(ctx, key, events)
	if err != nil {
		return nil, err
	}
	m := &memory{refused: map[uint32]*refusal{}, letter: eventstore.Parked{
		Subscription: "saga/" + c.options.Name + "/refused", Position: position, Key: key, Sequence: book.First(events), State: eventstore.StateResolved,
	}}
	kept, err := c.options.Delivery.Store.Parked(ctx, eventstore.ParkedQuery{
		Subscription: m.letter.Subscription, AfterSubscription: m.letter.Subscription, AfterPosition: position - 1, Limit: 1,
	})
	if err != nil {
		return nil, fmt.Errorf("look up which commands were refused: %w", err)
	}
	if len(kept) > 0 && kept[0].Position == position {
		m.letter.FirstAt = kept[0].FirstAt
		for index, reason := range readRefusals(kept[0].Reason) {
			m.refused[index] = &refusal{reason: reason}
		}
	}
	if len(m.refused) > 0 {
		c.memories.Set(id, m)
	}
	return &turn{memory: m, events: events, anew: anew}, nil
}

// position returns where the last event of a book stands in the log. Who hands a
// book over need not say it.
func (c *Coordinator) position(ctx context.Context, key book.Key, events *pb.EventBook) (uint64, error) {
	if events.Position != 0 {
		return events.Position, nil
	}
	last := book.Last(events)
	stored, err := c.options.Delivery.Store.Events(ctx, key, eventstore.Range{From: last, To: last, Limit: 1})
	if err != nil {
		return 0, fmt.Errorf("look up the position of event %d of %s: %w", last, key, err)
	}
	if len(stored) == 0 {
		return 0, fmt.Errorf("event %d of %s, which was handed over, is not in the store", last, key)
	}
	return stored[0].Position, nil
}

// note keeps that a command has been refused, before anything is done about it,
// and returns what is known of the refusal; nil for one that was accepted. One
// that was refused before and is accepted now is forgotten.
func (c *Coordinator) note(ctx context.Context, t *turn, index uint32, reason string) (*refusal, error) {
	before := t.refused[index]
	if reason == "" && before == nil {
		return nil, nil
	}
	if reason == "" {
		delete(t.refused, index)
	} else {
		t.refused[index] = &refusal{reason: reason}
	}
	letter := t.letter
	letter.Attempts, letter.Reason, letter.LastAt = len(t.refused), writeRefusals(t.refused), time.Now()
	if letter.FirstAt.IsZero() {
		letter.FirstAt = letter.LastAt
	}
	if err := c.options.Delivery.Store.Advance(ctx, eventstore.Advance{Name: "saga/" + c.options.Name, Park: []eventstore.Parked{letter}}); err != nil {
		t.restore(index, before)
		return nil, fmt.Errorf("note that a command was refused: %w", err)
	}
	c.memories.Set(fmt.Sprint(letter.Key, " ", book.Last(t.events)), t.memory)
	return t.refused[index], nil
}

func (t *turn) restore(index uint32, before *refusal) {
	if before == nil {
		delete(t.refused, index)
		return
	}
	t.refused[index] = before
}

// longestReason is how much of a reason is kept in the store, in bytes.
const longestReason = 2000

// writeRefusals returns refusals as they are kept: one line each, which a person
// can read as well.
func writeRefusals(refused map[uint32]*refusal) string {
	var lines []string
	for _, index := range slices.Sorted(maps.Keys(refused)) {
		reason := refused[index].reason
		if len(reason) > longestReason {
			reason = strings.ToValidUTF8(reason[:longestReason], "") + "…"
		}
		lines = append(lines, fmt.Sprintf("command %d refused: %q", index, reason))
	}
	return strings.Join(lines, "\n")
}

// readRefusals reads what writeRefusals wrote. What it does not understand, of a
// newer version, it leaves out.
func readRefusals(text string) map[uint32]string {
	refused := map[uint32]string{}
	for line := range strings.Lines(text) {
		rest, found := strings.CutPrefix(line, "command ")
		number, rest, also := strings.Cut(rest, " refused: ")
		index, err := strconv.ParseUint(number, 10, 32)
		if !found || !also || err != nil {
			continue
		}
		if reason, err := strconv.Unquote(strings.TrimSuffix(rest, "\n")); err == nil {
			refused[uint32(index)] = reason
		}
	}
	return refused
}
