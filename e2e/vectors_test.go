package e2e_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/angz-dev/angz/examples/shop/shoppb"
	pb "github.com/angz-dev/angz/proto/angzarrpb"
)

// TestTheVectorsOfTheContractHoldOverTheWire sends the commands of the contract's
// test vectors to every door that takes them. The vector without pages is not
// among them: such a command is refused.
func TestTheVectorsOfTheContractHoldOverTheWire(t *testing.T) {
	t.Parallel()
	project := t.TempDir()
	writeProject(t, project, "domains:\n"+played(t, "customer", "aggregate")+played(t, "inventory", "aggregate"))
	d := startDev(t, project, freePorts(t))
	command, err := anypb.New(&shoppb.CreateCustomer{Name: "Alice", Email: "alice@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	vector := func(auto bool) *pb.CommandBook {
		root := make([]byte, 16)
		for i := range root {
			root[i] = byte(i)
		}
		return &pb.CommandBook{
			Cover: &pb.Cover{Domain: "customer", Root: &pb.UUID{Value: root}}, Pages: []*pb.CommandPage{{Command: command}},
			AutoResequence: auto, Fact: auto,
		}
	}
	coordinator := pb.NewAggregateCoordinatorClient(d.dial(d.ports.aggregate))
	gateway := pb.NewCommandGatewayClient(d.dial(d.ports.gateway))

	const plain, resequenced = "382b20ee-b5ef-5c15-9046-278e030912f8", "78410e43-fcf1-557c-9753-dae97b9a4b9f"
	correlates := func(door, want string, answer *pb.CommandResponse, err error) {
		t.Helper()
		if err != nil || len(answer.Events.GetPages()) != 1 || answer.Events.GetCorrelationId() != want {
			t.Errorf("%s: %v, %v, expected an event of the correlation %s", door, answer, err, want)
		}
	}
	answer, err := coordinator.Handle(t.Context(), vector(false))
	correlates("Handle", plain, answer, err)
	answer, err = coordinator.Handle(t.Context(), vector(true))
	correlates("Handle", resequenced, answer, err)
	answer, err = coordinator.HandleSync(t.Context(), &pb.SyncCommandBook{Command: vector(true), SyncMode: pb.SyncMode_SYNC_MODE_CASCADE})
	correlates("HandleSync", resequenced, answer, err)
	answer, err = gateway.ExecuteSync(t.Context(), &pb.SyncCommandBook{Command: vector(true), SyncMode: pb.SyncMode_SYNC_MODE_SIMPLE})
	correlates("ExecuteSync", resequenced, answer, err)
	stream, err := gateway.Execute(t.Context(), vector(true))
	for count := 0; err == nil; count++ {
		var events *pb.EventBook
		if events, err = stream.Recv(); err == nil && events.CorrelationId != resequenced {
			t.Errorf("Execute: a book of the correlation %q", events.CorrelationId)
		}
		if errors.Is(err, io.EOF) && count == 0 {
			t.Error("Execute: no books")
		}
	}
	if !errors.Is(err, io.EOF) {
		t.Errorf("Execute: %v", err)
	}
	identities(t, d, command)
}

// identities checks how a name becomes a root, and that the name is shown again.
func identities(t *testing.T, d *dev, command *anypb.Any) {
	coordinator := pb.NewAggregateCoordinatorClient(d.dial(d.ports.gateway))
	for _, c := range []struct{ domain, id, root, shown string }{
		{"customer", "alice@example.com", "b1019e12-b184-5695-b4bd-4fdab04e7322", "alice@example.com"},
		{"inventory", "prod-1", "a4575765-6ab1-5553-9525-c4963861c0d9", "prod-1"},
		{"inventory", "78410e43-fcf1-557c-9753-dae97b9a4b9f", "78410e43-fcf1-557c-9753-dae97b9a4b9f", ""}, // is no other name than the root itself
	} {
		answer, err := coordinator.Handle(t.Context(), &pb.CommandBook{
			Cover: &pb.Cover{Domain: c.domain, AggregateId: c.id}, Pages: []*pb.CommandPage{{Command: command}},
		})
		root := uuid.MustParse(c.root)
		if err != nil || !bytes.Equal(answer.Events.GetCover().GetRoot().GetValue(), root[:]) {
			t.Errorf("%s %s: %v, %v, expected the root %s", c.domain, c.id, answer, err, c.root)
			continue
		}
		events, err := pb.NewEventQueryClient(d.dial(d.ports.query)).GetEventBook(t.Context(), &pb.Query{Domain: c.domain, Root: &pb.UUID{Value: root[:]}})
		if got := fmt.Sprintf("%s %d", events.GetCover().GetAggregateId(), len(events.GetPages())); err != nil || got != c.shown+" 1" {
			t.Errorf("%s %s: by its root it is %q, %v", c.domain, c.id, got, err)
		}
	}
}
