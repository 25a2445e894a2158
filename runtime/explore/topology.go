package explore

import (
	"context"
	"slices"

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

// targets returns the domains of the aggregates that sagas have lately changed.
func (s *Server) targets(ctx context.Context) (map[string][]string, error) {
	head := s.options.Store.Head()
	targets := map[string][]string{}
	for position := head - min(head, seen); position < head; {
		events, err := s.options.Store.ReadLog(ctx, position, tailPage)
		if err != nil {
			return nil, err
		}
		if len(events) == 0 {
			break
		}
		for i := range events {
			position = events[i].Position
			if by := cause(events[i].Causation).GetBy(); by != "" && !slices.Contains(targets[by], events[i].Key.Domain) {
				targets[by] = append(targets[by], events[i].Key.Domain)
			}
		}
	}
	for _, domains := range targets {
		slices.Sort(domains)
	}
	return targets, nil
}
