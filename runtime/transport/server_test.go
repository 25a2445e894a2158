package transport_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionalphapb "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/angz-dev/angz/runtime/runtimetest"
	"github.com/angz-dev/angz/runtime/transport"
)

// serve runs a server until the returned function is called, at the latest when
// the test ends.
func serve(t testing.TB, server *transport.Server, listeners ...net.Listener) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx, listeners...) }()
	var result error
	stopped := false
	stop = func() error {
		cancel()
		if !stopped {
			stopped, result = true, <-done
		}
		return result
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return stop
}

func listenTCP(t testing.TB) net.Listener {
	t.Helper()
	listener, err := transport.Listen(transport.Address{Network: "tcp", Address: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

func healthOf(t *testing.T, conn grpc.ClientConnInterface, about string) healthpb.HealthCheckResponse_ServingStatus {
	t.Helper()
	answer, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{Service: about})
	if err != nil {
		t.Fatal(err)
	}
	return answer.Status
}

func TestHealthSaysWhatTheServerWasTold(t *testing.T) {
	t.Parallel()
	server, listener := transport.NewServer(transport.ServerOptions{}), listenTCP(t)
	serve(t, server, listener)
	conn := dial(t, listener.Addr().String(), transport.DialOptions{})
	if got := healthOf(t, conn, ""); got != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Errorf("at the beginning: %v", got)
	}
	for _, want := range []bool{true, false, true} {
		server.SetServing(want)
		for _, about := range []string{"", "grpc.health.v1.Health"} {
			if got := healthOf(t, conn, about); (got == healthpb.HealthCheckResponse_SERVING) != want {
				t.Errorf("told %v, about %q: %v", want, about, got)
			}
		}
	}
}

func TestOneServerServesAtSeveralAddresses(t *testing.T) {
	t.Parallel()
	path := filepath.Join(runtimetest.Folder(t), "a.sock")
	server, first, second, third := transport.NewServer(transport.ServerOptions{}), listenTCP(t), listenTCP(t), listenUnix(t, path)
	stop := serve(t, server, first, second, third)
	for _, address := range []string{first.Addr().String(), "http://" + second.Addr().String(), path, "unix:" + path} {
		healthOf(t, dial(t, address, transport.DialOptions{}), "")
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	for _, listener := range []net.Listener{first, second, third} {
		if err := listener.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s was left open: %v", listener.Addr(), err)
		}
	}
}

func TestAListenerThatFailsEndsTheServer(t *testing.T) {
	t.Parallel()
	broken, good := listenTCP(t), listenTCP(t)
	broken.Close()
	err := transport.NewServer(transport.ServerOptions{}).Run(t.Context(), good, broken)
	if err == nil || !errors.Is(err, net.ErrClosed) {
		t.Errorf("ended with %v", err)
	}
}

func TestAServerThatIsStoppedBeforeItBegins(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	listener := listenTCP(t)
	if err := transport.NewServer(transport.ServerOptions{}).Run(ctx, listener); err != nil {
		t.Error(err)
	}
	if err := listener.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener was left open: %v", err)
	}
}

func TestStoppingLetsCallsUnderWayFinish(t *testing.T) {
	t.Parallel()
	server, listener := transport.NewServer(transport.ServerOptions{Grace: time.Minute}), listenTCP(t)
	began, finish := make(chan struct{}), make(chan struct{})
	testpb.RegisterTestServiceServer(server, &service{unary: func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		close(began)
		<-finish
		return &testpb.SimpleResponse{}, nil
	}})
	stop := serve(t, server, listener)
	conn, answered, stopped := dial(t, listener.Addr().String(), transport.DialOptions{}), make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := testpb.NewTestServiceClient(conn).UnaryCall(t.Context(), &testpb.SimpleRequest{})
		answered <- err
	}()
	<-began
	go func() { stopped <- stop() }()
	// Who comes now is too late.
	if err := conn.AwaitLost(t.Context()); err != nil {
		t.Error(err)
	}
	close(finish)
	if err := errors.Join(<-answered, <-stopped); err != nil {
		t.Error(err)
	}
}

func TestStoppingEndsLongStreamsAfterTheGracePeriod(t *testing.T) {
	t.Parallel()
	server, listener := transport.NewServer(transport.ServerOptions{Grace: 50 * time.Millisecond}), listenTCP(t)
	began, ended := make(chan struct{}), make(chan error, 1)
	testpb.RegisterTestServiceServer(server, &service{output: func(stream grpc.ServerStreamingServer[testpb.StreamingOutputCallResponse]) error {
		close(began)
		<-stream.Context().Done()
		ended <- stream.Context().Err()
		return stream.Context().Err()
	}})
	stop := serve(t, server, listener)
	stream, err := testpb.NewTestServiceClient(dial(t, listener.Addr().String(), transport.DialOptions{})).StreamingOutputCall(t.Context(), &testpb.StreamingOutputCallRequest{})
	if err != nil {
		t.Fatal(err)
	}
	<-began
	before := time.Now()
	if err := stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(before); took < 50*time.Millisecond || took > 10*time.Second {
		t.Errorf("stopping took %s", took)
	}
	select {
	case <-ended:
	default:
		t.Error("the server has stopped before the handler")
	}
	if _, err := stream.Recv(); !transport.Broken(err) {
		t.Errorf("the client was told %v", err)
	}
}

