package gateway_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/gateway"
)

// inBubble runs a test on a clock of its own, over a connection and over
// memory. A goroutine that outlives its call fails it.
func inBubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	for _, over := range []string{"connection", "memory"} {
		t.Run(over, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, test)
		})
	}
}

// answer makes a coordinator store these events as a command's own.
func (s *system) answer(own *pb.EventBook) {
	s.handle = func(context.Context, *pb.CommandBook) (*pb.CommandResponse, error) {
		return &pb.CommandResponse{Events: s.append(own)}, nil
	}
}

var errUnavailable = status.Error(codes.Unavailable, "the saga is away")

func TestExecuteStreamsOwnEventsThenEffectsOnceAndEndsWhenSettled(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newSystem()
		own, effect := events("order", "c", 0, 1), events("inventory", "c", 0, 0)
		s.handle = func(context.Context, *pb.CommandBook) (*pb.CommandResponse, error) {
			s.append(own)
			s.show(own) // overtakes the answer
			return &pb.CommandResponse{Events: own}, nil
		}
		s.settle = func(context.Context, *pb.SyncCommandBook) (*pb.CommandResponse, error) {
			s.append(effect)
			s.show(effect)
			s.show(effect)
			s.show(own)
			return &pb.CommandResponse{}, nil
		}
		stream := execute(t, t.Context(), open(t, s), command("c"))
		expectStream(t, stream, codes.OK, 0, own, effect)
	})
}

func TestExecuteStreamIsExecute(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newSystem()
		own := events("order", "c", 0, 0)
		s.answer(own)
		stream, err := pb.NewCommandGatewayClient(open(t, s)).ExecuteStream(t.Context(), command("c"))
		if err != nil {
			t.Fatal(err)
		}
		expectStream(t, stream, codes.OK, 0, own)
	})
}

func TestExecuteSendsWhatTheEventStreamLost(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newSystem()
		own, lost := events("order", "c", 0, 0), events("inventory", "c", 4, 6)
		s.answer(own)
		s.settle = func(context.Context, *pb.SyncCommandBook) (*pb.CommandResponse, error) {
			s.append(events("inventory", "other", 3, 3))
			s.append(lost)
			return &pb.CommandResponse{}, nil
		}
		stream := execute(t, t.Context(), open(t, s), command("c"))
		expectStream(t, stream, codes.OK, 0, own, lost)
	})
}

func TestExecuteDoesNotReplayWhatItsCorrelationCausedBefore(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newSystem()
		s.append(events("order", "c", 0, 2))
		own := events("order", "c", 3, 3)
		s.answer(own)
		stream := execute(t, t.Context(), open(t, s), command("c"))
		expectStream(t, stream, codes.OK, 0, own)
	})
}

func TestExecuteOfARepeatedCommandShowsAllThatItCaused(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newSystem()
		s.append(events("order", "c", 0, 0))
		own := s.append(events("order", "c", 1, 1))
		effect := s.append(events("inventory", "c", 0, 0))
		s.handle = func(context.Context, *pb.CommandBook) (*pb.CommandResponse, error) {
			return &pb.CommandResponse{Events: own}, nil
		}
		stream := execute(t, t.Context(), open(t, s), command("c"))
		expectStream(t, stream, codes.OK, 0, own, effect)
	})
}

func TestExecuteEndsAfterSilenceWhenSettlingIsUnknown(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newSystem()
		own, effect := events("order", "c", 0, 0), events("inventory", "c", 0, 0)
		s.answer(own)
		s.settle = func(context.Context, *pb.SyncCommandBook) (*pb.CommandResponse, error) { return nil, errUnavailable }
		stream := execute(t, t.Context(), open(t, s), command("c"))
		synctest.Wait()
		time.AfterFunc(20*time.Second, func() { s.show(effect) })
		time.AfterFunc(25*time.Second, func() { s.show(effect) }) // a book that came before breaks no silence
		expectStream(t, stream, codes.OK, 50*time.Second, own, effect)
	})
}

