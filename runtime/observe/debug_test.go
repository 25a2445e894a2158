package observe_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/angz-dev/angz/runtime/observe"
)

// quiet is a service that answers with nothing.
type quiet struct {
	testpb.UnimplementedTestServiceServer
}

func (q *quiet) register(to grpc.ServiceRegistrar) { testpb.RegisterTestServiceServer(to, q) }

func (*quiet) EmptyCall(context.Context, *testpb.Empty) (*testpb.Empty, error) {
	return &testpb.Empty{}, nil
}

// call makes one call, and one about health, which leaves no span.
func (*quiet) call(t testing.TB, conn grpc.ClientConnInterface) error {
	t.Helper()
	if _, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
		return err
	}
	_, err := testpb.NewTestServiceClient(conn).EmptyCall(t.Context(), &testpb.Empty{})
	return err
}

// show starts a debug server on a free port.
func show(t *testing.T, options observe.DebugOptions) string {
	t.Helper()
	options.Address, options.Chosen = "127.0.0.1:0", true
	debug, err := observe.ListenDebug(options)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- debug.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return "http://" + debug.Address()
}

func get(t *testing.T, url, host string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = host
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

func TestTheDebugServerShowsWhatItHas(t *testing.T) {
	t.Parallel()
	missing := make(chan []string, 1)
	missing <- []string{"the event store", "order's service"}
	address := show(t, observe.DebugOptions{
		Metrics: observe.NewMetrics(observe.Build{}),
		Missing: func() []string { now := <-missing; missing <- now; return now },
	})
	for _, c := range []struct {
		path     string
		code     int
		contains string
	}{
		{"/", 200, "/metrics"},
		{"/metrics", 200, "angz_build_info"},
		{"/metrics", 200, "go_goroutines"},
		{"/healthz", 200, "ok"},
		{"/readyz", 503, "waiting for the event store, order's service"},
		{"/debug/pprof/", 200, "goroutine ("},
		{"/debug/pprof/goroutine?debug=1", 200, "goroutine profile:"},
		{"/debug/pprof/heap", 200, "\x1f\x8b"},
		{"/debug/pprof/profile?seconds=0.01", 200, ""},
		{"/debug/pprof/trace?seconds=0.01", 200, "trace"},
		{"/debug/pprof/profile?seconds=1e9", 400, "expected a number up to 120"},
		{"/debug/pprof/trace?seconds=NaN", 400, "expected a number up to 120"},
		{"/debug/pprof/nothing", 404, `no profile "nothing"`},
		{"/debug/vars", 404, ""},
		{"/debug/requests", 404, ""},
	} {
		if code, text := get(t, address+c.path, ""); code != c.code || !strings.Contains(text, c.contains) {
			t.Errorf("%s: %d %.300s", c.path, code, text)
		}
	}
	<-missing
	missing <- nil
	if code, text := get(t, address+"/readyz", ""); code != 200 || text != "ready\n" {
		t.Errorf("/readyz: %d %s", code, text)
	}
}

func TestALoopbackDebugServerAnswersNoNameThatOthersGaveThisMachine(t *testing.T) {
	t.Parallel()
	address := show(t, observe.DebugOptions{Metrics: observe.NewMetrics(observe.Build{})})
	for host, want := range map[string]int{"evil.example": 403, "evil.example:9464": 403, "localhost:9464": 200, "127.0.0.1:1": 200, "[::1]:9464": 200, "[::1]": 200} {
		if code, _ := get(t, address+"/metrics", host); code != want {
			t.Errorf("%s: %d, want %d", host, code, want)
		}
	}
}

// This test is not parallel: the runtime traces itself for one at a time.
func TestAProfileUnderWayEndsWithTheServer(t *testing.T) {
	debug, err := observe.ListenDebug(observe.DebugOptions{Address: "127.0.0.1:0", Chosen: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- debug.Run(ctx) }()
	response, err := http.Get("http://" + debug.Address() + "/debug/pprof/trace?seconds=100")
	if err != nil {
		t.Fatal(err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	_, _ = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
}

func TestATakenAddressIsAWarningUnlessItWasChosen(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	taken := listener.Addr().String()
	log, written := logger(t, observe.Options{Format: "text"})
	debug, err := observe.ListenDebug(observe.DebugOptions{Address: taken, Logger: log})
	if debug != nil || err != nil || !strings.Contains(written.String(), "give each process of a machine its own debug.address") {
		t.Errorf("%v, %v: %s", debug, err, written)
	}
	if _, err = observe.ListenDebug(observe.DebugOptions{Address: taken, Chosen: true}); err == nil || !strings.HasSuffix(err.Error(), "; choose another debug.address, or off") {
		t.Errorf("%v", err)
	}
	if debug, err = observe.ListenDebug(observe.DebugOptions{}); debug != nil || err != nil {
		t.Errorf("no address: %v, %v", debug, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := debug.Run(ctx); err != nil || debug.Address() != "" || debug.Close() != nil {
		t.Errorf("none: %v", err)
	}
}
