package inspect

import (
	"context"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/emptypb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
)

// Domain is one domain's share of the log.
type Domain struct {
	Name       string
	Aggregates uint64
	Events     uint64
	Position   uint64    // of its newest event in the log
	LastAt     time.Time // when its newest event happened; zero when there is none
	Served     bool      // whether this system has a service for it
}

// Domains lists the domains that have events or a service, by name, and says where
// the log ends.
func (c *Client) Domains(ctx context.Context) (domains []Domain, head uint64, err error) {
	list, err := c.explorer.ListDomains(ctx, &emptypb.Empty{})
	if err != nil {
		return nil, 0, err
	}
	for _, d := range list.Domains {
		domains = append(domains, Domain{
			Name: d.Domain, Aggregates: d.Aggregates, Events: d.Events, Position: d.Position, LastAt: moment(d.LastAt), Served: d.Served,
		})
	}
	return domains, list.Head, nil
}

// Order is the order of aggregates.
type Order int

// The orders: by human name (those without one first), by root, and by the newest
// event, the newest first.
const (
	ByName Order = iota
	ByRoot
	ByActivity
)

// Summary is one aggregate at a glance.
type Summary struct {
	Aggregate
	Events   uint32    // how many it has
	Position uint64    // of its newest event in the log
	Type     string    // of its newest event, full message name
	LastAt   time.Time // when its newest event happened
	Snapshot bool      // whether a snapshot of it is kept
}

// ShortType returns the type of the newest event without its package.
func (s Summary) ShortType() string { return book.ShortName(s.Type) }

// SummariesRequest says which aggregates are wanted.
type SummariesRequest struct {
	Domain string // may be empty in the order ByActivity: all domains
	Prefix string // what names, or with ByRoot roots, begin with; none with ByActivity
	Order  Order
	After  string // Summaries.Next of the page before; empty for the first page
	Limit  int    // 0 for the server's own, 100
}

// Summaries is one page of aggregates.
type Summaries struct {
	Aggregates []Summary
	Next       string // where the next page begins; empty when there is none
}

// Summaries reads one page of aggregates. With ByActivity a page may be short, or
// empty, although there is a next one.
func (c *Client) Summaries(ctx context.Context, request SummariesRequest) (Summaries, error) {
	page, err := c.explorer.ListAggregates(ctx, &pb.AggregatesQuery{
		Domain: request.Domain, Prefix: request.Prefix, Order: pb.AggregatesOrder(request.Order), After: []byte(request.After), Limit: uint32(max(request.Limit, 0)),
	})
	if err != nil {
		return Summaries{}, err
	}
	summaries := Summaries{Next: string(page.Next)}
	for _, aggregate := range page.Aggregates {
		summaries.Aggregates = append(summaries.Aggregates, newSummary(aggregate))
	}
	return summaries, nil
}

// Summary tells what there is to see of one aggregate, named as people name it or
// by its root as text. One without events has no events and no root that anybody
// has given it yet, only the one it would have.
func (c *Client) Summary(ctx context.Context, domain, id string) (Summary, error) {
	summary, err := c.explorer.GetAggregate(ctx, &pb.Cover{Domain: domain, AggregateId: id})
	if err != nil {
		return Summary{}, err
	}
	return newSummary(summary), nil
}

func newSummary(summary *pb.AggregateSummary) Summary {
	cover := summary.GetCover()
	return Summary{
		Aggregate: Aggregate{Domain: cover.GetDomain(), ID: cover.GetAggregateId(), Root: rootText(cover.GetRoot())},
		Events:    summary.GetEvents(), Position: summary.GetPosition(), Type: book.TypeName(summary.GetTypeUrl()), LastAt: moment(summary.GetLastAt()),
		Snapshot: summary.GetSnapshot(),
	}
}

// Component is one service of a system.
type Component struct {
	Kind        string // domain, projector or saga
	Name        string
	Address     string   // where angz reaches it; empty where that is not known
	From        []string // the domains whose events it is given; none for a domain
	To          []string // the domains that a saga was seen to send commands to
	Synchronous bool     // whether commands wait for it
}

// Topology is what a system is made of.
type Topology struct {
	Components []Component // by kind and name
	Store      string      // what events are kept in, such as sqlite
	Bus        string      // what carries them, such as channel
}

// Topology tells what the system is made of.
func (c *Client) Topology(ctx context.Context) (Topology, error) {
	answer, err := c.explorer.GetTopology(ctx, &emptypb.Empty{})
	if err != nil {
		return Topology{}, err
	}
	topology := Topology{Store: answer.Store, Bus: answer.Bus}
	for _, component := range answer.Components {
		kind, _ := strings.CutPrefix(component.Kind.String(), "COMPONENT_KIND_")
		topology.Components = append(topology.Components, Component{
			Kind: strings.ToLower(kind), Name: component.Name, Address: component.Address, From: component.From, To: component.To, Synchronous: component.Synchronous,
		})
	}
	return topology, nil
}
