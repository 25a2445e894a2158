package gateway_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/gateway"
)

// sender is one of the ways to send a command through a gateway. It returns the
// status with which the call ended.
type sender func(t *testing.T, conn grpc.ClientConnInterface, command *pb.CommandBook) *status.Status

var senders = map[string]sender{
	"Handle": func(t *testing.T, conn grpc.ClientConnInterface, command *pb.CommandBook) *status.Status {
		_, err := pb.NewAggregateCoordinatorClient(conn).Handle(t.Context(), command)
		return status.Convert(err)
	},
	"HandleSync": func(t *testing.T, conn grpc.ClientConnInterface, command *pb.CommandBook) *status.Status {
		_, err := pb.NewAggregateCoordinatorClient(conn).HandleSync(t.Context(), &pb.SyncCommandBook{Command: command})
		return status.Convert(err)
	},
	"ExecuteSync": func(t *testing.T, conn grpc.ClientConnInterface, command *pb.CommandBook) *status.Status {
		_, err := pb.NewCommandGatewayClient(conn).ExecuteSync(t.Context(), &pb.SyncCommandBook{Command: command})
		return status.Convert(err)
	},
	"Execute": func(t *testing.T, conn grpc.ClientConnInterface, command *pb.CommandBook) *status.Status {
		_, ended := drain(execute(t, t.Context(), conn, command))
		return ended
	},
}

// forEachSender runs a test for each way to send a command.
func forEachSender(t *testing.T, test func(t *testing.T, send sender)) {
	t.Helper()
	for name, send := range senders {
		t.Run(name, func(t *testing.T) { inBubble(t, func(t *testing.T) { test(t, send) }) })
	}
}

// recording makes a system keep the commands that it is given.
func recording() (*system, *[]*pb.CommandBook) {
	s, got := newSystem(), new([]*pb.CommandBook)
	s.handle = func(_ context.Context, command *pb.CommandBook) (*pb.CommandResponse, error) {
		*got = append(*got, command)
		return &pb.CommandResponse{}, nil
	}
	s.settle = func(_ context.Context, request *pb.SyncCommandBook) (*pb.CommandResponse, error) {
		*got = append(*got, request.Command)
		return &pb.CommandResponse{}, nil
	}
	return s, got
}

func TestMissingCorrelationIsDerivedFromTheCommand(t *testing.T) {
	forEachSender(t, func(t *testing.T, send sender) {
		s, got := recording()
		conn := s.serve(t)
		front := door(t, gateway.Options{Routes: gateway.Routes{"*": conn}, Stream: pb.NewEventStreamClient(conn)})
		root := []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
		given := &pb.CommandBook{
			Cover: &pb.Cover{Domain: "customer", Root: &pb.UUID{Value: root}},
			Pages: []*pb.CommandPage{{Command: &anypb.Any{
				TypeUrl: "type.googleapis.com/examples.CreateCustomer", Value: []byte("\n\x05Alice\x12\x11alice@example.com"),
			}}},
		}
		sameStatus(t, status.New(codes.OK, ""), send(t, front, given))
		if len(*got) != 1 || (*got)[0].CorrelationId != "382b20ee-b5ef-5c15-9046-278e030912f8" {
			t.Errorf("the coordinator got %v", *got)
		}
	})
}

// conn counts on the rule that nobody changes a message that was handed over.
type conn struct {
	grpc.ClientConnInterface
	invoked []any
}

func (c *conn) Invoke(_ context.Context, _ string, request, _ any, _ ...grpc.CallOption) error {
	c.invoked = append(c.invoked, request)
	return nil
}

