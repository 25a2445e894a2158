package transport_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/angz-dev/angz/runtime/runtimetest"
	"github.com/angz-dev/angz/runtime/transport"
)

// lines is a log that a test reads line by line.
type lines chan string

func newLines() lines { return make(lines, 1000) }

func (l lines) Write(line []byte) (int, error) {
	l <- string(line)
	return len(line), nil
}

func (l lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// await returns the next line that holds a text.
func (l lines) await(t *testing.T, text string) string {
	t.Helper()
	for {
		select {
		case line := <-l:
			if strings.Contains(line, text) {
				return line
			}
		case <-time.After(time.Minute):
			t.Fatalf("nothing was logged about %q", text)
		}
	}
}

// rest returns what was logged and not read yet.
func (l lines) rest() (all []string) {
	for {
		select {
		case line := <-l:
			all = append(all, line)
		default:
			return all
		}
	}
}

func openTLS(t testing.TB, options transport.TLSOptions) *transport.TLS {
	t.Helper()
	opened, err := transport.OpenTLS(options)
	if err != nil {
		t.Fatal(err)
	}
	return opened
}

// whoCalls answers with the common name in the certificate of the caller.
func whoCalls() *service {
	return &service{unary: func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		caller, _ := peer.FromContext(ctx)
		info, ok := caller.AuthInfo.(credentials.TLSInfo)
		if !ok {
			return &testpb.SimpleResponse{Username: "plain"}, nil
		}
		if len(info.State.VerifiedChains) == 0 {
			return &testpb.SimpleResponse{Username: "nobody"}, nil
		}
		return &testpb.SimpleResponse{Username: info.State.VerifiedChains[0][0].Subject.CommonName}, nil
	}}
}

// serveTLS runs a server on a port and returns its address.
func serveTLS(t *testing.T, options transport.ServerOptions) string {
	t.Helper()
	server, listener := transport.NewServer(options), listenTCP(t)
	testpb.RegisterTestServiceServer(server, whoCalls())
	serve(t, server, listener)
	return listener.Addr().String()
}

func whoAmI(t *testing.T, conn grpc.ClientConnInterface) (string, error) {
	t.Helper()
	response, err := testpb.NewTestServiceClient(conn).UnaryCall(t.Context(), &testpb.SimpleRequest{})
	return response.GetUsername(), err
}

func TestBothSidesShowCertificates(t *testing.T) {
	t.Parallel()
	authority := runtimetest.NewAuthority(t, "authority")
	server, client := authority.Issue(t, "server"), authority.Issue(t, "billing")
	for _, c := range []struct {
		asks transport.ClientAuth
		show transport.TLSOptions
		want string
	}{
		{transport.ClientAuthNone, transport.TLSOptions{Cert: client.Cert, Key: client.Key}, "nobody"},
		{transport.ClientAuthRequest, transport.TLSOptions{}, "nobody"},
		{transport.ClientAuthRequest, transport.TLSOptions{Cert: client.Cert, Key: client.Key}, "billing"},
		{transport.ClientAuthRequire, transport.TLSOptions{Cert: client.Cert, Key: client.Key}, "billing"},
	} {
		address := serveTLS(t, transport.ServerOptions{TLS: openTLS(t, transport.TLSOptions{
			Cert: server.Cert, Key: server.Key, ClientCA: authority.File, ClientAuth: c.asks,
		})})
		c.show.CA = authority.File
		got, err := whoAmI(t, dial(t, "https://"+address, transport.DialOptions{TLS: openTLS(t, c.show)}))
		if got != c.want || err != nil {
			t.Errorf("%s: got %q, %v, want %q", c.asks, got, err, c.want)
		}
	}
}

