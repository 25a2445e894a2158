package transport_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/angz-dev/angz/runtime/runtimetest"
	"github.com/angz-dev/angz/runtime/transport"
)

// service is gRPC's own test service, with one method of each kind.
type service struct {
	testpb.UnimplementedTestServiceServer
	unary  func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error)
	output func(grpc.ServerStreamingServer[testpb.StreamingOutputCallResponse]) error
	input  func(grpc.ClientStreamingServer[testpb.StreamingInputCallRequest, testpb.StreamingInputCallResponse]) error
	duplex func(grpc.BidiStreamingServer[testpb.StreamingOutputCallRequest, testpb.StreamingOutputCallResponse]) error
}

func (s *service) UnaryCall(ctx context.Context, r *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	return s.unary(ctx, r)
}

func (s *service) StreamingOutputCall(_ *testpb.StreamingOutputCallRequest, stream grpc.ServerStreamingServer[testpb.StreamingOutputCallResponse]) error {
	return s.output(stream)
}

func (s *service) StreamingInputCall(stream grpc.ClientStreamingServer[testpb.StreamingInputCallRequest, testpb.StreamingInputCallResponse]) error {
	return s.input(stream)
}

func (s *service) FullDuplexCall(stream grpc.BidiStreamingServer[testpb.StreamingOutputCallRequest, testpb.StreamingOutputCallResponse]) error {
	return s.duplex(stream)
}

// clients returns a client over memory and one over a socket.
func clients(t *testing.T, served *service) map[string]testpb.TestServiceClient {
	t.Helper()
	memory, server := transport.NewMemory(), transport.NewServer(transport.ServerOptions{})
	testpb.RegisterTestServiceServer(memory, served)
	testpb.RegisterTestServiceServer(server, served)
	path := filepath.Join(runtimetest.Folder(t), "a.sock")
	serve(t, server, listenUnix(t, path))
	return map[string]testpb.TestServiceClient{
		"memory": testpb.NewTestServiceClient(memory), "socket": testpb.NewTestServiceClient(connected(t, path)),
	}
}

// everywhere runs a test over memory and over a socket: callers rely on both
// being the same.
func everywhere(t *testing.T, served *service, test func(*testing.T, testpb.TestServiceClient)) {
	t.Helper()
	for name, client := range clients(t, served) {
		t.Run(name, func(t *testing.T) { test(t, client) })
	}
}

func TestAUnaryCallCarriesMessagesAndMetadata(t *testing.T) {
	t.Parallel()
	served := &service{unary: func(ctx context.Context, r *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		came, _ := metadata.FromIncomingContext(ctx)
		onward, _ := metadata.FromOutgoingContext(ctx)
		_, timed := ctx.Deadline()
		if err := errors.Join(
			grpc.SetHeader(ctx, metadata.Pairs("h", "1")), grpc.SendHeader(ctx, metadata.Pairs("h", "2")), grpc.SetTrailer(ctx, metadata.Pairs("t", "3")),
		); err != nil {
			return nil, err
		}
		method, _ := grpc.Method(ctx)
		return &testpb.SimpleResponse{
			Payload: r.Payload, Username: fmt.Sprint(came.Get("Key"), onward.Len(), timed), OauthScope: method,
		}, nil
	}}
	everywhere(t, served, func(t *testing.T, client testpb.TestServiceClient) {
		ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), "Key", "a", "key", "b"), time.Hour)
		defer cancel()
		var header, trailer metadata.MD
		request := &testpb.SimpleRequest{Payload: &testpb.Payload{Body: []byte("body")}}
		got, err := client.UnaryCall(ctx, request, grpc.Header(&header), grpc.Trailer(&trailer))
		want := &testpb.SimpleResponse{Payload: request.Payload, Username: "[a b] 0 true", OauthScope: "/grpc.testing.TestService/UnaryCall"}
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" || err != nil {
			t.Errorf("%v %s", err, diff)
		}
		if diff := cmp.Diff([][]string{{"1", "2"}, {"3"}}, [][]string{header.Get("h"), trailer.Get("t")}); diff != "" {
			t.Error(diff)
		}
	})
}