func TestCallersMessageIsNotChangedAndOnlyCopiedIfItMustBe(t *testing.T) {
	t.Parallel()
	to := &conn{}
	g := gateway.New(gateway.Options{Routes: gateway.Routes{"order": to}})

	whole := command("c")
	if _, err := g.Handle(t.Context(), whole); err != nil || to.invoked[0] != whole {
		t.Errorf("a whole command was not sent as it is: %v, %v", to.invoked, err)
	}
	bare := command("")
	bare.Fact, bare.AutoResequence, bare.IdempotencyKey = true, true, "key"
	bare.SagaOrigin = &pb.SagaCommandOrigin{SagaName: "reserve"}
	bare.ProtoReflect().SetUnknown([]byte{0xa2, 0x06, 0x01, 'x'}) // field 100
	before := proto.CloneOf(bare)
	if _, err := g.Handle(t.Context(), bare); err != nil {
		t.Fatal(err)
	}
	same(t, "the caller's message", before, bare)
	sent := to.invoked[1].(*pb.CommandBook)
	before.CorrelationId = sent.CorrelationId
	same(t, "the message sent", before, sent)

	fields := sent.ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		if !sent.ProtoReflect().Has(fields.Get(i)) {
			t.Errorf("the copy lacks the field %s", fields.Get(i).Name())
		}
	}
}

func TestCommandsGoToTheCoordinatorOfTheirDomain(t *testing.T) {
	forEachSender(t, func(t *testing.T, send sender) {
		orders, ordered := recording()
		others, other := recording()
		watched := orders.serve(t)
		front := door(t, gateway.Options{
			Routes: gateway.Routes{"order": watched, "*": others.serve(t)},
			Stream: pb.NewEventStreamClient(watched),
		})
		first, second := command("first"), command("second")
		second.Cover.Domain = "warehouse"
		sameStatus(t, status.New(codes.OK, ""), send(t, front, first))
		sameStatus(t, status.New(codes.OK, ""), send(t, front, second))
		if len(*ordered) != 1 || (*ordered)[0].CorrelationId != "first" || len(*other) != 1 || (*other)[0].CorrelationId != "second" {
			t.Errorf("order's coordinator got %v, the other one %v", *ordered, *other)
		}
	})
}

func TestUnknownDomainIsNotFound(t *testing.T) {
	forEachSender(t, func(t *testing.T, send sender) {
		unknown := command("c")
		unknown.Cover.Domain = "shipping"
		got := send(t, open(t, newSystem()), unknown)
		sameStatus(t, status.New(codes.NotFound, "No service registered for domain: shipping (known: inventory, order)"), got)

		nothing := door(t, gateway.Options{Routes: gateway.Routes{}})
		got = send(t, nothing, unknown)
		sameStatus(t, status.New(codes.NotFound, "No service registered for domain: shipping (known: none)"), got)
	})
}

func TestWrongCommandIsInvalid(t *testing.T) {
	forEachSender(t, func(t *testing.T, send sender) {
		front := open(t, newSystem())
		for name, change := range map[string]func(*pb.CommandBook){
			"no cover":   func(c *pb.CommandBook) { c.Cover = nil },
			"no domain":  func(c *pb.CommandBook) { c.Cover.Domain = "" },
			"no root":    func(c *pb.CommandBook) { c.Cover.Root = nil },
			"short root": func(c *pb.CommandBook) { c.Cover.Root.Value = []byte{1} },
			"no pages":   func(c *pb.CommandBook) { c.Pages = nil },
		} {
			wrong := command("c")
			change(wrong)
			if got := send(t, front, wrong); got.Code() != codes.InvalidArgument {
				t.Errorf("%s: %v", name, got)
			}
		}
	})
}

func TestSyncWithoutCommandIsInvalid(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		_, err := pb.NewCommandGatewayClient(open(t, newSystem())).ExecuteSync(t.Context(), &pb.SyncCommandBook{})
		if status.Code(err) != codes.InvalidArgument {
			t.Errorf("got %v", err)
		}
	})
}

func TestCoordinatorsStatusPassesWithItsDetails(t *testing.T) {
	forEachSender(t, func(t *testing.T, send sender) {
		want, err := status.New(codes.FailedPrecondition, "Command revoked: out of stock").
			WithDetails(&pb.RevocationResponse{Reason: "out of stock"}, &errdetails.ErrorInfo{Reason: "REVOKED"})
		if err != nil {
			t.Fatal(err)
		}
		s := newSystem()
		s.handle = func(context.Context, *pb.CommandBook) (*pb.CommandResponse, error) { return nil, want.Err() }
		s.settle = func(context.Context, *pb.SyncCommandBook) (*pb.CommandResponse, error) { return nil, want.Err() }
		sameStatus(t, want, send(t, open(t, s), command("c")))
	})
}

