package guard_test

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/guard"
	"github.com/angz-dev/angz/runtime/runtimetest"
	"github.com/angz-dev/angz/runtime/transport"
)

// behind is what stands behind the door: it answers everything, and with events
// of the domains order, stock and payment where several can be asked for.
type behind struct {
	pb.UnimplementedCommandGatewayServer
	pb.UnimplementedEventQueryServer
	pb.UnimplementedEventStreamServer
	pb.UnimplementedBusinessCoordinatorServer
	pb.UnimplementedProjectorCoordinatorServer
}

var everything = []string{"order", "stock", "payment"}

func events(domain string) *pb.EventBook { return &pb.EventBook{Cover: &pb.Cover{Domain: domain}} }

func (behind) Execute(_ *pb.CommandBook, stream grpc.ServerStreamingServer[pb.EventBook]) error {
	for _, domain := range everything {
		if err := stream.Send(events(domain)); err != nil {
			return err
		}
	}
	return nil
}

func (behind) ExecuteSync(_ context.Context, request *pb.SyncCommandBook) (*pb.CommandResponse, error) {
	answer := &pb.CommandResponse{Events: events(request.GetCommand().GetCover().GetDomain())}
	for _, domain := range everything {
		answer.Projections = append(answer.Projections, &pb.Projection{Cover: &pb.Cover{Domain: domain}})
	}
	return answer, nil
}

// handler is the service of the other two, whose methods have the same name.
type handler struct {
	pb.UnimplementedBusinessCoordinatorServer
}

func (handler) Handle(context.Context, *pb.BusinessRequest) (*pb.CommandResponse, error) {
	return &pb.CommandResponse{}, nil
}

type projecting struct {
	pb.UnimplementedProjectorCoordinatorServer
}

func (projecting) Handle(context.Context, *pb.EventBook) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, nil
}

func (behind) GetEventBook(_ context.Context, query *pb.Query) (*pb.EventBook, error) {
	if query.GetDomain() == "" {
		return events("payment"), nil
	}
	return events(query.GetDomain()), nil
}

func (behind) GetEvents(query *pb.Query, stream grpc.ServerStreamingServer[pb.EventBook]) error {
	if query.GetDomain() != "" {
		return stream.Send(events(query.GetDomain()))
	}
	return behind{}.Execute(nil, stream)
}

func (behind) Synchronize(stream grpc.BidiStreamingServer[pb.Query, pb.EventBook]) error {
	for {
		query, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(events(query.GetDomain())); err != nil {
			return err
		}
	}
}

func (behind) GetAggregateRoots(_ *emptypb.Empty, stream grpc.ServerStreamingServer[pb.AggregateRoot]) error {
	for _, domain := range everything {
		if err := stream.Send(&pb.AggregateRoot{Domain: domain}); err != nil {
			return err
		}
	}
	return nil
}

func (behind) Subscribe(_ *pb.EventStreamFilter, stream grpc.ServerStreamingServer[pb.EventBook]) error {
	return behind{}.Execute(nil, stream)
}