func TestExecuteGoesOnLiveWhenTheLogCannotBeAsked(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newSystem()
		conn := s.serve(t)
		nowhere := serve(t, func(grpc.ServiceRegistrar) {})
		own, effect := events("order", "c", 0, 0), events("inventory", "c", 0, 0)
		s.answer(own)
		stream := execute(t, t.Context(), door(t, gateway.Options{
			Routes: gateway.Routes{"order": conn},
			Stream: pb.NewEventStreamClient(conn),
			Query:  pb.NewEventQueryClient(nowhere),
		}), command("c"))
		synctest.Wait()
		s.show(effect)
		expectStream(t, stream, codes.OK, 30*time.Second, own, effect)
	})
}

func TestExecuteOfARejectedCommandEndsWithItsStatus(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newSystem()
		rejected, err := status.New(codes.FailedPrecondition, "Sequence mismatch: command expects 3, aggregate at 5").
			WithDetails(&errdetails.ErrorInfo{Reason: "SEQUENCE_MISMATCH", Domain: "angzarr"})
		if err != nil {
			t.Fatal(err)
		}
		s.handle = func(context.Context, *pb.CommandBook) (*pb.CommandResponse, error) { return nil, rejected.Err() }
		got, ended := drain(execute(t, t.Context(), open(t, s), command("c")))
		sameStatus(t, rejected, ended)
		synctest.Wait()
		if len(got) != 0 || s.watched() != 0 {
			t.Errorf("%d books came, %d subscriptions are left", len(got), s.watched())
		}
	})
}

func TestExecuteOfACommandWithoutEventsSettlesAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newSystem()
		s.handle = func(context.Context, *pb.CommandBook) (*pb.CommandResponse, error) { return &pb.CommandResponse{}, nil }
		s.settle = func(context.Context, *pb.SyncCommandBook) (*pb.CommandResponse, error) {
			t.Error("a command without events was waited for")
			return nil, errUnavailable
		}
		expectStream(t, execute(t, t.Context(), open(t, s), command("c")), codes.OK, 0)
	})
}

func TestExecuteWaitsForTheSubscriptionBeforeItSendsTheCommand(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newSystem()
		accept, handled := make(chan struct{}), false
		s.subscribe = func(_ *pb.EventStreamFilter, stream grpc.ServerStreamingServer[pb.EventBook]) error {
			<-accept
			if err := stream.SendHeader(metadata.Pairs("subscribed", "true")); err != nil {
				return err
			}
			<-stream.Context().Done()
			return stream.Context().Err()
		}
		own := events("order", "c", 0, 0)
		s.handle = func(context.Context, *pb.CommandBook) (*pb.CommandResponse, error) {
			handled = true
			return &pb.CommandResponse{Events: s.append(own)}, nil
		}
		stream := execute(t, t.Context(), open(t, s), command("c"))
		synctest.Wait()
		if handled {
			t.Error("the command was sent before the subscription was accepted")
		}
		close(accept)
		expectStream(t, stream, codes.OK, 0, own)
	})
}

func TestExecuteSaysSoWhenNothingCanBeWatched(t *testing.T) {
	for name, c := range map[string]struct {
		subscribe func(*pb.EventStreamFilter, grpc.ServerStreamingServer[pb.EventBook]) error
		message   string
		after     time.Duration
	}{
		"the event stream is away": {
			subscribe: func(*pb.EventStreamFilter, grpc.ServerStreamingServer[pb.EventBook]) error {
				return status.Error(codes.Unavailable, "the event stream at localhost:50051 is not reachable")
			},
			message: "the command was not sent, because the event stream does not show what it causes: the event stream at localhost:50051 is not reachable",
		},
		"the event stream does not answer": {
			subscribe: func(_ *pb.EventStreamFilter, stream grpc.ServerStreamingServer[pb.EventBook]) error {
				<-stream.Context().Done()
				return stream.Context().Err()
			},
			message: "the command was not sent, because the event stream does not show what it causes: no answer within 10s",
			after:   10 * time.Second,
		},
		"the event stream ends at once": {
			subscribe: func(*pb.EventStreamFilter, grpc.ServerStreamingServer[pb.EventBook]) error { return nil },
			message:   "the command was not sent, because the event stream does not show what it causes: the event stream ended without saying why",
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s := newSystem()
				s.subscribe = c.subscribe
				s.handle = func(context.Context, *pb.CommandBook) (*pb.CommandResponse, error) {
					t.Error("the command was sent")
					return nil, errUnavailable
				}
				began := time.Now()
				_, ended := drain(execute(t, t.Context(), open(t, s), command("c")))
				sameStatus(t, status.New(codes.Unavailable, c.message), ended)
				if took := time.Since(began); took != c.after {
					t.Errorf("it took %s, expected %s", took, c.after)
				}
			})
		})
	}
}