func TestMessagesAreLimitedBothWays(t *testing.T) {
	t.Parallel()
	server, listener := transport.NewServer(transport.ServerOptions{MaxMessageBytes: 1000}), listenTCP(t)
	testpb.RegisterTestServiceServer(server, &service{unary: func(_ context.Context, r *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		return &testpb.SimpleResponse{Payload: &testpb.Payload{Body: make([]byte, r.ResponseSize)}}, nil
	}})
	serve(t, server, listener)
	client := testpb.NewTestServiceClient(dial(t, listener.Addr().String(), transport.DialOptions{}))
	_, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{Payload: &testpb.Payload{Body: make([]byte, 1000)}})
	expect(t, err, codes.ResourceExhausted, "grpc: received message larger than max .*")
	_, err = client.UnaryCall(t.Context(), &testpb.SimpleRequest{ResponseSize: 1000})
	expect(t, err, codes.ResourceExhausted, "trying to send message larger than max .*")
	if _, err = client.UnaryCall(t.Context(), &testpb.SimpleRequest{ResponseSize: 900}); err != nil {
		t.Error(err)
	}
}

func TestInterceptorsOfAServerStandInsideThePanicGuard(t *testing.T) {
	t.Parallel()
	server, listener := transport.NewServer(transport.ServerOptions{
		Unary: []grpc.UnaryServerInterceptor{func(context.Context, any, *grpc.UnaryServerInfo, grpc.UnaryHandler) (any, error) {
			panic("in an interceptor")
		}},
	}), listenTCP(t)
	serve(t, server, listener)
	_, err := healthpb.NewHealthClient(dial(t, listener.Addr().String(), transport.DialOptions{})).Check(t.Context(), &healthpb.HealthCheckRequest{})
	expect(t, err, codes.Internal, "/grpc.health.v1.Health/Check failed because of a defect in angz; the log has the details")
}

// project is a schema that only the project knows.
func project(t *testing.T) protodesc.Resolver {
	t.Helper()
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("shop/shop.proto"), Package: proto.String("shop"), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String("OrderPlaced")}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	files := &protoregistry.Files{}
	if err := files.RegisterFile(file); err != nil {
		t.Fatal(err)
	}
	return files
}

// reflected asks both versions of the reflection service, which differ in name
// only.
func reflected(t *testing.T, conn grpc.ClientConnInterface, request *reflectionpb.ServerReflectionRequest) []*reflectionpb.ServerReflectionResponse {
	t.Helper()
	newer, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err == nil {
		err = newer.Send(request)
	}
	if err != nil {
		t.Fatal(err)
	}
	first, err := newer.Recv()
	if err != nil {
		t.Fatal(err)
	}
	older, err := reflectionalphapb.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	//lint:ignore SA1019 grpcurl of years ago speaks nothing else
	var alpha reflectionalphapb.ServerReflectionRequest
	recode(t, request, &alpha)
	if err := older.Send(&alpha); err != nil {
		t.Fatal(err)
	}
	answer, err := older.Recv()
	if err != nil {
		t.Fatal(err)
	}
	var second reflectionpb.ServerReflectionResponse
	recode(t, answer, &second)
	return []*reflectionpb.ServerReflectionResponse{first, &second}
}

func recode(t *testing.T, from, to proto.Message) {
	t.Helper()
	body, err := proto.Marshal(from)
	if err == nil {
		err = proto.Unmarshal(body, to)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestReflectionListsAndDescribes(t *testing.T) {
	t.Parallel()
	server, listener := transport.NewServer(transport.ServerOptions{Descriptors: project(t)}), listenTCP(t)
	testpb.RegisterTestServiceServer(server, &service{})
	serve(t, server, listener)
	conn := dial(t, listener.Addr().String(), transport.DialOptions{})
	for _, answer := range reflected(t, conn, &reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}}) {
		var names []string
		for _, listed := range answer.GetListServicesResponse().GetService() {
			names = append(names, listed.Name)
		}
		want := []string{"grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection", "grpc.testing.TestService"}
		if diff := cmp.Diff(want, names); diff != "" {
			t.Error(diff)
		}
	}
	for symbol, file := range map[string]string{
		"shop.OrderPlaced": "shop/shop.proto", "grpc.testing.TestService.UnaryCall": "grpc/testing/test.proto", "grpc.health.v1.Health": "grpc/health/v1/health.proto",
	} {
		bySymbol := &reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: symbol}}
		byName := &reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_FileByFilename{FileByFilename: file}}
		for _, answer := range slices.Concat(reflected(t, conn, bySymbol), reflected(t, conn, byName)) {
			var described descriptorpb.FileDescriptorProto
			files := answer.GetFileDescriptorResponse().GetFileDescriptorProto()
			if len(files) == 0 {
				t.Fatalf("%s: got %v", symbol, answer)
			}
			if err := proto.Unmarshal(files[0], &described); err != nil || described.GetName() != file {
				t.Errorf("%s is described in %s, %v", symbol, described.GetName(), err)
			}
		}
	}
	unknown := &reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: "shop.Nothing"}}
	for _, answer := range reflected(t, conn, unknown) {
		if codes.Code(answer.GetErrorResponse().GetErrorCode()) != codes.NotFound {
			t.Errorf("got %v", answer)
		}
	}
}

func TestReflectionNeedsNoProject(t *testing.T) {
	t.Parallel()
	server, listener := transport.NewServer(transport.ServerOptions{}), listenTCP(t)
	serve(t, server, listener)
	request := &reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: "shop.OrderPlaced"}}
	for _, answer := range reflected(t, dial(t, listener.Addr().String(), transport.DialOptions{}), request) {
		if codes.Code(answer.GetErrorResponse().GetErrorCode()) != codes.NotFound {
			t.Errorf("got %v", answer)
		}
	}
}