func open(t testing.TB, options guard.Options) *guard.Guard {
	t.Helper()
	made, err := guard.New(options)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// serve runs a door with a guard and returns where it is.
func serve(t testing.TB, made *guard.Guard, options transport.ServerOptions, address transport.Address) net.Addr {
	t.Helper()
	options.Unary, options.Stream = []grpc.UnaryServerInterceptor{made.Unary()}, []grpc.StreamServerInterceptor{made.Stream()}
	server := transport.NewServer(options)
	pb.RegisterCommandGatewayServer(server, behind{})
	pb.RegisterEventQueryServer(server, behind{})
	pb.RegisterEventStreamServer(server, behind{})
	pb.RegisterBusinessCoordinatorServer(server, handler{})
	pb.RegisterProjectorCoordinatorServer(server, projecting{})
	listener, err := transport.Listen(address)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return listener.Addr()
}

var anyPort = transport.Address{Network: "tcp", Address: "127.0.0.1:0"}

func dial(t testing.TB, address string, options transport.DialOptions) *transport.Client {
	t.Helper()
	options.Name = "the gateway"
	client, err := transport.Dial(address, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

const (
	webToken = "web-0123456789abcdef"
	opsToken = "ops-0123456789abcdef"
	nilToken = "nil-0123456789abcdef"
)

// shop is a guard of three callers: web, which orders and reads orders and
// stocks, ops, which may do everything, and nil, for whom there is no rule.
func shop(t testing.TB, edit ...func(*guard.Options)) *guard.Guard {
	t.Helper()
	file := filepath.Join(t.TempDir(), "tokens")
	sum := sha256.Sum256([]byte(opsToken))
	runtimetest.WriteFile(t, file, []byte("# callers\nweb:"+webToken+"\n\nops:sha256:"+hex.EncodeToString(sum[:])+"\nnil:"+nilToken+"\n"))
	options := guard.Options{
		Modes: []guard.Mode{guard.Token}, TokensFile: file,
		Rules: []guard.Rule{
			{Identity: "web", Commands: []string{"order"}},
			{Identity: "w*b", Queries: []string{"order", "st*"}},
			{Identity: "ops", Admin: true},
		},
	}
	for _, change := range edit {
		change(&options)
	}
	return open(t, options)
}

func command(domain string) *pb.CommandBook { return runtimetest.Command(domain, "1", 0, "Do") }

// drain returns the domains of a stream's books.
func drain[T interface{ GetDomain() string }](stream interface{ Recv() (T, error) }, err error) ([]string, error) {
	if err != nil {
		return nil, err
	}
	var domains []string
	for {
		next, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return domains, nil
		}
		if err != nil {
			return domains, err
		}
		domains = append(domains, next.GetDomain())
	}
}

// covers reads the domains of books from their covers.
type covers struct {
	grpc.ServerStreamingClient[pb.EventBook]
}

func (c covers) Recv() (*pb.Cover, error) {
	next, err := c.ServerStreamingClient.Recv()
	return next.GetCover(), err
}

// calls are one of each kind of call; each returns the domains it got.
var calls = map[string]func(context.Context, grpc.ClientConnInterface) ([]string, error){
	"execute order": func(ctx context.Context, conn grpc.ClientConnInterface) ([]string, error) {
		stream, err := pb.NewCommandGatewayClient(conn).Execute(ctx, command("order"))
		return drain(covers{stream}, err)
	},
	"execute payment": func(ctx context.Context, conn grpc.ClientConnInterface) ([]string, error) {
		stream, err := pb.NewCommandGatewayClient(conn).Execute(ctx, command("payment"))
		return drain(covers{stream}, err)
	},
	"execute sync": func(ctx context.Context, conn grpc.ClientConnInterface) ([]string, error) {
		answer, err := pb.NewCommandGatewayClient(conn).ExecuteSync(ctx, &pb.SyncCommandBook{Command: command("order")})
		var domains []string
		for _, projection := range answer.GetProjections() {
			domains = append(domains, projection.GetCover().GetDomain())
		}
		return domains, err
	},
	"friendly payment": func(ctx context.Context, conn grpc.ClientConnInterface) ([]string, error) {
		_, err := pb.NewBusinessCoordinatorClient(conn).Handle(ctx, &pb.BusinessRequest{Command: &pb.BusinessCommand{Domain: "payment"}})
		return nil, err
	},
	"nameless": func(ctx context.Context, conn grpc.ClientConnInterface) ([]string, error) {
		_, err := pb.NewCommandGatewayClient(conn).ExecuteSync(ctx, &pb.SyncCommandBook{})
		return nil, err
	},
	"fact": func(ctx context.Context, conn grpc.ClientConnInterface) ([]string, error) {
		fact := command("order")
		fact.Fact = true
		_, err := pb.NewCommandGatewayClient(conn).ExecuteSync(ctx, &pb.SyncCommandBook{Command: fact})
		return nil, err
	},
	"saga": func(ctx context.Context, conn grpc.ClientConnInterface) ([]string, error) {
		forged := command("order")
		forged.SagaOrigin = &pb.SagaCommandOrigin{SagaName: "loyalty"}
		_, err := pb.NewCommandGatewayClient(conn).ExecuteSync(ctx, &pb.SyncCommandBook{Command: forged})
		return nil, err
	},
	"query stock": func(ctx context.Context, conn grpc.ClientConnInterface) ([]string, error) {
		stream, err := pb.NewEventQueryClient(conn).GetEvents(ctx, &pb.Query{Domain: "stock"})
		return drain(covers{stream}, err)
	},
	"query payment": func(ctx context.Context, conn grpc.ClientConnInterface) ([]string, error) {
		_, err := pb.NewEventQueryClient(conn).GetEventBook(ctx, &pb.Query{Domain: "payment"})
		return nil, err
	},
	"query nothing": func(ctx context.Context, conn grpc.ClientConnInterface) ([]string, error) {
		_, err := pb.NewEventQueryClient(conn).GetEventBook(ctx, &pb.Query{})
		return nil, err
	},
	"correlation": func(ctx context.Context, conn grpc.ClientConnInterface) ([]string, error) {
		stream, err := pb.NewEventQueryClient(conn).GetEvents(ctx, &pb.Query{CorrelationId: "c"})
		return drain(covers{stream}, err)
	},
	"correlated book": func(ctx context.Context, conn grpc.ClientConnInterface) ([]string, error) {
		_, err := pb.NewEventQueryClient(conn).GetEventBook(ctx, &pb.Query{CorrelationId: "c"})
		return nil, err
	},
	"subscribe": func(ctx context.Context, conn grpc.ClientConnInterface) ([]string, error) {
		stream, err := pb.NewEventStreamClient(conn).Subscribe(ctx, &pb.EventStreamFilter{CorrelationId: "c"})
		return drain(covers{stream}, err)
	},
	"roots": func(ctx context.Context, conn grpc.ClientConnInterface) ([]string, error) {
		return drain(pb.NewEventQueryClient(conn).GetAggregateRoots(ctx, &emptypb.Empty{}))
	},
	"project": func(ctx context.Context, conn grpc.ClientConnInterface) ([]string, error) {
		_, err := pb.NewProjectorCoordinatorClient(conn).Handle(ctx, events("order"))
		return nil, err
	},
	"reflect": func(ctx context.Context, conn grpc.ClientConnInterface) ([]string, error) {
		stream, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
		if err == nil {
			err = stream.CloseSend()
		}
		if err == nil {
			_, err = stream.Recv()
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return nil, err
	},
	"health": func(ctx context.Context, conn grpc.ClientConnInterface) ([]string, error) {
		_, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
		return nil, err
	},
}

// outcome is what a caller gets of a call.
type outcome struct {
	Code    string
	Domains []string
}

func TestWhatEachCallerMayDo(t *testing.T) {
	t.Parallel()
	address := serve(t, shop(t), transport.ServerOptions{}, anyPort).String()
	ok := func(domains ...string) outcome { return outcome{"OK", domains} }
	denied, unknown, invalid := outcome{Code: "PermissionDenied"}, outcome{Code: "Unauthenticated"}, outcome{Code: "InvalidArgument"}
	want := map[string]map[string]outcome{
		"web": {
			"execute order": ok("order", "stock"), "execute payment": denied, "execute sync": ok("order", "stock"), "friendly payment": denied,
			"nameless": invalid, "fact": denied, "saga": denied, "query stock": ok("stock"), "query payment": denied, "query nothing": invalid,
			"correlation": ok("order", "stock"), "correlated book": denied, "subscribe": ok("order", "stock"), "roots": ok("order", "stock"),
			"project": denied, "reflect": ok(), "health": ok(),
		},
		"ops": {}, "nil": {}, "": {},
	}
	for name := range calls {
		want["ops"][name], want["nil"][name], want[""][name] = ok(), denied, unknown
	}
	for _, name := range []string{"execute order", "execute payment", "execute sync", "correlation", "subscribe", "roots"} {
		want["ops"][name] = ok(everything...)
	}
	want["ops"]["query stock"] = ok("stock")
	want["nil"]["reflect"], want["nil"]["health"], want[""]["health"] = ok(), ok(), ok()
	for who, token := range map[string]string{"web": webToken, "ops": opsToken, "nil": nilToken, "": ""} {
		client, got := dial(t, address, transport.DialOptions{Token: token}), map[string]outcome{}
		for name, call := range calls {
			domains, err := call(t.Context(), client)
			got[name] = outcome{status.Code(err).String(), domains}
		}
		if diff := cmp.Diff(want[who], got); diff != "" {
			t.Errorf("%q: %s", who, diff)
		}
	}
}

func TestAStreamOfQueriesIsCheckedOneByOne(t *testing.T) {
	t.Parallel()
	client := dial(t, serve(t, shop(t), transport.ServerOptions{}, anyPort).String(), transport.DialOptions{Token: webToken})
	stream, err := pb.NewEventQueryClient(client).Synchronize(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, domain := range []string{"order", "stock", "payment"} {
		if err := stream.Send(&pb.Query{Domain: domain}); err != nil {
			t.Fatal(err)
		}
		answer, err := stream.Recv()
		if want := map[bool]codes.Code{false: codes.OK, true: codes.PermissionDenied}[domain == "payment"]; status.Code(err) != want {
			t.Errorf("%s: got %v, %v", domain, answer, err)
		}
	}
}

func TestEverybodyMayDoEverythingWithoutModes(t *testing.T) {
	t.Parallel()
	client := dial(t, serve(t, open(t, guard.Options{}), transport.ServerOptions{}, anyPort).String(), transport.DialOptions{})
	for name, call := range calls {
		if _, err := call(t.Context(), client); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReflectionCanBePublic(t *testing.T) {
	t.Parallel()
	made := shop(t, func(o *guard.Options) { o.PublicReflection = true })
	if _, err := calls["reflect"](t.Context(), dial(t, serve(t, made, transport.ServerOptions{}, anyPort).String(), transport.DialOptions{})); err != nil {
		t.Error(err)
	}
}

// TestRefusalsNameTheNextStep holds the words.
func TestRefusalsNameTheNextStep(t *testing.T) {
	t.Parallel()
	address := serve(t, shop(t), transport.ServerOptions{}, anyPort).String()
	for _, c := range []struct{ call, token, want string }{
		{"query stock", "", "who calls is not known: send a token in the metadata, as authorization: Bearer TOKEN"},
		{"query stock", "some-0123456789abcdef", "the bearer token is not known here: it may have been replaced; ask the operator of this system for the current one"},
		{"query stock", nilToken, `"nil" may not read events: no rule of gateway.auth.rules is for it: add one with queries`},
		{"query payment", webToken, `"web" may not read events of the domain "payment": gateway.auth.rules[0].queries or gateway.auth.rules[1].queries would allow it`},
		{"execute payment", webToken, `"web" may not send commands to the domain "payment": gateway.auth.rules[0].commands or gateway.auth.rules[1].commands would allow it`},
		{"nameless", webToken, "the command names no domain: set cover.domain"},
		{"query nothing", webToken, "the query names neither a domain nor a correlation: set domain, or correlation_id"},
		{"project", webToken, `"web" may not call /angzarr.ProjectorCoordinator/Handle: gateway.auth.rules[0].admin or gateway.auth.rules[1].admin would allow it`},
		{"saga", webToken, `"web" may not send commands in a saga's name (saga_origin): gateway.auth.rules[0].admin or gateway.auth.rules[1].admin would allow it`},
	} {
		_, err := calls[c.call](t.Context(), dial(t, address, transport.DialOptions{Token: c.token}))
		if got := status.Convert(err).Message(); got != c.want {
			t.Errorf("%s: got %q, want %q", c.call, got, c.want)
		}
	}
}

func TestAuthorizationOfOtherKindsIsRefused(t *testing.T) {
	t.Parallel()
	client := dial(t, serve(t, shop(t), transport.ServerOptions{}, anyPort).String(), transport.DialOptions{})
	for _, c := range []struct {
		shown []string
		want  codes.Code
	}{
		{[]string{"bearer " + webToken}, codes.OK},
		{[]string{"Bearer  " + webToken + " "}, codes.OK},
		{[]string{webToken}, codes.Unauthenticated},
		{[]string{"Basic " + webToken}, codes.Unauthenticated},
		{[]string{"Bearer"}, codes.Unauthenticated},
		{[]string{"Bearer " + webToken + "x"}, codes.Unauthenticated},
		{[]string{"Bearer web"}, codes.Unauthenticated},
		{[]string{"Bearer " + webToken, "Bearer " + opsToken}, codes.Unauthenticated},
	} {
		ctx := t.Context()
		for _, value := range c.shown {
			ctx = metadata.AppendToOutgoingContext(ctx, "authorization", value)
		}
		if _, err := calls["query stock"](ctx, client); status.Code(err) != c.want || strings.Contains(status.Convert(err).Message(), webToken) {
			t.Errorf("%q: got %v", c.shown, err)
		}
	}
}

// certified is a door for clients with certificates, and what a client needs to
// pass it.
func certified(t *testing.T, modes []guard.Mode, rules []guard.Rule) (as func(pair *runtimetest.Pair, token string) *transport.Client, authority *runtimetest.Authority) {
	t.Helper()
	authority = runtimetest.NewAuthority(t, "ours")
	pair := authority.Issue(t, "gateway")
	made := shop(t, func(o *guard.Options) { o.Modes, o.Rules = modes, rules })
	secure, err := transport.OpenTLS(transport.TLSOptions{Cert: pair.Cert, Key: pair.Key, CA: authority.File, ClientAuth: transport.ClientAuthRequest})
	if err != nil {
		t.Fatal(err)
	}
	address := serve(t, made, transport.ServerOptions{TLS: secure}, anyPort).String()
	return func(pair *runtimetest.Pair, token string) *transport.Client {
		options := transport.TLSOptions{CA: authority.File}
		if pair != nil {
			options.Cert, options.Key = pair.Cert, pair.Key
		}
		used, err := transport.OpenTLS(options)
		if err != nil {
			t.Fatal(err)
		}
		return dial(t, "https://"+address, transport.DialOptions{TLS: used, Token: token})
	}, authority
}

func TestACertificateSaysWhoCalls(t *testing.T) {
	t.Parallel()
	as, authority := certified(t, []guard.Mode{guard.MTLS}, []guard.Rule{{Identity: "spiffe://shop/*", Queries: []string{"stock"}}, {Identity: "billing", Queries: []string{"stock"}}})
	for name, c := range map[string]struct {
		edit func(*x509.Certificate)
		want codes.Code
	}{
		"a URI": {func(made *x509.Certificate) { made.URIs = []*url.URL{{Scheme: "spiffe", Host: "shop", Path: "/web/1"}} }, codes.OK},
		"another URI": {func(made *x509.Certificate) {
			made.URIs = []*url.URL{{Scheme: "spiffe", Host: "shop.example", Path: "/web/1"}}
		}, codes.PermissionDenied},
		"a DNS name":      {func(made *x509.Certificate) { made.DNSNames = []string{"other", "billing"} }, codes.OK},
		"the common name": {func(made *x509.Certificate) { made.DNSNames = nil }, codes.OK},
		// Authorities check alternative names more strictly than the common one.
		"a common name beside other names": {func(*x509.Certificate) {}, codes.PermissionDenied},
	} {
		pair := authority.Issue(t, "billing", c.edit)
		if _, err := calls["query stock"](t.Context(), as(&pair, "")); status.Code(err) != c.want {
			t.Errorf("%s: got %v", name, err)
		}
	}
	_, err := calls["query stock"](t.Context(), as(nil, ""))
	if want := "who calls is not known: connect with a client certificate that holds a name"; status.Code(err) != codes.Unauthenticated || status.Convert(err).Message() != want {
		t.Errorf("got %v, want %q", err, want)
	}
	if _, err := calls["query stock"](t.Context(), as(nil, webToken)); status.Code(err) != codes.Unauthenticated {
		t.Errorf("a token is taken without the mode for it: %v", err)
	}
}

func TestAWrongTokenIsNotMadeGoodByACertificate(t *testing.T) {
	t.Parallel()
	as, authority := certified(t, []guard.Mode{guard.Token, guard.MTLS}, []guard.Rule{{Identity: "*", Queries: []string{"*"}}})
	pair := authority.Issue(t, "billing")
	for _, c := range []struct {
		pair  *runtimetest.Pair
		token string
		want  codes.Code
	}{
		{&pair, "", codes.OK}, {nil, webToken, codes.OK}, {&pair, webToken, codes.OK},
		{&pair, "wrong-0123456789abcdef", codes.Unauthenticated}, {nil, "", codes.Unauthenticated},
	} {
		if _, err := calls["query stock"](t.Context(), as(c.pair, c.token)); status.Code(err) != c.want {
			t.Errorf("%v %q: got %v", c.pair != nil, c.token, err)
		}
	}
}

func TestOptionsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	rules := []guard.Rule{{Identity: "a", Admin: true}}
	for _, c := range []struct {
		options guard.Options
		want    string
	}{
		{guard.Options{Modes: []guard.Mode{"basic"}, Rules: rules}, `gateway.auth.mode: found "basic", expected token or mtls`},
		{guard.Options{Modes: []guard.Mode{guard.Token}, Rules: rules}, "set gateway.auth.tokens_file"},
		{guard.Options{Modes: []guard.Mode{guard.Token}, Rules: rules, TokensFile: "/nowhere"}, "gateway.auth.tokens_file: stat /nowhere: no such file"},
		{guard.Options{Modes: []guard.Mode{guard.MTLS}}, "gateway.auth.rules is empty, so that nobody may do anything: add a rule"},
		{guard.Options{Rules: []guard.Rule{{Admin: true}}}, "gateway.auth.rules[0].identity is empty"},
		{guard.Options{Rules: []guard.Rule{{Identity: "a"}}}, `gateway.auth.rules[0] for "a" allows nothing`},
		{guard.Options{RequestsPerSecond: -1}, "cannot be below zero"},
	} {
		if _, err := guard.New(c.options); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}

func TestADoorIsDescribed(t *testing.T) {
	t.Parallel()
	authority := runtimetest.NewAuthority(t, "ours")
	pair := authority.Issue(t, "gateway")
	secure, err := transport.OpenTLS(transport.TLSOptions{Cert: pair.Cert, Key: pair.Key})
	if err != nil {
		t.Fatal(err)
	}
	mutual, err := transport.OpenTLS(transport.TLSOptions{Cert: pair.Cert, Key: pair.Key, CA: authority.File, ClientAuth: transport.ClientAuthRequire})
	if err != nil {
		t.Fatal(err)
	}
	checked := shop(t)
	at := func(address string) net.Addr {
		parsed, err := net.ResolveTCPAddr("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	for _, c := range []struct {
		door    guard.Door
		want    string
		exposed bool
	}{
		{guard.Door{Address: at("127.0.0.1:1316")}, "gateway on 127.0.0.1:1316: for this machine only, without TLS, anybody may do everything", false},
		{guard.Door{Address: at("0.0.0.0:1316")}, "gateway on 0.0.0.0:1316: on all interfaces, for other machines, without TLS, anybody may do everything", true},
		{guard.Door{Address: at("[::]:1316"), Guard: checked}, `gateway on \[::\]:1316: on all interfaces, for other machines, without TLS, callers show a token and may do what 3 rules say`, true},
		{guard.Door{Address: at("10.0.0.1:1316"), TLS: secure}, `gateway on 10.0.0.1:1316: on one of its interfaces, for other machines, TLS with the certificate "CN=gateway" .*, anybody may do everything`, true},
		{guard.Door{Address: at("10.0.0.1:1316"), TLS: secure, Guard: checked}, `.*, TLS with .*, callers show a token and may do what 3 rules say`, false},
		{guard.Door{Address: at("10.0.0.1:1316"), TLS: mutual}, `.*, TLS with .*, client certificates required, anybody may do everything`, false},
		{guard.Door{Address: &net.UnixAddr{Name: "/run/gateway.sock", Net: "unix"}, TLS: secure}, "gateway on the socket /run/gateway.sock: for this user of this machine, without TLS, anybody may do everything", false},
	} {
		c.door.Name = "gateway"
		got, exposed := c.door.Describe()
		if !regexp.MustCompile("^"+c.want+"$").MatchString(got) || exposed != c.exposed {
			t.Errorf("got %q, %v, want %q, %v", got, exposed, c.want, c.exposed)
		}
	}
}

func TestServicesLearnWhoCalls(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		made  *guard.Guard
		token string
		who   string
		code  codes.Code
	}{
		{shop(t), opsToken, "ops", codes.OK},
		{shop(t), webToken, "", codes.PermissionDenied},
		{open(t, guard.Options{}), "", "", codes.OK},
	} {
		ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs("authorization", "Bearer "+c.token))
		who := ""
		_, err := c.made.Unary()(ctx, &pb.DeadLetterDecision{}, &grpc.UnaryServerInfo{FullMethod: pb.Admin_Retry_FullMethodName},
			func(ctx context.Context, _ any) (any, error) {
				who = guard.Caller(ctx)
				return &pb.DeadLettersDecided{}, nil
			})
		if who != c.who || status.Code(err) != c.code {
			t.Errorf("%q: called by %q, %v", c.token, who, err)
		}
	}
}
