// Package explore is the role that shows people what there is and what happens:
// domains and aggregates at a glance, the log as it grows, what a command led to,
// states, and what the system is made of. Everything it answers is found by an
// index or by a bounded part of the log, so that it can be asked at any time of a
// system with millions of aggregates.
package explore

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/google/uuid"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/rpcerr"
)

// Store is the part of an event store that the role needs.
type Store interface {
	eventstore.Survey
	eventstore.Log
	Aggregate(ctx context.Context, key book.Key) (eventstore.Info, error)
	Events(ctx context.Context, key book.Key, wanted eventstore.Range) ([]eventstore.Event, error)
	ByCorrelation(ctx context.Context, correlationID string, after uint64, limit int) ([]eventstore.Event, error)
}

// Domain is a domain that this process has a service for.
type Domain struct {
	Service pb.AggregateClient
	Label   string        // how errors call the service
	Timeout time.Duration // for one call of the service
}

// Options describe the role.
type Options struct {
	Store Store
	// Domains are those whose services this process can ask for states, by name.
	Domains map[string]Domain
	// Served are the domains that the system has services for.
	Served []string
	// Components are the services of the system, by kind and name; what a saga
	// sends to is found in the log.
	Components []*pb.Component
	// StoreName and BusName say what keeps and carries events.
	StoreName, BusName string
}

// Server serves Explorer. It is safe for concurrent use.
type Server struct {
	pb.UnimplementedExplorerServer
	options     Options
	sagaTargets targets
}

// New returns a server over a store.
func New(options Options) *Server { return &Server{options: options} }

// ListDomains answers with the domains that have events or a service.
func (s *Server) ListDomains(ctx context.Context, _ *emptypb.Empty) (*pb.DomainList, error) {
	stored, err := s.options.Store.Domains(ctx)
	if err != nil {
		return nil, rpcerr.Status(err)
	}
	list := &pb.DomainList{Head: s.options.Store.Head()}
	for _, d := range stored {
		list.Domains = append(list.Domains, &pb.DomainSummary{
			Domain: d.Name, Aggregates: d.Aggregates, Events: d.Events, Position: d.Position, LastAt: stamp(d.At), Served: slices.Contains(s.options.Served, d.Name),
		})
	}
	for _, name := range s.options.Served {
		if !slices.ContainsFunc(stored, func(d eventstore.Domain) bool { return d.Name == name }) {
			list.Domains = append(list.Domains, &pb.DomainSummary{Domain: name, Served: true})
		}
	}
	slices.SortFunc(list.Domains, func(a, b *pb.DomainSummary) int { return strings.Compare(a.Domain, b.Domain) })
	return list, nil
}

// GetAggregate answers with one aggregate at a glance.
func (s *Server) GetAggregate(ctx context.Context, cover *pb.Cover) (*pb.AggregateSummary, error) {
	key, err := book.KeyFrom(cover.GetDomain(), cover.GetRoot(), cover.GetAggregateId())
	if err != nil {
		return nil, rpcerr.Status(err)
	}
	found, err := s.options.Store.Summary(ctx, key)
	if err != nil {
		return nil, rpcerr.Status(err)
	}
	if found.Next == 0 {
		return &pb.AggregateSummary{Cover: key.Cover(book.Name(cover.GetAggregateId()))}, nil
	}
	return summary(found), nil
}

// look is how many events of the log one page of aggregates by activity may cost.
const look = 5_000

// ListAggregates answers with one page of aggregates.
func (s *Server) ListAggregates(ctx context.Context, query *pb.AggregatesQuery) (*pb.AggregatesPage, error) {
	limit := pageSize(query.GetLimit())
	if query.GetOrder() == pb.AggregatesOrder_AGGREGATES_ORDER_ACTIVITY {
		page, err := s.byActivity(ctx, query, limit)
		return page, rpcerr.Status(err)
	}
	wanted, err := summaryQuery(query, limit)
	if err != nil {
		return nil, rpcerr.Status(err)
	}
	found, err := s.options.Store.Summaries(ctx, wanted)
	if err != nil {
		return nil, rpcerr.Status(err)
	}
	page := &pb.AggregatesPage{Aggregates: summaries(found)}
	if len(found) == limit {
		last := found[limit-1].Root
		page.Next = append(last.Key.Root[:], eventstore.NameKey(last.Name)...)
	}
	return page, nil
}