func TestASocketOfAServerWithTLSIsPlain(t *testing.T) {
	t.Parallel()
	authority := runtimetest.NewAuthority(t, "authority")
	pair := authority.Issue(t, "server")
	server := transport.NewServer(transport.ServerOptions{TLS: openTLS(t, transport.TLSOptions{
		Cert: pair.Cert, Key: pair.Key, ClientCA: authority.File, ClientAuth: transport.ClientAuthRequire,
	})})
	testpb.RegisterTestServiceServer(server, whoCalls())
	path := filepath.Join(runtimetest.Folder(t), "a.sock")
	serve(t, server, listenTCP(t), listenUnix(t, path))
	if got, err := whoAmI(t, dial(t, path, transport.DialOptions{})); got != "plain" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestWhyAConnectionIsRefused holds what each side says, in words that name the
// certificate and the next step.
func TestWhyAConnectionIsRefused(t *testing.T) {
	t.Parallel()
	ours, theirs := runtimetest.NewAuthority(t, "ours"), runtimetest.NewAuthority(t, "theirs")
	server, foreign := ours.Issue(t, "orders"), theirs.Issue(t, "intruder")
	elsewhere := ours.Issue(t, "orders", func(made *x509.Certificate) {
		made.IPAddresses, made.DNSNames = nil, []string{"orders.example"}
	})
	serverOnly := ours.Issue(t, "tool", func(made *x509.Certificate) { made.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
	for name, c := range map[string]struct {
		server, client transport.TLSOptions
		says, logs     string
	}{
		"the server's authority is unknown": {
			server: transport.TLSOptions{Cert: server.Cert, Key: server.Key}, client: transport.TLSOptions{CA: theirs.File},
			says: `its certificate "CN=orders" (localhost, 127.0.0.1; issued by "CN=ours"; valid until `, logs: `it does not accept our certificate \"CN=orders\"`,
		},
		"the server is another": {
			server: transport.TLSOptions{Cert: elsewhere.Cert, Key: elsewhere.Key}, client: transport.TLSOptions{CA: ours.File},
			says: "it is not for 127.0.0.1: use an address with a name that the certificate holds, or set transport.tls.server_name to one", logs: "bad certificate",
		},
		"there is no client certificate": {
			server: transport.TLSOptions{Cert: server.Cert, Key: server.Key, CA: ours.File, ClientAuth: transport.ClientAuthRequire}, client: transport.TLSOptions{CA: ours.File},
			says: "it wants a client certificate (certificate required), and there is none: set transport.tls.cert and transport.tls.key",
			logs: "it showed no client certificate, and transport.tls.client_auth is require: set transport.tls.cert and transport.tls.key there",
		},
		"the client's authority is unknown": {
			server: transport.TLSOptions{Cert: server.Cert, Key: server.Key, ClientCA: ours.File, ClientAuth: transport.ClientAuthRequest},
			client: transport.TLSOptions{CA: ours.File, Cert: foreign.Cert, Key: foreign.Key},
			says:   `it does not accept our certificate "CN=intruder"`,
			logs:   `\"CN=theirs\" is not among the authorities in ` + ours.File + ": add the certificate of that authority to the file of transport.tls.client_ca",
		},
		"the client's certificate is for servers": {
			server: transport.TLSOptions{Cert: server.Cert, Key: server.Key, ClientCA: ours.File, ClientAuth: transport.ClientAuthRequire},
			client: transport.TLSOptions{CA: ours.File, Cert: serverOnly.Cert, Key: serverOnly.Key},
			says:   `it does not accept our certificate "CN=tool"`, logs: "it was not issued for this use",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := newLines()
			c.server.Logger = log.logger()
			address := serveTLS(t, transport.ServerOptions{TLS: openTLS(t, c.server)})
			client := dial(t, "https://"+address, transport.DialOptions{TLS: openTLS(t, c.client), ReadyWait: 300 * time.Millisecond})
			_, err := whoAmI(t, client)
			if err == nil || !strings.Contains(err.Error(), c.says) || !transport.Unreachable(err) {
				t.Errorf("got %v, want %q", err, c.says)
			}
			if line := log.await(t, "a caller was turned away"); !strings.Contains(line, c.logs) {
				t.Errorf("logged %s, want %q", line, c.logs)
			}
		})
	}
}

// rawServer serves health with certificates that OpenTLS would not take.
func rawServer(t *testing.T, pair runtimetest.Pair) string {
	t.Helper()
	certificate, err := tls.LoadX509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	listener := listenTCP(t)
	server := grpc.NewServer(grpc.Creds(credentials.NewServerTLSFromCert(&certificate)))
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return listener.Addr().String()
}

func TestAnExpiredServerIsNamed(t *testing.T) {
	t.Parallel()
	authority := runtimetest.NewAuthority(t, "ours")
	pair := authority.Issue(t, "orders", runtimetest.Expired)
	client := dial(t, "https://"+rawServer(t, pair), transport.DialOptions{TLS: openTLS(t, transport.TLSOptions{CA: authority.File}), ReadyWait: 200 * time.Millisecond})
	expect(t, ask(t.Context(), client), codes.Unavailable, `.*its certificate "CN=orders" .* is not accepted: it expired on `+pair.Leaf.NotAfter.UTC().Format(time.RFC3339)+": renew it")
}

func TestACertificateOfTheFutureIsNamed(t *testing.T) {
	t.Parallel()
	authority := runtimetest.NewAuthority(t, "ours")
	pair := authority.Issue(t, "orders", func(made *x509.Certificate) { made.NotBefore = time.Now().Add(30 * time.Minute) })
	client := dial(t, "https://"+rawServer(t, pair), transport.DialOptions{TLS: openTLS(t, transport.TLSOptions{CA: authority.File}), ReadyWait: 200 * time.Millisecond})
	expect(t, ask(t.Context(), client), codes.Unavailable, `.*it is not valid before .*: compare the clocks of both machines`)
}

// shake makes a handshake with settings that angz's own connections never have.
func shake(t *testing.T, address string, settings *tls.Config) error {
	t.Helper()
	conn, err := tls.Dial("tcp", address, settings)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Read(make([]byte, 1)) // a server of TLS 1.3 answers later
	return err
}

func TestAnExpiredClientIsNamed(t *testing.T) {
	t.Parallel()
	authority, log := runtimetest.NewAuthority(t, "ours"), newLines()
	server, client := authority.Issue(t, "orders"), authority.Issue(t, "billing", runtimetest.Expired)
	address := serveTLS(t, transport.ServerOptions{TLS: openTLS(t, transport.TLSOptions{
		Cert: server.Cert, Key: server.Key, CA: authority.File, ClientAuth: transport.ClientAuthRequire, Logger: log.logger(),
	})})
	certificate, err := tls.LoadX509KeyPair(client.Cert, client.Key)
	if err != nil {
		t.Fatal(err)
	}
	if err := shake(t, address, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2"}}); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("told %v", err)
	}
	if line := log.await(t, "turned away"); !strings.Contains(line, `its certificate \"CN=billing\"`) || !strings.Contains(line, "it expired on ") {
		t.Errorf("logged %s", line)
	}
}

func TestADowngradeIsRefused(t *testing.T) {
	t.Parallel()
	authority, log := runtimetest.NewAuthority(t, "ours"), newLines()
	pair := authority.Issue(t, "orders")
	address := serveTLS(t, transport.ServerOptions{TLS: openTLS(t, transport.TLSOptions{Cert: pair.Cert, Key: pair.Key, Logger: log.logger()})})
	err := shake(t, address, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11, NextProtos: []string{"h2"}})
	if err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("told %v", err)
	}
	log.await(t, "it offers no version of TLS from 1.2 on: update it")
	if err := shake(t, address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}); err == nil {
		t.Error("spoke another protocol than HTTP/2")
	}
}