func TestMetadataGoesOneStepOnly(t *testing.T) {
	t.Parallel()
	var second *transport.Memory
	hop := &service{unary: func(ctx context.Context, r *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		return testpb.NewTestServiceClient(second).UnaryCall(ctx, r)
	}}
	last := &service{unary: func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		came, _ := metadata.FromIncomingContext(ctx)
		return &testpb.SimpleResponse{Username: fmt.Sprint(came)}, nil
	}}
	second = transport.NewMemory()
	testpb.RegisterTestServiceServer(second, last)
	everywhere(t, hop, func(t *testing.T, client testpb.TestServiceClient) {
		got, err := client.UnaryCall(metadata.AppendToOutgoingContext(t.Context(), "k", "v"), &testpb.SimpleRequest{})
		if err != nil || got.Username != "map[]" {
			t.Errorf("got %v, %v", got, err)
		}
	})
}

func TestErrorsOfHandlers(t *testing.T) {
	t.Parallel()
	detailed, err := status.New(codes.FailedPrecondition, "no").WithDetails(&errdetails.ErrorInfo{Reason: "R"})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		err  error
		want *status.Status
	}{
		"status":    {detailed.Err(), detailed},
		"plain":     {errors.New("broken"), status.New(codes.Unknown, "broken")},
		"deadline":  {fmt.Errorf("wait: %w", context.DeadlineExceeded), status.New(codes.DeadlineExceeded, "wait: context deadline exceeded")},
		"cancelled": {context.Canceled, status.New(codes.Canceled, "context canceled")},
	} {
		served := &service{
			unary:  func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) { return nil, c.err },
			output: func(grpc.ServerStreamingServer[testpb.StreamingOutputCallResponse]) error { return c.err },
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			everywhere(t, served, func(t *testing.T, client testpb.TestServiceClient) {
				_, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{})
				if diff := cmp.Diff(c.want.Proto(), status.Convert(err).Proto(), protocmp.Transform()); diff != "" {
					t.Errorf("unary: %s", diff)
				}
				stream, err := client.StreamingOutputCall(t.Context(), &testpb.StreamingOutputCallRequest{})
				if err == nil {
					_, err = stream.Recv()
				}
				if diff := cmp.Diff(c.want.Proto(), status.Convert(err).Proto(), protocmp.Transform()); diff != "" {
					t.Errorf("stream: %s", diff)
				}
			})
		})
	}
}

func TestAPanicIsAnInternalError(t *testing.T) {
	t.Parallel()
	served := &service{
		unary:  func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) { panic("secret") },
		output: func(grpc.ServerStreamingServer[testpb.StreamingOutputCallResponse]) error { panic("secret") },
	}
	everywhere(t, served, func(t *testing.T, client testpb.TestServiceClient) {
		_, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{})
		expect(t, err, codes.Internal, "/grpc.testing.TestService/UnaryCall failed because of a defect in angz; the log has the details")
		stream, err := client.StreamingOutputCall(t.Context(), &testpb.StreamingOutputCallRequest{})
		if err == nil {
			_, err = stream.Recv()
		}
		expect(t, err, codes.Internal, "/grpc.testing.TestService/StreamingOutputCall failed because of a defect in angz; the log has the details")
	})
}

func TestAPanicIsLoggedWithItsStack(t *testing.T) {
	t.Parallel()
	var logged bytes.Buffer
	memory := transport.NewMemory()
	memory.Logger = slog.New(slog.NewTextHandler(&logged, nil))
	testpb.RegisterTestServiceServer(memory, &service{unary: func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) { panic("secret") }})
	_, err := testpb.NewTestServiceClient(memory).UnaryCall(t.Context(), &testpb.SimpleRequest{})
	if err == nil || !strings.Contains(logged.String(), "error=secret") || !strings.Contains(logged.String(), "memory_test.go") {
		t.Errorf("%v, logged %s", err, logged.String())
	}
}

