package chaos

import (
	"github.com/google/uuid"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/angz-dev/angz/runtime/rpcerr"
	"github.com/angz-dev/angz/runtime/transport"
)

// Suspect is a component that may not be idempotent: given the same events twice
// in a row it answered differently. The first time is told, and how often it
// happened.
type Suspect struct {
	Component string    `json:"component"`
	Domain    string    `json:"domain"`
	Root      uuid.UUID `json:"root"`
	Sequence  uint32    `json:"sequence"` // of the last event
	Problem   string    `json:"problem"`  // the error of the second answer, empty for another answer
	Times     int       `json:"times"`
}

// compare suspects the component if its two answers to the same events differ. A
// second one that is an error of the moment says nothing.
func (c *call) compare(first proto.Message, err error) {
	if err == nil && proto.Equal(first, c.answer) || err != nil && passes(err) {
		return
	}
	problem := ""
	if err != nil {
		problem = status.Convert(err).Message()
	}
	if c.chaos.suspect(c.dice.identity, problem) {
		c.chaos.options.Logger.Warn("given the same events twice, it answered differently; is it idempotent?", "component", c.name,
			"domain", c.dice.identity.domain, "root", c.dice.identity.root.String(), "sequence", c.dice.identity.sequence,
			"correlation_id", c.correlation, "error", err)
	}
}

func passes(err error) bool {
	return rpcerr.Retryable(err) || transport.Broken(err) || transport.Unreachable(err)
}

// suspect takes note of a suspicion and reports whether it is the component's
// first.
func (c *Chaos) suspect(about identity, problem string) (first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.suspects[about.component]
	if known == nil {
		known = &Suspect{Component: about.component, Domain: about.domain, Root: about.root, Sequence: about.sequence, Problem: problem}
		c.suspects[about.component] = known
	}
	known.Times++
	return known.Times == 1
}