func TestWhoSpeaksWithoutTLSIsTold(t *testing.T) {
	t.Parallel()
	authority, log := runtimetest.NewAuthority(t, "ours"), newLines()
	pair := authority.Issue(t, "orders")
	address := serveTLS(t, transport.ServerOptions{TLS: openTLS(t, transport.TLSOptions{Cert: pair.Cert, Key: pair.Key, Logger: log.logger()})})
	client := dial(t, address, transport.DialOptions{ReadyWait: 300 * time.Millisecond})
	expect(t, ask(t.Context(), client), codes.Unavailable, ".* is not reachable: it speaks TLS: write its address as https://"+address)
	log.await(t, "it speaks without TLS: it must address this server as https://")
}

func TestAnotherNameIsExpectedOnRequest(t *testing.T) {
	t.Parallel()
	authority := runtimetest.NewAuthority(t, "ours")
	pair := authority.Issue(t, "orders", func(made *x509.Certificate) {
		made.IPAddresses, made.DNSNames = nil, []string{"orders.example"}
	})
	address := serveTLS(t, transport.ServerOptions{TLS: openTLS(t, transport.TLSOptions{Cert: pair.Cert, Key: pair.Key})})
	client := dial(t, "https://"+address, transport.DialOptions{TLS: openTLS(t, transport.TLSOptions{CA: authority.File, ServerName: "orders.example"})})
	if got, err := whoAmI(t, client); got != "nobody" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

// served returns the name in the certificate that a server shows now.
func served(t *testing.T, address string) string {
	t.Helper()
	conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
}

func TestCertificatesAreReplacedUnderLiveConnections(t *testing.T) {
	t.Parallel()
	authority, log := runtimetest.NewAuthority(t, "ours"), newLines()
	pair, renewed := authority.Issue(t, "first"), authority.Issue(t, "second")
	address := serveTLS(t, transport.ServerOptions{TLS: openTLS(t, transport.TLSOptions{Cert: pair.Cert, Key: pair.Key, Logger: log.logger()})})
	client := dial(t, "https://"+address, transport.DialOptions{TLS: openTLS(t, transport.TLSOptions{CA: authority.File})})
	works := func() {
		t.Helper()
		if _, err := whoAmI(t, client); err != nil {
			t.Error(err)
		}
	}
	works()
	if got := served(t, address); got != "first" {
		t.Errorf("serves %q", got)
	}
	runtimetest.Replace(t, pair.Cert, renewed.Cert) // the key is still the old one
	for range 3 {
		if got := served(t, address); got != "first" {
			t.Errorf("serves %q with a file that is broken", got)
		}
	}
	if told := log.rest(); len(told) != 1 || !strings.Contains(told[0], "private key does not match") || !strings.Contains(told[0], pair.Key) {
		t.Errorf("logged %q, want once what is wrong", told)
	}
	works()
	runtimetest.Replace(t, pair.Key, renewed.Key)
	if got := served(t, address); got != "second" {
		t.Errorf("serves %q", got)
	}
	log.await(t, `certificate="\"CN=second\"`)
	works()
	if err := os.Remove(pair.Cert); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if got := served(t, address); got != "second" {
			t.Errorf("serves %q without a file", got)
		}
	}
	if told := log.rest(); len(told) != 1 || !strings.Contains(told[0], "no such file") {
		t.Errorf("logged %q, want once what is missing", told)
	}
}

