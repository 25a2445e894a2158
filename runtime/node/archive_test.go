package node_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/angz-dev/angz/inspect/dump"
	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/node"
	"github.com/angz-dev/angz/runtime/runtimetest"
)

// shop is a node with everything that reacts to events: orders make a saga
// reserve from the stock, which refuses until it has been filled; then the order
// is told.
type shop struct {
	*node.Node
	saga *runtimetest.Service

	mu   sync.Mutex
	seen map[string]bool // by the projector
}

func openShop(t *testing.T, set map[string]string) *shop {
	t.Helper()
	s := &shop{seen: map[string]bool{}}
	orders := runtimetest.Aggregate(t, runtimetest.LeavesNumbersOut)
	stock := runtimetest.Aggregate(t, func(ctx context.Context, request *pb.ContextualCommand) (*pb.BusinessResponse, error) {
		filled := strings.HasSuffix(request.Command.Pages[0].Command.TypeUrl, "Fill")
		for _, page := range request.Events.GetPages() {
			filled = filled || strings.HasSuffix(page.Event.TypeUrl, "FillDone")
		}
		if !filled {
			return nil, status.Error(codes.FailedPrecondition, "there is nothing left")
		}
		return runtimetest.LeavesNumbersOut(ctx, request)
	})
	s.saga = runtimetest.Saga(t, func(_ context.Context, events *pb.EventBook) (*pb.SagaResponse, error) {
		response := &pb.SagaResponse{}
		for _, page := range events.Pages {
			if strings.HasSuffix(page.Event.TypeUrl, "PlaceDone") {
				response.Commands = append(response.Commands, runtimetest.AnyNumber(runtimetest.Command("stock", "p1", 0, "Reserve")))
			}
		}
		return response, nil
	})
	projector := runtimetest.Projector(t, func(_ context.Context, events *pb.EventBook) (*pb.Projection, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, page := range events.Pages {
			s.seen[fmt.Sprint(events.Cover.Domain, events.Cover.Root.Value, page.GetNum())] = true
		}
		return nil, nil
	})
	s.Node = start(t, set, func(c *config.Config) {
		c.Domains = []config.Service{{Name: "orders", Address: orders.Address()}, {Name: "stock", Address: stock.Address()}}
		c.Sagas = []config.Service{{Name: "reserve", Address: s.saga.Address(), Domains: []string{"orders"}}}
		c.Projectors = []config.Service{{Name: "receipt", Address: projector.Address()}}
	})
	return s
}

func (s *shop) send(t *testing.T, command *pb.CommandBook, mode pb.SyncMode) {
	t.Helper()
	if _, err := pb.NewCommandGatewayClient(s.Gateway()).ExecuteSync(t.Context(), &pb.SyncCommandBook{Command: command, SyncMode: mode}); err != nil {
		t.Fatal(err)
	}
}

// trade lets the saga be refused at first and be accepted later.
func (s *shop) trade(t *testing.T) {
	t.Helper()
	for i := range 40 {
		if i == 5 {
			s.send(t, runtimetest.Command("stock", "p1", 0, "Fill"), pb.SyncMode_SYNC_MODE_NONE)
		}
		s.send(t, runtimetest.Command("orders", fmt.Sprint("o", i), 0, "Place"), pb.SyncMode_SYNC_MODE_CASCADE)
	}
	s.settle(t)
}

// settle waits until everybody has handled everything.
func (s *shop) settle(t *testing.T) {
	t.Helper()
	s.settleOne(t, "projector/receipt")
	s.settleOne(t, "saga/reserve")
	s.settleOne(t, "projector/receipt") // which sees what the saga led to
}

func (s *shop) settleOne(t *testing.T, name string) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for {
		settled := false
		positions, err := s.Store().Positions(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, position := range positions {
			settled = settled || position.Name == name && position.Position >= s.Store().Head()
		}
		if settled {
			return
		}
		select {
		case <-look.C:
		case <-deadline:
			t.Fatalf("did not settle: %+v, the log ends at %d", positions, s.Store().Head())
		}
	}
}

