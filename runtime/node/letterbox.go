package node

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/bus/amqp"
	"github.com/angz-dev/angz/runtime/saga"
)

// deadLetterQueue is the queue for dead letters of compensation at a broker that
// saga_compensation.dead_letter_queue_url names.
const deadLetterQueue = "angzarr.saga-dead-letters"

// letterbox puts dead letters into a queue of a broker, in their protobuf encoding.
func (n *Node) letterbox(url string) saga.Tell {
	box := amqp.Letterbox{URL: url, Queue: deadLetterQueue, ConnectionName: "angz " + n.options.Role + " (dead letters)"}
	return func(ctx context.Context, failed *pb.SagaCompensationFailed) error {
		body, err := proto.Marshal(failed)
		if err != nil {
			return fmt.Errorf("write the failed compensation: %w", err)
		}
		return box.Put(ctx, amqp.Letter{
			ID: saga.ID(failed), CorrelationID: failed.GetRejectedCommand().GetCorrelationId(), Type: string(failed.ProtoReflect().Descriptor().FullName()), Body: body,
		})
	}
}