func TestAuthoritiesAreReplaced(t *testing.T) {
	t.Parallel()
	before, after := runtimetest.NewAuthority(t, "before"), runtimetest.NewAuthority(t, "after")
	server, early, late := before.Issue(t, "orders"), before.Issue(t, "early"), after.Issue(t, "late")
	believed := filepath.Join(t.TempDir(), "clients.pem")
	runtimetest.Replace(t, believed, before.File)
	address := serveTLS(t, transport.ServerOptions{TLS: openTLS(t, transport.TLSOptions{
		Cert: server.Cert, Key: server.Key, ClientCA: believed, ClientAuth: transport.ClientAuthRequire,
	})})
	as := func(pair runtimetest.Pair) error {
		_, err := whoAmI(t, dial(t, "https://"+address, transport.DialOptions{ReadyWait: 300 * time.Millisecond, TLS: openTLS(t, transport.TLSOptions{
			CA: before.File, Cert: pair.Cert, Key: pair.Key,
		})}))
		return err
	}
	if err := as(early); err != nil {
		t.Error(err)
	}
	if err := as(late); err == nil {
		t.Error("an unknown authority is believed")
	}
	runtimetest.Replace(t, believed, after.File)
	if err := as(late); err != nil {
		t.Error(err)
	}
	if err := as(early); err == nil {
		t.Error("an authority is believed that was taken away")
	}
}