func TestWhatIsNotServedIsUnimplemented(t *testing.T) {
	t.Parallel()
	everywhere(t, &service{}, func(t *testing.T, client testpb.TestServiceClient) {
		_, err := client.UnimplementedCall(t.Context(), &testpb.Empty{})
		expect(t, err, codes.Unimplemented, ".*")
	})
	memory := transport.NewMemory()
	testpb.RegisterTestServiceServer(memory, &service{})
	for _, method := range []string{"", "/", "/other.Service/Call", "/grpc.testing.TestService/Other", "grpc.testing.TestService"} {
		err := memory.Invoke(t.Context(), method, &testpb.Empty{}, &testpb.Empty{})
		expect(t, err, codes.Unimplemented, "unknown (service|method) .*")
		_, err = memory.NewStream(t.Context(), &grpc.StreamDesc{}, method)
		expect(t, err, codes.Unimplemented, "unknown (service|stream) .*")
	}
	err := memory.Invoke(t.Context(), "/grpc.testing.TestService/UnaryCall", &testpb.Empty{}, &testpb.Empty{})
	expect(t, err, codes.Internal, "hand over a grpc.testing.Empty as a grpc.testing.SimpleRequest")
}

func TestACallEndsWhenItsTimeIsUp(t *testing.T) {
	t.Parallel()
	wait := func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}
	served := &service{
		unary: func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
			return nil, wait(ctx)
		},
		output: func(stream grpc.ServerStreamingServer[testpb.StreamingOutputCallResponse]) error {
			return wait(stream.Context())
		},
	}
	everywhere(t, served, func(t *testing.T, client testpb.TestServiceClient) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		_, err := client.UnaryCall(ctx, &testpb.SimpleRequest{})
		expect(t, err, codes.DeadlineExceeded, ".*")
		ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		stream, err := client.StreamingOutputCall(ctx, &testpb.StreamingOutputCallRequest{})
		if err == nil {
			_, err = stream.Recv()
		}
		expect(t, err, codes.DeadlineExceeded, ".*")
	})
}

func TestAHandlerLearnsThatItsCallerHasLeft(t *testing.T) {
	t.Parallel()
	began, ended := make(chan struct{}), make(chan error)
	wait := func(ctx context.Context) error {
		began <- struct{}{}
		<-ctx.Done()
		go func() { ended <- ctx.Err() }()
		return ctx.Err()
	}
	served := &service{
		unary: func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
			return nil, wait(ctx)
		},
		duplex: func(stream grpc.BidiStreamingServer[testpb.StreamingOutputCallRequest, testpb.StreamingOutputCallResponse]) error {
			return wait(stream.Context())
		},
	}
	everywhere(t, served, func(t *testing.T, client testpb.TestServiceClient) {
		for kind, call := range map[string]func(context.Context) error{
			"unary": func(ctx context.Context) error {
				_, err := client.UnaryCall(ctx, &testpb.SimpleRequest{})
				return err
			},
			"stream": func(ctx context.Context) error {
				stream, err := client.FullDuplexCall(ctx)
				if err == nil {
					_, err = stream.Recv()
				}
				return err
			},
		} {
			ctx, leave := context.WithCancel(t.Context())
			told := make(chan error, 1)
			go func() { told <- call(ctx) }()
			<-began
			leave()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("%s: the handler learned of %v", kind, err)
			}
			expect(t, <-told, codes.Canceled, "context canceled")
		}
	})
}

func numbered(n int) *testpb.StreamingOutputCallResponse {
	return &testpb.StreamingOutputCallResponse{Payload: &testpb.Payload{Body: []byte{byte(n)}}}
}