func TestExecuteWithoutAnEventStreamNamesTheSetting(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		conn := newSystem().serve(t)
		_, ended := drain(execute(t, t.Context(), door(t, gateway.Options{Routes: gateway.Routes{"*": conn}}), command("c")))
		if ended.Code() != codes.Unavailable || !strings.Contains(ended.Message(), "STREAM_ADDRESS") {
			t.Errorf("got %v", ended)
		}
	})
}

// dropping accepts a subscription, passes on so many books and drops it.
func dropping(s *system, after int) func(*pb.EventStreamFilter, grpc.ServerStreamingServer[pb.EventBook]) error {
	return func(filter *pb.EventStreamFilter, stream grpc.ServerStreamingServer[pb.EventBook]) error {
		books := make(chan *pb.EventBook, 1024)
		s.mu.Lock()
		s.watchers[books] = filter.CorrelationId
		s.mu.Unlock()
		if err := stream.SendHeader(metadata.Pairs("subscribed", "true")); err != nil {
			return err
		}
		for range after {
			if err := stream.Send(<-books); err != nil {
				return err
			}
		}
		return status.Error(codes.ResourceExhausted, "dropped from the events")
	}
}

func TestExecuteReadsTheRestFromTheLogWhenTheEventStreamDropsIt(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newSystem()
		own, first, second := events("order", "c", 0, 0), events("inventory", "c", 0, 0), events("inventory", "c", 1, 1)
		s.answer(own)
		s.subscribe = dropping(s, 1)
		s.settle = func(ctx context.Context, _ *pb.SyncCommandBook) (*pb.CommandResponse, error) {
			s.append(first)
			s.show(first)
			s.append(second)
			synctest.Wait() // the drop has arrived
			return &pb.CommandResponse{}, nil
		}
		expectStream(t, execute(t, t.Context(), open(t, s), command("c")), codes.OK, 0, own, first, second)
	})
}

func TestExecutePassesOnThatItWasDroppedWhenSettlingIsUnknown(t *testing.T) {
	for name, wait := range map[string]time.Duration{"known late": 5 * time.Second, "known early": 0} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s := newSystem()
				own, first := events("order", "c", 0, 0), events("inventory", "c", 0, 0)
				s.answer(own)
				s.subscribe = dropping(s, 1)
				s.settle = func(ctx context.Context, _ *pb.SyncCommandBook) (*pb.CommandResponse, error) {
					time.AfterFunc(time.Second, func() { s.show(first) })
					<-time.After(wait)
					return nil, errUnavailable
				}
				stream := execute(t, t.Context(), open(t, s), command("c"))
				expectStream(t, stream, codes.ResourceExhausted, max(wait, time.Second), own, first)
			})
		})
	}
}

func TestExecuteServesAClientThatReadsSlowly(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newSystem()
		own := events("order", "c", 0, 0)
		s.answer(own)
		const last = 300
		s.settle = func(context.Context, *pb.SyncCommandBook) (*pb.CommandResponse, error) {
			for num := uint32(0); num <= last; num++ {
				effect := events("inventory", "c", num, num)
				effect.Pages[0].Event.Value = make([]byte, 8<<10)
				s.append(effect)
				s.show(effect)
			}
			return &pb.CommandResponse{}, nil
		}
		stream := execute(t, t.Context(), open(t, s), command("c"))
		<-time.After(10 * time.Minute) // reads nothing meanwhile
		got, ended := drain(stream)
		if ended.Code() != codes.OK || len(got) != last+2 {
			t.Fatalf("%d books and %v, expected %d", len(got), ended, last+2)
		}
		for i, events := range got[1:] {
			if events.Pages[0].GetNum() != uint32(i) {
				t.Fatalf("book %d has number %d", i, events.Pages[0].GetNum())
			}
		}
	})
}