func TestChangesAreSeenWithoutAnyHandshake(t *testing.T) {
	t.Parallel()
	authority, log := runtimetest.NewAuthority(t, "ours"), newLines()
	pair, renewed := authority.Issue(t, "first"), authority.Issue(t, "second")
	watched := openTLS(t, transport.TLSOptions{Cert: pair.Cert, Key: pair.Key, Logger: log.logger()})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- watched.Run(ctx) }()
	runtimetest.Replace(t, pair.Cert, renewed.Cert)
	runtimetest.Replace(t, pair.Key, renewed.Key)
	log.await(t, "CN=second")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestFilesThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	authority := runtimetest.NewAuthority(t, "ours")
	pair, other, expired := authority.Issue(t, "orders"), authority.Issue(t, "other"), authority.Issue(t, "orders", runtimetest.Expired)
	garbage := filepath.Join(t.TempDir(), "garbage.pem")
	runtimetest.WriteFile(t, garbage, []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
	for _, c := range []struct {
		options transport.TLSOptions
		want    string
	}{
		{transport.TLSOptions{Cert: pair.Cert}, "transport.tls.cert is set, but transport.tls.key is not: set both"},
		{transport.TLSOptions{Key: pair.Key}, "transport.tls.key is set, but transport.tls.cert is not: set both"},
		{transport.TLSOptions{Cert: "/nowhere", Key: pair.Key}, "transport.tls.cert: open /nowhere: no such file or directory"},
		{transport.TLSOptions{Cert: pair.Cert, Key: "/nowhere"}, "transport.tls.key: open /nowhere: no such file or directory"},
		{transport.TLSOptions{Cert: pair.Cert, Key: other.Key}, "give a certificate and the key it was made for"},
		{transport.TLSOptions{Cert: pair.Key, Key: pair.Cert}, "give a certificate and the key it was made for"},
		{transport.TLSOptions{Cert: expired.Cert, Key: expired.Key}, "has expired: renew it"},
		{transport.TLSOptions{CA: "/nowhere"}, "transport.tls.ca: open /nowhere: no such file or directory"},
		{transport.TLSOptions{CA: pair.Key}, "holds no certificate: expected PEM"},
		{transport.TLSOptions{CA: garbage}, "its certificate 1 cannot be read"},
		{transport.TLSOptions{ClientCA: garbage}, "transport.tls.client_ca " + garbage + ": its certificate 1"},
		{transport.TLSOptions{ClientAuth: transport.ClientAuthRequire}, "there is no TLS: set transport.tls.cert and transport.tls.key"},
		{transport.TLSOptions{Cert: pair.Cert, Key: pair.Key, ClientAuth: transport.ClientAuthRequest}, "set transport.tls.client_ca"},
		{transport.TLSOptions{ClientAuth: "maybe"}, "expected none, request or require"},
	} {
		if got, err := transport.OpenTLS(c.options); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got %v, %v, want %q", c.options, got, err, c.want)
		}
	}
}