func TestWhatWasSentBeforeTheEndArrivesBeforeTheEnd(t *testing.T) {
	t.Parallel()
	const sent = 100
	served := &service{output: func(stream grpc.ServerStreamingServer[testpb.StreamingOutputCallResponse]) error {
		if err := errors.Join(stream.SetHeader(metadata.Pairs("h", "1")), grpc.SetHeader(stream.Context(), metadata.Pairs("h", "2"))); err != nil {
			return err
		}
		for n := range sent {
			if err := stream.Send(numbered(n)); err != nil {
				return err
			}
		}
		if err := stream.SetHeader(metadata.Pairs("h", "late")); err == nil {
			return errors.New("headers were set after they had gone")
		}
		stream.SetTrailer(metadata.Pairs("t", "3"))
		return status.Error(codes.DataLoss, "all gone")
	}}
	everywhere(t, served, func(t *testing.T, client testpb.TestServiceClient) {
		stream, err := client.StreamingOutputCall(t.Context(), &testpb.StreamingOutputCallRequest{})
		if err != nil {
			t.Fatal(err)
		}
		header, err := stream.Header()
		if diff := cmp.Diff([]string{"1", "2"}, header.Get("h")); diff != "" || err != nil {
			t.Errorf("%v %s", err, diff)
		}
		for n := range sent {
			got, err := stream.Recv()
			if diff := cmp.Diff(numbered(n), got, protocmp.Transform()); diff != "" || err != nil {
				t.Fatalf("%d: %v %s", n, err, diff)
			}
		}
		for range 2 {
			_, err = stream.Recv()
			expect(t, err, codes.DataLoss, "all gone")
		}
		if got := stream.Trailer().Get("t"); len(got) != 1 {
			t.Errorf("trailer %v", got)
		}
	})
}

func TestAStreamWithoutHeadersHasNone(t *testing.T) {
	t.Parallel()
	served := &service{
		output: func(grpc.ServerStreamingServer[testpb.StreamingOutputCallResponse]) error {
			return status.Error(codes.NotFound, "nothing here")
		},
		duplex: func(stream grpc.BidiStreamingServer[testpb.StreamingOutputCallRequest, testpb.StreamingOutputCallResponse]) error {
			if err := stream.SendHeader(metadata.Pairs("ready", "yes")); err != nil {
				return err
			}
			_, err := stream.Recv()
			return err
		},
	}
	everywhere(t, served, func(t *testing.T, client testpb.TestServiceClient) {
		refused, err := client.StreamingOutputCall(t.Context(), &testpb.StreamingOutputCallRequest{})
		if err != nil {
			t.Fatal(err)
		}
		header, err := refused.Header()
		if len(header) != 0 || err != nil {
			t.Errorf("got %v, %v", header, err)
		}
		_, err = refused.Recv()
		expect(t, err, codes.NotFound, "nothing here")
		ctx, leave := context.WithCancel(t.Context())
		defer leave()
		ready, err := client.FullDuplexCall(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if header, err := ready.Header(); len(header.Get("ready")) != 1 || err != nil {
			t.Errorf("got %v, %v", header, err)
		}
	})
}

func TestAClientThatStreams(t *testing.T) {
	t.Parallel()
	served := &service{input: func(stream grpc.ClientStreamingServer[testpb.StreamingInputCallRequest, testpb.StreamingInputCallResponse]) error {
		total := int32(0)
		for {
			got, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return err
			}
			total += int32(len(got.Payload.GetBody()))
		}
		if err := stream.SendAndClose(&testpb.StreamingInputCallResponse{AggregatedPayloadSize: total}); err != nil {
			return err
		}
		if total == 0 {
			return status.Error(codes.InvalidArgument, "nothing came")
		}
		return nil
	}}
	everywhere(t, served, func(t *testing.T, client testpb.TestServiceClient) {
		for _, count := range []int{100, 0} {
			stream, err := client.StreamingInputCall(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for range count {
				if err := stream.Send(&testpb.StreamingInputCallRequest{Payload: &testpb.Payload{Body: []byte("abc")}}); err != nil {
					t.Fatal(err)
				}
			}
			got, err := stream.CloseAndRecv()
			if count == 0 {
				// An answer counts only if the call ended well.
				expect(t, err, codes.InvalidArgument, "nothing came")
				continue
			}
			if err != nil || got.AggregatedPayloadSize != 300 {
				t.Errorf("got %v, %v", got, err)
			}
		}
	})
}

func TestBothSidesStream(t *testing.T) {
	t.Parallel()
	served := &service{duplex: func(stream grpc.BidiStreamingServer[testpb.StreamingOutputCallRequest, testpb.StreamingOutputCallResponse]) error {
		for {
			got, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			if len(got.ResponseParameters) > 0 {
				return status.Error(codes.OutOfRange, "enough")
			}
			if err := stream.Send(&testpb.StreamingOutputCallResponse{Payload: got.Payload}); err != nil {
				return err
			}
		}
	}}
	everywhere(t, served, func(t *testing.T, client testpb.TestServiceClient) {
		for _, ended := range []string{"by the client", "by the service"} {
			stream, err := client.FullDuplexCall(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for n := range 50 {
				want := numbered(n)
				if err := stream.Send(&testpb.StreamingOutputCallRequest{Payload: want.Payload}); err != nil {
					t.Fatal(err)
				}
				got, err := stream.Recv()
				if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" || err != nil {
					t.Fatalf("%v %s", err, diff)
				}
			}
			if ended == "by the client" {
				if err := errors.Join(stream.CloseSend(), stream.CloseSend()); err != nil {
					t.Error(err)
				}
				if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
					t.Errorf("got %v", err)
				}
				continue
			}
			if err := stream.Send(&testpb.StreamingOutputCallRequest{ResponseParameters: []*testpb.ResponseParameters{{}}}); err != nil {
				t.Fatal(err)
			}
			_, err = stream.Recv()
			expect(t, err, codes.OutOfRange, "enough")
			if err := stream.Send(&testpb.StreamingOutputCallRequest{}); !errors.Is(err, io.EOF) {
				t.Errorf("sent to nobody: %v", err)
			}
		}
	})
}

