package transport_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/runtimetest"
	"github.com/angz-dev/angz/runtime/transport"
)

func dial(t testing.TB, address string, options transport.DialOptions) *transport.Client {
	t.Helper()
	if options.Name == "" {
		options.Name = "domain order's service"
	}
	client, err := transport.Dial(address, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// connected returns a client that need not wait any more.
func connected(t testing.TB, address string) *transport.Client {
	t.Helper()
	client := dial(t, address, transport.DialOptions{})
	if err := client.AwaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	return client
}

// ask calls a service of an aggregate.
func ask(ctx context.Context, conn grpc.ClientConnInterface) error {
	_, err := pb.NewAggregateClient(conn).Handle(ctx, &pb.ContextualCommand{Command: runtimetest.Command("order", "o1", 0, "Place")})
	return err
}

// expect checks a status by a pattern for its message.
func expect(t *testing.T, err error, code codes.Code, pattern string) {
	t.Helper()
	said := status.Convert(err)
	if said.Code() != code || !regexp.MustCompile("^(?s:"+pattern+")$").MatchString(said.Message()) {
		t.Errorf("got %v: %q, want %v: %q", said.Code(), said.Message(), code, pattern)
	}
}

func networks() map[string][]runtimetest.Option {
	return map[string][]runtimetest.Option{"unix": nil, "tcp": {runtimetest.OverTCP}}
}

func TestACallWaitsForAServiceThatComesLate(t *testing.T) {
	t.Parallel()
	for network, options := range networks() {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			service := runtimetest.Aggregate(t, runtimetest.LeavesNumbersOut, options...)
			service.Stop()
			client := dial(t, service.Address(), transport.DialOptions{ReadyWait: time.Minute})
			// It has failed at least once when it knows why it is not ready.
			soon, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if err := ask(soon, client); !transport.Unreachable(err) {
				t.Errorf("got %v", err)
			}
			answered := make(chan error, 1)
			go func() { answered <- ask(t.Context(), client) }()
			service.Start()
			if err := <-answered; err != nil {
				t.Error(err)
			}
			// And again when it restarts.
			service.Stop()
			if err := client.AwaitLost(t.Context()); err != nil {
				t.Error(err)
			}
			go func() { answered <- ask(t.Context(), client) }()
			service.Start()
			if err := <-answered; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAServiceThatIsNotThereIsUnreachable(t *testing.T) {
	t.Parallel()
	path := filepath.Join(runtimetest.Folder(t), "a.sock")
	client := dial(t, path, transport.DialOptions{ReadyWait: 30 * time.Millisecond})
	if client.Address() != path {
		t.Errorf("leads to %s", client.Address())
	}
	err := ask(t.Context(), client)
	expect(t, err, codes.Unavailable, "domain order's service at "+path+" is not reachable: dial unix "+path+": connect: no such file or directory; is it running\\?")
	if !transport.Unreachable(err) || !transport.Unreachable(fmt.Errorf("send: %w", err)) || transport.Broken(err) {
		t.Error("it is not recognised")
	}
	_, err = pb.NewEventQueryClient(client).GetEvents(t.Context(), &pb.Query{})
	expect(t, err, codes.Unavailable, "domain order's service at .* is not reachable: .*; is it running\\?")
	for _, other := range []error{nil, io.EOF, status.Error(codes.Unavailable, "closed for today"), context.Canceled} {
		if transport.Unreachable(other) || transport.Broken(other) {
			t.Errorf("%v is taken for one of a connection", other)
		}
	}
}

func TestACallThatIsGivenUpWhileWaiting(t *testing.T) {
	t.Parallel()
	client := dial(t, filepath.Join(runtimetest.Folder(t), "a.sock"), transport.DialOptions{ReadyWait: time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	expect(t, ask(ctx, client), codes.Canceled, "context canceled")
	ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	expect(t, ask(ctx, client), codes.Unavailable, ".* is not reachable: .*")
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	expect(t, ask(t.Context(), client), codes.Canceled, "the connection to domain order's service at .* is closed")
}

func TestSomethingElseAtTheAddressIsNamed(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for conn, err := listener.Accept(); err == nil; conn, err = listener.Accept() {
			conn.Close()
		}
	}()
	mute := dial(t, listener.Addr().String(), transport.DialOptions{ReadyWait: 50 * time.Millisecond})
	expect(t, ask(t.Context(), mute), codes.Unavailable, ".* is not reachable: it accepts connections but has not answered as a gRPC server does; is it running\\?")
	plain := runtimetest.Aggregate(t, runtimetest.LeavesNumbersOut, runtimetest.OverTCP)
	secure := dial(t, "https://"+plain.Address(), transport.DialOptions{ReadyWait: 50 * time.Millisecond})
	expect(t, ask(t.Context(), secure), codes.Unavailable, ".* at https://.* is not reachable: it does not speak TLS: write its address without https://, or set transport.tls.cert and transport.tls.key there")
}

func TestATLSCertificateIsChecked(t *testing.T) {
	t.Parallel()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	client := dial(t, "https://"+listener.Addr().String(), transport.DialOptions{ReadyWait: time.Second})
	expect(t, ask(t.Context(), client), codes.Unavailable, ".*its certificate .* is not accepted: .* is not among the authorities of the system: set transport.tls.ca .*")
}

func TestAConnectionThatBreaksUnderTheCall(t *testing.T) {
	t.Parallel()
	for network, options := range networks() {
		for name, stop := range map[string]func(*broken){
			"stopped": func(b *broken) { b.service.Stop() }, "cut": func(b *broken) { b.cut() },
		} {
			t.Run(network+" "+name, func(t *testing.T) {
				t.Parallel()
				b := newBroken(t, network, options)
				client := dial(t, b.address, transport.DialOptions{})
				answered := make(chan error, 1)
				go func() { answered <- ask(t.Context(), client) }()
				<-b.called
				stop(b)
				err := <-answered
				expect(t, err, codes.Unavailable, "the connection to domain order's service at .* broke during the call: .*")
				if !transport.Broken(err) || transport.Unreachable(err) {
					t.Errorf("not recognised: %v", err)
				}
			})
		}
	}
}

func TestAConnectionThatBreaksUnderAStream(t *testing.T) {
	t.Parallel()
	for network, options := range networks() {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			b := newBroken(t, network, options)
			stream, err := healthpb.NewHealthClient(dial(t, b.address, transport.DialOptions{})).Watch(t.Context(), &healthpb.HealthCheckRequest{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := stream.Recv(); err != nil {
				t.Fatal(err)
			}
			b.cut()
			_, err = stream.Recv()
			expect(t, err, codes.Unavailable, "the connection to domain order's service at .* broke during the call: .*")
			if !transport.Broken(err) {
				t.Errorf("not recognised: %v", err)
			}
		})
	}
}

// broken is a service behind a proxy whose connections can be cut.
type broken struct {
	service *runtimetest.Service
	address string
	called  chan struct{}
	cut     func()
}

func newBroken(t *testing.T, network string, options []runtimetest.Option) *broken {
	t.Helper()
	b := &broken{called: make(chan struct{}, 1)}
	b.service = runtimetest.Aggregate(t, func(ctx context.Context, r *pb.ContextualCommand) (*pb.BusinessResponse, error) {
		b.called <- struct{}{}
		return runtimetest.NeverAnswers(ctx, r)
	}, options...)
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(runtimetest.Folder(t), "p.sock")
	}
	listener, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	b.address = listener.Addr().String()
	accepted := make(chan net.Conn, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		accepted <- conn
		behind, err := net.Dial(network, b.service.Address())
		if err != nil {
			t.Error(err)
			return
		}
		go func() { _, _ = io.Copy(behind, conn) }()
		_, _ = io.Copy(conn, behind)
		conn.Close()
	}()
	b.cut = func() { (<-accepted).Close() }
	return b
}

func TestADeadlineThatPasses(t *testing.T) {
	t.Parallel()
	service := runtimetest.Aggregate(t, runtimetest.NeverAnswers)
	client := connected(t, service.Address())
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	expect(t, ask(ctx, client), codes.DeadlineExceeded, "domain order's service at "+service.Address()+" did not answer within [123]?\\dms")
	ctx, cancel = context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	stream, err := healthpb.NewHealthClient(client).Watch(ctx, &healthpb.HealthCheckRequest{})
	for err == nil {
		_, err = stream.Recv()
	}
	expect(t, err, codes.DeadlineExceeded, "domain order's service at .* did not answer within [123]?\\dms")
}

func TestWhatTheServiceSaysPassesWordForWord(t *testing.T) {
	t.Parallel()
	detail := &errdetails.RetryInfo{}
	for _, want := range []*status.Status{
		status.New(codes.NotFound, "no such order"), status.New(codes.Internal, "cannot unmarshal the basket"), status.New(codes.Internal, "grpc: I know this one"),
		status.New(codes.Unavailable, "closed for today"), status.New(codes.DeadlineExceeded, "the warehouse is slow"),
		status.New(codes.ResourceExhausted, "grpc: received message larger than max (9 vs. 8)"), status.New(codes.Code(77), "of another time"), status.New(codes.Canceled, ""),
	} {
		want, err := want.WithDetails(detail)
		if err != nil {
			t.Fatal(err)
		}
		client := dial(t, runtimetest.Aggregate(t, runtimetest.Refuses(want)).Address(), transport.DialOptions{})
		got := status.Convert(ask(t.Context(), client))
		if diff := cmp.Diff(want.Proto(), got.Proto(), protocmp.Transform()); diff != "" {
			t.Error(diff)
		}
	}
}

func TestAnAnswerThatCannotBeTaken(t *testing.T) {
	t.Parallel()
	huge := runtimetest.Aggregate(t, runtimetest.AnswersHugely(2<<20))
	client := dial(t, huge.Address(), transport.DialOptions{MaxMessageBytes: 1 << 20})
	expect(t, ask(t.Context(), client), codes.Internal,
		"domain order's service at "+huge.Address()+": grpc: received message larger than max \\(\\d+ vs. 1048576\\); limits.max_message_bytes is 1048576")
	_, err := pb.NewAggregateClient(client).Handle(t.Context(), &pb.ContextualCommand{Command: &pb.CommandBook{CorrelationId: strings.Repeat("x", 2<<20)}})
	expect(t, err, codes.Internal, "domain order's service at .*: trying to send message larger than max .*; limits.max_message_bytes is 1048576")
	garbage := runtimetest.Aggregate(t, runtimetest.AnswersNothing, runtimetest.AnswersGarbage)
	expect(t, ask(t.Context(), dial(t, garbage.Address(), transport.DialOptions{})), codes.Internal,
		"domain order's service at "+garbage.Address()+" answered what cannot be read: grpc: failed to unmarshal .*")
}

func TestAwaitingAConnectionAndItsLoss(t *testing.T) {
	t.Parallel()
	service := runtimetest.Aggregate(t, runtimetest.LeavesNumbersOut)
	client := dial(t, service.Address(), transport.DialOptions{})
	if err := client.AwaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	lost := make(chan error, 1)
	go func() { lost <- client.AwaitLost(t.Context()) }()
	service.Stop()
	if err := <-lost; err != nil {
		t.Error(err)
	}
	soon, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := client.AwaitReady(soon); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("ready without a service: %v", err)
	}
	service.Start()
	if err := client.AwaitReady(t.Context()); err != nil {
		t.Error(err)
	}
}

// serveHealth serves at a path until the returned function is called, which
// stops in order.
func serveHealth(t *testing.T, path string) (stop func()) {
	t.Helper()
	server, listener, done := grpc.NewServer(), listenUnix(t, path), make(chan error, 1)
	healthpb.RegisterHealthServer(server, health.NewServer())
	go func() { done <- server.Serve(listener) }()
	return func() {
		server.GracefulStop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// A server that stops in order refuses calls that come too late without looking
// at them; they wait for the next server.
func TestACallThatMeetsAServerWhichStopsInOrderWaitsForTheNext(t *testing.T) {
	t.Parallel()
	path := filepath.Join(runtimetest.Folder(t), "a.sock")
	client := healthpb.NewHealthClient(dial(t, path, transport.DialOptions{ReadyWait: 20 * time.Second}))
	enough, answered := make(chan struct{}), make(chan error, 4)
	go func() {
		for range cap(answered) {
			go func() { answered <- callUntil(t.Context(), enough, client) }()
		}
	}()
	for range 20 {
		stop := serveHealth(t, path)
		for range 20 {
			if _, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
				t.Error(err)
			}
		}
		stop()
	}
	// Those who wait now are to have somebody to wait for.
	stop := serveHealth(t, path)
	defer stop()
	close(enough)
	for range cap(answered) {
		if err := <-answered; err != nil {
			t.Error(err)
		}
	}
}

func callUntil(ctx context.Context, enough <-chan struct{}, client healthpb.HealthClient) error {
	for {
		if _, err := client.Check(ctx, &healthpb.HealthCheckRequest{}); err != nil {
			return err
		}
		select {
		case <-enough:
			return nil
		default:
		}
	}
}

// selfSigned returns a certificate that nobody trusts.
func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{certificate}, PrivateKey: key}
}