func TestACertificateIsDescribed(t *testing.T) {
	t.Parallel()
	pair := runtimetest.NewAuthority(t, "ours").Issue(t, "billing", func(made *x509.Certificate) {
		made.URIs = []*url.URL{{Scheme: "spiffe", Host: "shop", Path: "/billing"}}
		made.NotAfter = time.Date(2999, 1, 2, 3, 4, 5, 0, time.UTC)
		made.DNSNames = []string{"a", "b", "c", "d"}
	})
	want := `"CN=billing" (spiffe://shop/billing, a, b, c, d, 1 more; issued by "CN=ours"; valid until 2999-01-02T03:04:05Z)`
	if diff := cmp.Diff(want, transport.Describe(pair.Leaf)); diff != "" {
		t.Error(diff)
	}
}

func TestATokenGoesWithEveryCallButNeverInClear(t *testing.T) {
	t.Parallel()
	server, listener := transport.NewServer(transport.ServerOptions{}), listenTCP(t)
	testpb.RegisterTestServiceServer(server, &service{unary: func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		return &testpb.SimpleResponse{Username: fmt.Sprint(metadata.ValueFromIncomingContext(ctx, "authorization"))}, nil
	}})
	serve(t, server, listener)
	if got, err := whoAmI(t, dial(t, listener.Addr().String(), transport.DialOptions{Token: "s3cret"})); got != "[Bearer s3cret]" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	_, err := transport.Dial("gateway.example:1316", transport.DialOptions{Name: "the gateway", Token: "s3cret"})
	if want := "connect to the gateway at gateway.example:1316: the token would travel in clear: write the address as https://gateway.example:1316, or go by a Unix socket or localhost"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %q", err, want)
	}
	for _, address := range []string{"https://gateway.example:1316", "/somewhere/gateway.sock", "localhost:1316", "[::1]:1316"} {
		client, err := transport.Dial(address, transport.DialOptions{Token: "s3cret"})
		if err != nil {
			t.Fatal(err)
		}
		client.Close()
	}
}

func TestHeadersAreLimited(t *testing.T) {
	t.Parallel()
	address := serveTLS(t, transport.ServerOptions{MaxHeaderBytes: 2000})
	client := dial(t, address, transport.DialOptions{})
	if _, err := whoAmI(t, client); err != nil { // the limit is known with the connection
		t.Fatal(err)
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-long", strings.Repeat("x", 3000))
	if _, err := healthpb.NewHealthClient(client).Check(ctx, &healthpb.HealthCheckRequest{}); err == nil {
		t.Error("any header is taken")
	}
}

func TestCallsOfAConnectionAreLimited(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan struct{}, 10), make(chan struct{})
	server, listener := transport.NewServer(transport.ServerOptions{MaxStreams: 2}), listenTCP(t)
	testpb.RegisterTestServiceServer(server, &service{unary: func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		entered <- struct{}{}
		<-leave
		return &testpb.SimpleResponse{}, nil
	}})
	serve(t, server, listener)
	client := connected(t, listener.Addr().String())
	done := make(chan error)
	for range 2 {
		go func() {
			_, err := whoAmI(t, client)
			done <- err
		}()
	}
	<-entered
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := testpb.NewTestServiceClient(client).UnaryCall(ctx, &testpb.SimpleRequest{})
	expect(t, err, codes.DeadlineExceeded, ".*did not answer within.*")
	if len(entered) > 0 {
		t.Error("a third call was let in")
	}
	close(leave)
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestAConnectionThatIsOldIsMadeAnew(t *testing.T) {
	t.Parallel()
	address := serveTLS(t, transport.ServerOptions{MaxConnectionAge: 10 * time.Millisecond})
	client := connected(t, address)
	if err := client.AwaitLost(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := whoAmI(t, client); err != nil {
		t.Error(err)
	}
}

func TestALoopbackIsToldFromTheNetwork(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{"localhost": true, "127.0.0.1": true, "127.9.9.9": true, "::1": true, "0.0.0.0": false, "::": false, "10.0.0.1": false, "example.org": false, "": false} {
		if got := transport.IsLoopback(host); got != want {
			t.Errorf("%q: got %v", host, got)
		}
	}
}