func TestTheSenderOfAStreamInMemoryWaitsForItsReader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sent, memory := 0, transport.NewMemory()
		var ended error
		testpb.RegisterTestServiceServer(memory, &service{output: func(stream grpc.ServerStreamingServer[testpb.StreamingOutputCallResponse]) error {
			for ; ended == nil; sent++ {
				ended = stream.Send(numbered(sent))
			}
			return ended
		}})
		ctx, leave := context.WithCancel(t.Context())
		stream, err := testpb.NewTestServiceClient(memory).StreamingOutputCall(ctx, &testpb.StreamingOutputCallRequest{})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if sent != 16 {
			t.Errorf("%d messages are on their way", sent)
		}
		if _, err := stream.Recv(); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if sent != 17 {
			t.Errorf("%d messages have been sent", sent)
		}
		// The bubble ends only when the handler's goroutine has.
		leave()
		synctest.Wait()
		expect(t, ended, codes.Canceled, "context canceled")
	})
}

func TestACallThatWasGivenUpBeforeItBeganIsNotMade(t *testing.T) {
	t.Parallel()
	memory := transport.NewMemory()
	testpb.RegisterTestServiceServer(memory, &service{}) // whose handlers would panic
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	client := testpb.NewTestServiceClient(memory)
	_, err := client.UnaryCall(ctx, &testpb.SimpleRequest{})
	expect(t, err, codes.Canceled, "context canceled")
	_, err = client.FullDuplexCall(ctx)
	expect(t, err, codes.Canceled, "context canceled")
}

func TestInterceptorsSeeEachOthersWorkInOrder(t *testing.T) {
	t.Parallel()
	for count := range 4 {
		var order []string
		var interceptors []grpc.UnaryServerInterceptor
		want := []string{"handler"}
		for n := range count {
			interceptors = append(interceptors, func(ctx context.Context, r any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
				order = append(order, fmt.Sprint("before ", n, " ", info.FullMethod))
				defer func() { order = append(order, fmt.Sprint("after ", n)) }()
				return handler(ctx, r)
			})
			inner := count - 1 - n
			want = append(append([]string{fmt.Sprint("before ", inner, " /grpc.testing.TestService/UnaryCall")}, want...), fmt.Sprint("after ", inner))
		}
		memory := transport.NewMemory(interceptors...)
		testpb.RegisterTestServiceServer(memory, &service{unary: func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
			order = append(order, "handler")
			return &testpb.SimpleResponse{}, nil
		}})
		if _, err := testpb.NewTestServiceClient(memory).UnaryCall(t.Context(), &testpb.SimpleRequest{}); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(want, order); diff != "" {
			t.Error(diff)
		}
	}
}