func exported(t *testing.T, conn grpc.ClientConnInterface, request dump.ExportRequest) []byte {
	t.Helper()
	var out bytes.Buffer
	if _, err := dump.Export(t.Context(), conn, nil, request, &out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func imported(t *testing.T, conn grpc.ClientConnInterface, text []byte, history bool) dump.Imported {
	t.Helper()
	made, err := dump.Import(t.Context(), conn, dump.ImportRequest{
		Name: "test", History: history, From: bytes.NewReader(text),
	})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestAnImportIsSeenByProjectorsAndRepeatsNoSaga(t *testing.T) {
	t.Parallel()
	from := openShop(t, nil)
	from.trade(t)
	first := exported(t, from.Gateway(), dump.ExportRequest{})
	if refused := bytes.Count(first, []byte(`"refused":[{"saga":"reserve"`)); refused != 5 {
		t.Errorf("%d books tell of refused commands, want 5\n%s", refused, first)
	}
	for range 3 { // who is faster differs
		to := openShop(t, nil)
		if made := imported(t, to.Gateway(), first, false); made.Events != from.Store().Head() {
			t.Fatalf("imported %+v of %d events", made, from.Store().Head())
		}
		to.settle(t)
		if len(to.saga.Calls()) == 0 {
			t.Error("the saga has seen nothing")
		}
		if again := exported(t, to.Gateway(), dump.ExportRequest{}); !bytes.Equal(first, again) {
			t.Fatalf("the events are others:\n%s\nbefore:\n%s", again, first)
		}
		to.mu.Lock()
		if uint64(len(to.seen)) != to.Store().Head() {
			t.Errorf("the projector has seen %d of %d events", len(to.seen), to.Store().Head())
		}
		to.mu.Unlock()
		// What comes now goes on from there.
		to.send(t, runtimetest.Command("orders", "o39", 1, "Place"), pb.SyncMode_SYNC_MODE_CASCADE)
		if head := to.Store().Head(); head != from.Store().Head()+2 {
			t.Errorf("the log ends at %d, want %d", head, from.Store().Head()+2)
		}
	}
}

func TestSagasDoNotActOnHistory(t *testing.T) {
	t.Parallel()
	from := openShop(t, nil)
	from.trade(t)
	// Without the stock, whose events are the saga's effects.
	orders := exported(t, from.Gateway(), dump.ExportRequest{Domains: []string{"orders"}})
	set := map[string]string{"storage.type": "sqlite", "storage.sqlite.path": t.TempDir() + "/dev.db"}
	loaded, err := config.Load(config.Options{Dir: t.TempDir(), Set: set, Dev: true})
	if err != nil {
		t.Fatal(err)
	}
	loaded.Sagas = []config.Service{{Name: "reserve", Domains: []string{"orders"}}}
	if _, err := node.OpenArchive(t.Context(), loaded, false, nil); err == nil {
		t.Error("opened a store that is not there")
	}
	closed, err := node.OpenArchive(t.Context(), loaded, true, nil)
	if err != nil {
		t.Fatal(err)
	}
	made := imported(t, closed.Conn(), orders, true)
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	to := openShop(t, set)
	to.settle(t)
	if calls := to.saga.Calls(); len(calls) > 0 || to.Store().Head() != made.Events {
		t.Errorf("the saga was called %d times, the log ends at %d, want %d", len(calls), to.Store().Head(), made.Events)
	}
}

func TestCommandsAfterAnImportSeeIt(t *testing.T) {
	t.Parallel()
	from, to := openShop(t, nil), openShop(t, nil)
	from.send(t, runtimetest.Command("orders", "o1", 0, "Place"), pb.SyncMode_SYNC_MODE_NONE)
	from.settle(t)
	text := exported(t, from.Gateway(), dump.ExportRequest{})
	// This makes the aggregate's emptiness known to the node.
	client := pb.NewCommandGatewayClient(to.Gateway())
	stale := &pb.SyncCommandBook{Command: runtimetest.Command("orders", "o1", 7, "Place")}
	if _, err := client.ExecuteSync(t.Context(), stale); status.Code(err) != codes.FailedPrecondition {
		t.Fatalf("got %v, want FAILED_PRECONDITION", err)
	}
	imported(t, to.Gateway(), text, false)
	stale.Command.Pages[0].Sequence = 9
	_, err := client.ExecuteSync(t.Context(), stale)
	want := fmt.Sprintf("command expects 9, aggregate at %d", 2) // placed, and told that there was nothing
	if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestSagasWaitUntilAllIsImported(t *testing.T) {
	t.Parallel()
	from, to := openShop(t, nil), openShop(t, nil)
	from.trade(t)
	first := exported(t, from.Gateway(), dump.ExportRequest{})
	reader := dump.NewReader(bytes.NewReader(first), "test", nil)
	all, problems, err := reader.Next()
	if err != nil || len(problems) > 0 {
		t.Fatal(err, problems)
	}
	stream, err := pb.NewArchiveClient(to.Gateway()).Import(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	batches := []*pb.ArchiveBatch{{Books: all.Books[:20]}, {Books: all.Books[20:]}}
	_ = stream.Send(&pb.ImportRequest{Message: &pb.ImportRequest_Options{Options: &pb.ImportOptions{}}})
	for _, batch := range batches {
		_ = stream.Send(&pb.ImportRequest{Message: &pb.ImportRequest_Batch{Batch: batch}})
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
		to.settleOne(t, "projector/receipt") // the saga has had time, too
		if calls := to.saga.Calls(); len(calls) > 0 {
			t.Errorf("the saga was called with half of what is imported: %v", calls[0])
		}
	}
	_ = stream.CloseSend()
	if _, err := stream.Recv(); err != io.EOF {
		t.Fatal(err)
	}
	to.settle(t)
	if again := exported(t, to.Gateway(), dump.ExportRequest{}); !bytes.Equal(first, again) {
		t.Errorf("the events are others:\n%s\nbefore:\n%s", again, first)
	}
}