func TestClientThatLeavesIsNotWorkedForAnyMore(t *testing.T) {
	until := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	for name, set := range map[string]func(s *system){
		"while its command is decided": func(s *system) {
			s.handle = func(ctx context.Context, _ *pb.CommandBook) (*pb.CommandResponse, error) { return nil, until(ctx) }
		},
		"while its workflow goes on": func(s *system) {
			s.answer(events("order", "c", 0, 0))
			s.settle = func(ctx context.Context, _ *pb.SyncCommandBook) (*pb.CommandResponse, error) { return nil, until(ctx) }
		},
		"while it is waited for silence": func(s *system) {
			s.answer(events("order", "c", 0, 0))
			s.settle = func(context.Context, *pb.SyncCommandBook) (*pb.CommandResponse, error) { return nil, errUnavailable }
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s := newSystem()
				set(s)
				ctx, leave := context.WithCancel(t.Context())
				execute(t, ctx, open(t, s), command("c"))
				synctest.Wait()
				if s.watched() != 1 {
					t.Fatalf("%d subscriptions, expected 1", s.watched())
				}
				left := time.Now()
				leave()
				synctest.Wait()
				if took := time.Since(left); s.watched() != 0 || took > 0 {
					t.Errorf("%d subscriptions are left after %s", s.watched(), took)
				}
			})
		})
	}
}

func TestTwoClientsSeeOnlyTheirOwn(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newSystem()
		proceed := make(chan struct{})
		s.handle = func(_ context.Context, command *pb.CommandBook) (*pb.CommandResponse, error) {
			return &pb.CommandResponse{Events: s.append(events("order", command.CorrelationId, 0, 0))}, nil
		}
		s.settle = func(_ context.Context, request *pb.SyncCommandBook) (*pb.CommandResponse, error) {
			<-proceed
			s.show(s.append(events("inventory", request.Command.CorrelationId, 0, 0)))
			return &pb.CommandResponse{}, nil
		}
		conn := open(t, s)
		alice, bob := execute(t, t.Context(), conn, command("alice")), execute(t, t.Context(), conn, command("bob"))
		synctest.Wait()
		close(proceed)
		for who, stream := range map[string]grpc.ServerStreamingClient[pb.EventBook]{"alice": alice, "bob": bob} {
			got, ended := drain(stream)
			if len(got) != 2 || got[0].CorrelationId != who || got[1].CorrelationId != who || ended.Code() != codes.OK {
				t.Errorf("%s got %v and %v", who, got, ended)
			}
		}
	})
}

func TestExecuteMakesTheCommandRepeatable(t *testing.T) {
	origin := &pb.SagaCommandOrigin{SagaName: "reserve", TriggeringAggregate: command("").Cover}
	for name, c := range map[string]struct {
		change func(*pb.CommandBook)
		check  func(key string) bool
	}{
		"with a key of its own":       {func(*pb.CommandBook) {}, func(key string) bool { return len(key) == 36 }},
		"with the client's key":       {func(c *pb.CommandBook) { c.IdempotencyKey = "mine" }, func(key string) bool { return key == "mine" }},
		"by the saga it is caused by": {func(c *pb.CommandBook) { c.SagaOrigin = origin }, func(key string) bool { return key == "" }},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s := newSystem()
				var first, second *pb.CommandBook
				s.handle = func(_ context.Context, command *pb.CommandBook) (*pb.CommandResponse, error) {
					first = command
					return &pb.CommandResponse{Events: s.append(events("order", "c", 0, 0))}, nil
				}
				s.settle = func(_ context.Context, request *pb.SyncCommandBook) (*pb.CommandResponse, error) {
					second = request.Command
					if request.SyncMode != pb.SyncMode_SYNC_MODE_CASCADE {
						t.Errorf("settled in mode %s", request.SyncMode)
					}
					return &pb.CommandResponse{}, nil
				}
				given := command("c")
				c.change(given)
				if _, ended := drain(execute(t, t.Context(), open(t, s), given)); ended.Code() != codes.OK {
					t.Fatal(ended)
				}
				if !c.check(first.IdempotencyKey) {
					t.Errorf("the key is %q", first.IdempotencyKey)
				}
				same(t, "the repeated command", first, second)
				want := proto.CloneOf(given)
				want.IdempotencyKey = first.IdempotencyKey
				same(t, "the command", want, first)
			})
		})
	}
}