func (s *Server) byActivity(ctx context.Context, query *pb.AggregatesQuery, limit int) (*pb.AggregatesPage, error) {
	if query.Prefix != "" {
		return nil, &book.Invalid{Field: "prefix", Found: fmt.Sprintf("%q", query.Prefix), Want: "none in the order of activity"}
	}
	before := s.options.Store.Head() + 1
	if len(query.After) > 0 {
		if len(query.After) != 8 {
			return nil, &book.Invalid{Field: "after", Found: fmt.Sprintf("%d bytes", len(query.After)), Want: "next of an answer in the order of activity"}
		}
		before = binary.BigEndian.Uint64(query.After)
	} else if query.Domain != "" {
		// What happened since in other domains need not be looked at.
		domains, err := s.options.Store.Domains(ctx)
		if err != nil {
			return nil, err
		}
		at := slices.IndexFunc(domains, func(d eventstore.Domain) bool { return d.Name == query.Domain })
		if at < 0 {
			return &pb.AggregatesPage{}, nil
		}
		before = domains[at].Position + 1
	}
	found, next, err := s.options.Store.Latest(ctx, eventstore.LatestQuery{Domain: query.Domain, Before: before, Look: look, Limit: limit})
	if err != nil {
		return nil, err
	}
	page := &pb.AggregatesPage{Aggregates: summaries(found)}
	if next > 0 {
		page.Next = binary.BigEndian.AppendUint64(nil, next)
	}
	return page, nil
}

// summaryQuery reads a query for an order that an index has.
func summaryQuery(query *pb.AggregatesQuery, limit int) (eventstore.SummaryQuery, error) {
	wanted := eventstore.SummaryQuery{Domain: query.GetDomain(), Prefix: query.GetPrefix(), Limit: limit}
	switch query.GetOrder() {
	case pb.AggregatesOrder_AGGREGATES_ORDER_NAME:
		wanted.Prefix = eventstore.NameKey(wanted.Prefix)
	case pb.AggregatesOrder_AGGREGATES_ORDER_ROOT:
		wanted.ByRoot, wanted.Prefix = true, strings.ToLower(wanted.Prefix)
	default:
		return wanted, &book.Invalid{Field: "order", Found: fmt.Sprint(int32(query.Order)), Want: "AGGREGATES_ORDER_NAME, AGGREGATES_ORDER_ROOT or AGGREGATES_ORDER_ACTIVITY"}
	}
	if wanted.Domain == "" {
		return wanted, &book.Invalid{Field: "domain", Found: "nothing", Want: `the name of a domain, such as "customer", or the order of activity`}
	}
	if after := query.After; len(after) > 0 {
		if len(after) < 16 || !utf8.Valid(after[16:]) {
			return wanted, &book.Invalid{Field: "after", Found: fmt.Sprintf("%d bytes", len(after)), Want: "next of an answer in the same order"}
		}
		wanted.After = &eventstore.Root{Key: book.Key{Domain: wanted.Domain, Root: uuid.UUID(after[:16])}, Name: string(after[16:])}
	}
	return wanted, nil
}

// pageSize returns how many aggregates a page holds.
func pageSize(wanted uint32) int {
	const usual, most = 100, 1000
	if wanted == 0 {
		return usual
	}
	return int(min(wanted, most))
}

func summaries(found []eventstore.Summary) []*pb.AggregateSummary {
	all := make([]*pb.AggregateSummary, len(found))
	for i := range found {
		all[i] = summary(found[i])
	}
	return all
}

func summary(found eventstore.Summary) *pb.AggregateSummary {
	return &pb.AggregateSummary{
		Cover: found.Key.Cover(found.Name), Events: found.Next, Position: found.Position, TypeUrl: found.TypeURL, LastAt: stamp(found.At), Snapshot: found.Snapshot,
	}
}

// stamp returns a time for the wire, nothing for none.
func stamp(at time.Time) *timestamppb.Timestamp {
	if at.IsZero() {
		return nil
	}
	return timestamppb.New(at)
}