func TestAHandlersMessageIsItsOwnAtTheOutermostLevel(t *testing.T) {
	t.Parallel()
	memory := transport.NewMemory()
	kept := &testpb.SimpleResponse{Username: "kept"}
	testpb.RegisterTestServiceServer(memory, &service{unary: func(_ context.Context, r *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		r.ResponseSize, r.Payload = 7, nil
		return kept, nil
	}})
	request := &testpb.SimpleRequest{Payload: &testpb.Payload{Body: []byte("body")}}
	request.ProtoReflect().SetUnknown([]byte{0xf8, 0x07, 1})
	before := proto.CloneOf(request)
	got, err := testpb.NewTestServiceClient(memory).UnaryCall(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	got.Username = "changed"
	if diff := cmp.Diff(before, request, protocmp.Transform()); diff != "" || kept.Username != "kept" {
		t.Errorf("%s %q", diff, kept.Username)
	}
	if err := memory.Invoke(t.Context(), "/grpc.testing.TestService/UnaryCall", request, "no message"); status.Code(err) != codes.Internal {
		t.Errorf("got %v", err)
	}
	if err := memory.Invoke(t.Context(), "/grpc.testing.TestService/UnaryCall", request, &wrapperspb.BoolValue{}); status.Code(err) != codes.Internal {
		t.Errorf("got %v", err)
	}
}

func TestAHandlerMaySetMetadataFromItsGoroutines(t *testing.T) {
	t.Parallel()
	served := &service{unary: func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		var setting sync.WaitGroup
		for range 8 {
			setting.Go(func() {
				if err := errors.Join(grpc.SetHeader(ctx, metadata.Pairs("h", "1")), grpc.SetTrailer(ctx, metadata.Pairs("t", "1"))); err != nil {
					t.Error(err)
				}
			})
		}
		setting.Wait()
		return &testpb.SimpleResponse{}, nil
	}}
	everywhere(t, served, func(t *testing.T, client testpb.TestServiceClient) {
		var header, trailer metadata.MD
		_, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{}, grpc.Header(&header), grpc.Trailer(&trailer))
		if err != nil || len(header.Get("h")) != 8 || len(trailer.Get("t")) != 8 {
			t.Errorf("%v, header %v, trailer %v", err, header, trailer)
		}
	})
}

func TestAHandlerThatOwesAnAnswerIsAtFault(t *testing.T) {
	t.Parallel()
	served := &service{input: func(grpc.ClientStreamingServer[testpb.StreamingInputCallRequest, testpb.StreamingInputCallResponse]) error {
		return nil
	}}
	everywhere(t, served, func(t *testing.T, client testpb.TestServiceClient) {
		stream, err := client.StreamingInputCall(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, err = stream.CloseAndRecv()
		expect(t, err, codes.Internal, ".*")
	})
}

func TestWaitingForTheHandlersOfStreams(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		memory, finish, waited := transport.NewMemory(), make(chan struct{}), false
		testpb.RegisterTestServiceServer(memory, &service{output: func(stream grpc.ServerStreamingServer[testpb.StreamingOutputCallResponse]) error {
			<-stream.Context().Done()
			<-finish // it has something to put away
			return nil
		}})
		ctx, leave := context.WithCancel(t.Context())
		if _, err := testpb.NewTestServiceClient(memory).StreamingOutputCall(ctx, &testpb.StreamingOutputCallRequest{}); err != nil {
			t.Fatal(err)
		}
		var waiting sync.WaitGroup
		waiting.Go(func() { memory.Wait(); waited = true })
		synctest.Wait()
		leave()
		synctest.Wait()
		if waited {
			t.Error("the handler is still at work")
		}
		close(finish)
		waiting.Wait()
	})
}