func TestSyncModeAndAnswerPassThrough(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newSystem()
		want := &pb.CommandResponse{Events: events("order", "c", 0, 1), Projections: []*pb.Projection{{Projector: "receipt"}}}
		s.settle = func(_ context.Context, request *pb.SyncCommandBook) (*pb.CommandResponse, error) {
			if request.SyncMode != pb.SyncMode_SYNC_MODE_SIMPLE {
				t.Errorf("the mode became %s", request.SyncMode)
			}
			return want, nil
		}
		request := &pb.SyncCommandBook{Command: command(""), SyncMode: pb.SyncMode_SYNC_MODE_SIMPLE}
		got, err := pb.NewCommandGatewayClient(open(t, s)).ExecuteSync(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "the answer", want, got)
	})
}

func TestForwardedCallKeepsItsCallersDeadline(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newSystem()
		s.handle = func(ctx context.Context, _ *pb.CommandBook) (*pb.CommandResponse, error) {
			if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) != 7*time.Second {
				t.Errorf("the coordinator was given until %v, %t", deadline, ok)
			}
			return &pb.CommandResponse{}, nil
		}
		ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
		defer cancel()
		if _, err := pb.NewAggregateCoordinatorClient(open(t, s)).Handle(ctx, command("c")); err != nil {
			t.Fatal(err)
		}
	})
}

func TestForwardedCallWithoutADeadlineIsGivenUpInTheEnd(t *testing.T) {
	forEachSender(t, func(t *testing.T, send sender) {
		s := newSystem()
		began := time.Now()
		s.handle = func(ctx context.Context, _ *pb.CommandBook) (*pb.CommandResponse, error) {
			if _, ok := ctx.Deadline(); ok {
				t.Error("the coordinator was given a deadline instead of taking its own")
			}
			<-ctx.Done()
			if took := time.Since(began); took != 90*time.Second {
				t.Errorf("the call was given up after %s", took)
			}
			return nil, ctx.Err()
		}
		s.settle = func(ctx context.Context, request *pb.SyncCommandBook) (*pb.CommandResponse, error) {
			return s.handle(ctx, request.Command)
		}
		sameStatus(t, status.New(codes.DeadlineExceeded,
			"domain order gave no answer within 1m30s; whether the call took effect is unknown"), send(t, open(t, s), command("c")))
	})
}

// A connection that broke under a command says nothing about it: it is sent once
// more if that cannot do harm.
func TestACommandUnderWhichTheConnectionBrokeIsSentOnceMore(t *testing.T) {
	for name, c := range map[string]struct {
		key    string
		breaks int
		calls  int
		want   codes.Code
	}{
		"repeatable":               {"once", 1, 2, codes.OK},
		"repeatable, broken twice": {"once", 2, 2, codes.Unavailable},
		"not repeatable":           {"", 1, 1, codes.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			broken, err := status.New(codes.Unavailable, "the connection broke").
				WithDetails(&errdetails.ErrorInfo{Reason: "CONNECTION_BROKEN", Domain: "angzarr"})
			if err != nil {
				t.Fatal(err)
			}
			inBubble(t, func(t *testing.T) {
				s, calls := newSystem(), 0
				s.handle = func(context.Context, *pb.CommandBook) (*pb.CommandResponse, error) {
					if calls++; calls <= c.breaks {
						return nil, broken.Err()
					}
					return &pb.CommandResponse{}, nil
				}
				sent := command("c")
				sent.IdempotencyKey = c.key
				_, err := pb.NewAggregateCoordinatorClient(open(t, s)).Handle(t.Context(), sent)
				if status.Code(err) != c.want || calls != c.calls {
					t.Errorf("got %v after %d calls, want %s after %d", err, calls, c.want, c.calls)
				}
			})
		})
	}
}
