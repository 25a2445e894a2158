package guard_test

import (
	"context"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/guard"
	"github.com/angz-dev/angz/runtime/transport"
)

// count returns how many of some calls are let through.
func count(t *testing.T, n int, call func() error) (passed int) {
	t.Helper()
	for range n {
		switch err := call(); status.Code(err) {
		case codes.OK, codes.Unauthenticated:
			passed++
		case codes.ResourceExhausted:
		default:
			t.Error(err)
		}
	}
	return passed
}

func slow(o *guard.Options) { o.RequestsPerSecond, o.Burst = 10, 5 }

func TestEachIdentityHasItsOwnRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		made, _, _ := reading(t, "web:"+webToken+"\nops:"+opsToken+"\n", slow)
		as := func(token string) func() error { return func() error { return pass(t.Context(), made, token) } }
		if got := count(t, 20, as(webToken)); got != 5 {
			t.Errorf("at once %d, want 5", got)
		}
		if got := count(t, 20, as(opsToken)); got != 5 {
			t.Errorf("another at once %d, want 5", got)
		}
		time.Sleep(300 * time.Millisecond)
		if got := count(t, 20, as(webToken)); got != 3 {
			t.Errorf("after 300 ms %d, want 3", got)
		}
		err := pass(t.Context(), made, webToken)
		var retry *errdetails.RetryInfo
		for _, detail := range status.Convert(err).Details() {
			retry, _ = detail.(*errdetails.RetryInfo)
		}
		if delay := retry.GetRetryDelay().AsDuration(); delay != 100*time.Millisecond {
			t.Errorf("told to wait %s: %v", delay, err)
		}
		if want := `"web" makes more calls than limits.requests_per_second (10) and limits.burst (5) allow: try again in 100ms`; status.Convert(err).Message() != want {
			t.Errorf("told %v", err)
		}
		time.Sleep(100 * time.Millisecond)
		if err := pass(t.Context(), made, webToken); err != nil {
			t.Errorf("came back as told: %v", err)
		}
	})
}

// from returns a context of a call from an address.
func from(ctx context.Context, address string) context.Context {
	return peer.NewContext(ctx, &peer.Peer{Addr: &net.TCPAddr{IP: net.ParseIP(address), Port: 4711}})
}

func TestStrangersAreCountedByTheirAddress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		made := open(t, guard.Options{RequestsPerSecond: 10, Burst: 5})
		at := func(address string) func() error {
			return func() error { return pass(from(t.Context(), address), made, "") }
		}
		for _, c := range []struct {
			address string
			want    int
		}{
			{"10.0.0.1", 5}, {"10.0.0.1", 0}, {"::ffff:10.0.0.1", 0}, {"10.0.0.2", 5}, {"2001:db8::1", 5}, {"2001:db8::ffff", 0}, {"2001:db8:0:1::1", 5},
		} {
			if got := count(t, 20, at(c.address)); got != c.want {
				t.Errorf("%s: %d, want %d", c.address, got, c.want)
			}
		}
	})
}

func TestGuessingTokensIsSlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		made, _, _ := reading(t, "web:"+webToken+"\n", slow)
		if got := count(t, 100, func() error { return pass(from(t.Context(), "10.0.0.1"), made, "wrong-0123456789abcdef") }); got != 5 {
			t.Errorf("%d guesses, want 5", got)
		}
		if err := pass(from(t.Context(), "10.0.0.1"), made, webToken); err != nil {
			t.Errorf("who is known suffers from who guesses: %v", err)
		}
	})
}

func TestAFloodOfStrangersMakesNobodyForgottenWhoIsKnown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		made, _, _ := reading(t, "web:"+webToken+"\n", slow)
		if got := count(t, 20, func() error { return pass(t.Context(), made, webToken) }); got != 5 {
			t.Errorf("at once %d", got)
		}
		for i := range 50_000 {
			if err := pass(from(t.Context(), fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255)), made, ""); status.Code(err) != codes.Unauthenticated {
				t.Fatal(err)
			}
		}
		if got := count(t, 20, func() error { return pass(t.Context(), made, webToken) }); got != 0 {
			t.Errorf("%d more after the flood", got)
		}
	})
}

func TestHealthIsNotCounted(t *testing.T) {
	t.Parallel()
	made := open(t, guard.Options{RequestsPerSecond: 1, Burst: 1})
	client := dial(t, serve(t, made, transport.ServerOptions{}, anyPort).String(), transport.DialOptions{})
	for range 20 {
		if _, err := calls["health"](t.Context(), client); err != nil {
			t.Error(err)
		}
	}
}

func TestALongStreamIsSlowedDownRatherThanRefused(t *testing.T) {
	t.Parallel()
	made := open(t, guard.Options{RequestsPerSecond: 200, Burst: 1})
	client := dial(t, serve(t, made, transport.ServerOptions{}, anyPort).String(), transport.DialOptions{})
	stream, err := pb.NewEventQueryClient(client).Synchronize(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	const queries = 21
	for range queries {
		if err := stream.Send(&pb.Query{Domain: "order"}); err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(began); took < 90*time.Millisecond {
		t.Errorf("%d queries took %s, want 100 ms", queries, took)
	}
}
