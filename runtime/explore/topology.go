package explore

import (
	"context"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/rpcerr"
)

// seen is how many of the newest events are looked at for what sagas send to.
const seen = 10_000

// GetTopology answers with the services of the system and what flows between
// them.
func (s *Server) GetTopology(ctx context.Context, _ *emptypb.Empty) (*pb.Topology, error) {
	targets, err := s.targets(ctx)
	if err != nil {
		return nil, rpcerr.Status(err)
	}
	topology := &pb.Topology{Store: s.options.StoreName, Bus: s.options.BusName}
	for _, component := range s.options.Components {
		component = proto.CloneOf(component)
		if component.Kind == pb.ComponentKind_COMPONENT_KIND_SAGA {
			component.To = targets[component.Name]
		}
		topology.Components = append(topology.Components, component)
	}
	return topology, nil
}

// targets are the domains of the aggregates that sagas have changed, as far as the
// log has been looked at.
type targets struct {
	mu      sync.Mutex
	upTo    uint64 // position in the log
	domains map[string][]string
}

// targets looks at what has been stored since it looked last, at first at the newest
// events only, and returns the domains of the aggregates that each saga has changed.
func (s *Server) targets(ctx context.Context) (map[string][]string, error) {
	isSaga := func(c *pb.Component) bool { return c.Kind == pb.ComponentKind_COMPONENT_KIND_SAGA }
	if !slices.ContainsFunc(s.options.Components, isSaga) {
		return nil, nil
	}
	known := &s.sagaTargets
	known.mu.Lock()
	defer known.mu.Unlock()
	if known.domains == nil {
		known.domains = map[string][]string{}
	}
	head := s.options.Store.Head()
	for known.upTo = max(known.upTo, head-min(head, seen)); known.upTo < head; {
		events, err := s.options.Store.ReadLog(ctx, known.upTo, tailPage)
		if err != nil {
			return nil, err
		}
		if len(events) == 0 {
			break
		}
		for i := range events {
			known.upTo = events[i].Position
			if by := cause(events[i].Causation).GetBy(); by != "" && !slices.Contains(known.domains[by], events[i].Key.Domain) {
				known.domains[by] = append(known.domains[by], events[i].Key.Domain)
			}
		}
	}
	found := map[string][]string{}
	for by, domains := range known.domains {
		found[by] = slices.Sorted(slices.Values(domains))
	}
	return found, nil
}
