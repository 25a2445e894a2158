package aggregate

import (
	"context"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
)

// Recorder is the business service of domains in which angz itself writes down
// what happened, such as "angzarr.saga-failures": every command is stored as
// the event it carries.
type Recorder struct {
	pb.UnimplementedAggregateServer
}

// Handle answers with the commands as events.
func (Recorder) Handle(_ context.Context, request *pb.ContextualCommand) (*pb.BusinessResponse, error) {
	events := &pb.EventBook{Cover: request.GetCommand().GetCover()}
	for _, page := range request.GetCommand().GetPages() {
		events.Pages = append(events.Pages, &pb.EventPage{Event: page.Command})
	}
	return &pb.BusinessResponse{Result: &pb.BusinessResponse_Events{Events: events}}, nil
}
