package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/angz-dev/angz/runtime/observe"
)

// DialOptions describe a connection.
type DialOptions struct {
	Name            string        // of the other side, for errors: "domain order's service"
	MaxMessageBytes int           // of one message either way; 16 MiB
	ReadyWait       time.Duration // how long a call waits for the connection; 5 s
	// TLS is used for addresses that begin with https://, and for no others. Nil
	// believes the authorities of the system and shows no certificate.
	TLS *TLS
	// Token is sent with every call, as a bearer token. It never travels in
	// clear over a network.
	Token string
	// Keepalive is how often an idle connection is tried, so that a network that
	// loses everything is noticed. Zero is never: a server that is not angz may
	// take it for an attack. It is 10 s at least.
	Keepalive time.Duration
}

// DefaultMaxMessageBytes bounds one message where nothing else is said.
const DefaultMaxMessageBytes = 16 << 20

// Client is a connection that comes up by itself and comes back by itself. It is
// a grpc.ClientConnInterface and safe for concurrent use.
type Client struct {
	conn    *grpc.ClientConn
	address string
	options DialOptions
	failure atomic.Pointer[error] // why the newest attempt to connect failed
	// troubles counts the connections that failed or ended. A call during which
	// it stands still was not hit by any of them.
	troubles atomic.Uint64
}

// Dial returns a connection to an address. It does not wait for it.
func Dial(address string, options DialOptions) (*Client, error) {
	parsed, err := ParseAddress(address)
	if err != nil {
		return nil, err
	}
	if options.MaxMessageBytes == 0 {
		options.MaxMessageBytes = DefaultMaxMessageBytes
	}
	if options.ReadyWait == 0 {
		options.ReadyWait = 5 * time.Second
	}
	c := &Client{address: parsed.String(), options: options}
	secure, err := c.credentials(parsed)
	if err != nil {
		return nil, err
	}
	extra, err := c.extra(parsed)
	if err != nil {
		return nil, err
	}
	c.conn, err = grpc.NewClient(parsed.target(), append(extra,
		grpc.WithTransportCredentials(handshakes{secure, c}),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return c.dial(ctx, parsed) }),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(options.MaxMessageBytes), grpc.MaxCallSendMsgSize(options.MaxMessageBytes)),
		grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(), grpc.WithNoProxy(),
		grpc.WithInitialWindowSize(1<<20), grpc.WithInitialConnWindowSize(1<<20),
		grpc.WithIdleTimeout(0),
	)...)
	if err != nil {
		return nil, fmt.Errorf("connect to %s at %s: %w", options.Name, address, err)
	}
	return c, nil
}

// errSilent is why a connection does not come up when dialling worked.
var errSilent = errors.New("it accepts connections but has not answered as a gRPC server does")

func (c *Client) dial(ctx context.Context, address Address) (net.Conn, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, address.Network, address.Address)
	if err != nil {
		c.failed(err)
		return nil, err
	}
	if failure := c.failure.Load(); failure == nil || !errors.As(*failure, new(*failedHandshake)) {
		c.failure.Store(&errSilent)
	}
	return &watched{Conn: conn, client: c, secure: address.TLS}, nil
}

func (c *Client) failed(err error) {
	c.failure.Store(&err)
	c.troubles.Add(1)
}

// watched is a connection whose end is counted. grpc-go closes a connection that
// it gives up, for whatever reason, before it tells the calls on it.
type watched struct {
	net.Conn
	client *Client
	secure bool // what is read is TLS
	heard  bool
}

// Read listens to the first byte for a server that speaks TLS, which has no
// other way to say so.
func (w *watched) Read(into []byte) (int, error) {
	n, err := w.Conn.Read(into)
	if !w.heard && n > 0 {
		w.heard = true
		if into[0] == recordAlert && !w.secure {
			w.client.failed(&failedHandshake{errors.New("it speaks TLS: write its address as https://" + w.client.address)})
		} else if !w.secure {
			w.client.failure.Store(&errSilent)
		}
	}
	return n, err
}

func (w *watched) Close() error {
	w.client.troubles.Add(1)
	return w.Conn.Close()
}

// failedHandshake says more than that dialling works, which it always does
// before.
type failedHandshake struct{ error }

// handshakes remembers why the newest handshake failed.
type handshakes struct {
	credentials.TransportCredentials
	client *Client
}

func (h handshakes) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	secured, info, err := h.TransportCredentials.ClientHandshake(ctx, authority, conn)
	if err != nil {
		h.client.failed(&failedHandshake{err})
		return nil, nil, err
	}
	// Of the failures before, one outlives a handshake that worked: the server
	// may still be about to say again what it thinks of our certificate.
	if failure := h.client.failure.Load(); failure == nil || !errors.As(*failure, new(*failedHandshake)) {
		h.client.failure.Store(&errSilent)
	}
	return secured, info, nil
}

func (h handshakes) Clone() credentials.TransportCredentials {
	return handshakes{h.TransportCredentials.Clone(), h.client}
}

// Address returns where the connection leads.
func (c *Client) Address() string { return c.address }

// Close ends the connection and all calls on it.
func (c *Client) Close() error { return c.conn.Close() }

// Hurry tries to connect now rather than after the pause that follows a failed
// attempt. It is for somebody who knows that the other side has come up.
func (c *Client) Hurry() { c.conn.ResetConnectBackoff() }

// AwaitReady connects and returns when the connection stands or the context
// ends.
func (c *Client) AwaitReady(ctx context.Context) error {
	for {
		state := c.conn.GetState()
		switch state {
		case connectivity.Ready:
			return nil
		case connectivity.Shutdown:
			return status.Errorf(codes.Canceled, "the connection to %s at %s is closed", c.options.Name, c.address)
		case connectivity.Idle:
			c.conn.Connect()
		}
		if !c.conn.WaitForStateChange(ctx, state) {
			return ctx.Err()
		}
	}
}

// AwaitLost returns when the connection no longer stands or the context ends.
func (c *Client) AwaitLost(ctx context.Context) error {
	for c.conn.GetState() == connectivity.Ready {
		if !c.conn.WaitForStateChange(ctx, connectivity.Ready) {
			return ctx.Err()
		}
	}
	return nil
}

// Invoke calls a method. It waits for the connection for as long as ReadyWait
// says. A call that was not sent, because the connection went at that moment,
// waits for the next connection. Statuses of the other side pass as they are.
func (c *Client) Invoke(ctx context.Context, method string, request, response any, options ...grpc.CallOption) (err error) {
	at, began := time.Now(), beginning{}
	for range flaps {
		if err := c.ready(ctx); err != nil {
			return err
		}
		began = c.sent(at)
		err = c.conn.Invoke(ctx, method, request, response, options...)
		if err == nil {
			return nil
		}
		if !c.unsent(began, err) {
			break
		}
	}
	return c.explain(ctx, began, err)
}

// NewStream begins a stream, under the same rules as Invoke.
func (c *Client) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, options ...grpc.CallOption) (stream grpc.ClientStream, err error) {
	at, began := time.Now(), beginning{}
	for range flaps {
		if err := c.ready(ctx); err != nil {
			return nil, err
		}
		began = c.sent(at)
		stream, err = c.conn.NewStream(ctx, desc, method, options...)
		if err == nil {
			return explained{stream, c, began}, nil
		}
		if !c.unsent(began, err) {
			break
		}
	}
	return nil, c.explain(ctx, began, err)
}

// flaps is how often a call waits for a connection that is lost again before
// the call is sent.
const flaps = 3

// beginning is what was known of a call before it was sent.
type beginning struct {
	at       time.Time
	troubles uint64 // of the connection, when it stood
	down     bool   // the newest attempt to connect had failed
}

// sent returns the beginning of a call that is sent now. That the connection
// seemed to stand just before is no proof: grpc-go makes it known late that a
// connection is lost, even after a failed attempt to replace it.
func (c *Client) sent(at time.Time) beginning {
	troubles := c.troubles.Load() // first: whoever counts one has said before what failed
	failure := c.failure.Load()
	return beginning{at, troubles, failure != nil && failure != &errSilent}
}

// explained is a stream whose errors name the other side.
type explained struct {
	grpc.ClientStream
	client *Client
	began  beginning
}

func (s explained) Header() (metadata.MD, error) {
	header, err := s.ClientStream.Header()
	return header, s.client.explain(s.Context(), s.began, err)
}

func (s explained) SendMsg(message any) error {
	return s.client.explain(s.Context(), s.began, s.ClientStream.SendMsg(message))
}

func (s explained) RecvMsg(message any) error {
	return s.client.explain(s.Context(), s.began, s.ClientStream.RecvMsg(message))
}

func (c *Client) ready(ctx context.Context) error {
	if c.conn.GetState() == connectivity.Ready {
		return nil
	}
	waiting, cancel := context.WithTimeout(ctx, c.options.ReadyWait)
	defer cancel()
	began := time.Now()
	err := c.AwaitReady(waiting)
	observe.Waited(ctx, time.Since(began))
	if err == nil || status.Code(err) == codes.Canceled {
		return err
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return status.FromContextError(ctx.Err()).Err()
	}
	return c.unreachable(c.lastFailure())
}

func (c *Client) lastFailure() string {
	if failure := c.failure.Load(); failure != nil {
		return (*failure).Error()
	}
	return "no connection yet"
}

func (c *Client) unreachable(why string) error {
	next := "; is it running?"
	if failure := c.failure.Load(); failure != nil && errors.As(*failure, new(*failedHandshake)) {
		next = "" // it is, and the reason says what to do
	}
	return withReason(reasonUnreachable, fmt.Sprintf("%s at %s is not reachable: %s%s", c.options.Name, c.address, why, next))
}

func (c *Client) broken(why string) error {
	return withReason(reasonBroken, fmt.Sprintf("the connection to %s at %s broke during the call: %s", c.options.Name, c.address, why))
}

// The reasons travel as details of the status, so that they are understood
// behind any number of hops.
const (
	reasonDomain      = "angzarr"
	reasonUnreachable = "UNREACHABLE"
	reasonBroken      = "CONNECTION_BROKEN"
)

func withReason(reason, message string) error {
	plain := status.New(codes.Unavailable, message)
	detailed, err := plain.WithDetails(&errdetails.ErrorInfo{Reason: reason, Domain: reasonDomain})
	if err != nil {
		return plain.Err()
	}
	return detailed.Err()
}

// Unreachable reports whether an error says that nobody answers at an address,
// here or further on, so that the request has not been looked at.
func Unreachable(err error) bool { return hasReason(err, reasonUnreachable) }

// Broken reports whether an error says that a connection broke under the call,
// here or further on, so that nothing is known about the request: the other side
// may have done it, or may have died of it.
func Broken(err error) bool { return hasReason(err, reasonBroken) }

func hasReason(err error, reason string) bool {
	said, ok := status.FromError(err)
	if !ok || said.Code() != codes.Unavailable {
		return false
	}
	for _, detail := range said.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.Domain == reasonDomain && info.Reason == reason {
			return true
		}
	}
	return false
}

// What grpc-go itself says, by how its messages begin. It offers no other way
// to tell its own errors from those of the other side, so the tests make each of
// these happen.
var (
	// unsent: the connection was lost before the call was on it.
	unsent = []string{
		`connection error: desc = "transport: `, `connection error: desc = "error reading server preface`,
		"the connection is draining", "the stream is rejected because server is draining",
	}
	// lost: the connection broke under the call.
	lost = []string{
		"connection error: ", "closing transport due to: ", "error reading from server: ", "transport is closing",
		"keepalive ping failed", "closing connection since the server is not reading",
	}
	unreadable = []string{
		"grpc: failed to unmarshal the received message", "grpc: failed to decompress", "grpc: failed to read decompressed data",
		"grpc: compressed flag set", "grpc: Decompressor is not installed", "grpc: received unexpected payload format",
		"grpc: no decompressor available", "cardinality violation: ", "server closed the stream without sending trailers",
	}
	oversized = []string{"grpc: received message larger than max", "grpc: message after decompression larger than max", "trying to send message larger than max"}
	overdue   = []string{"context deadline exceeded", "latest balancer error: ", "stream terminated by RST_STREAM"}
)

// What a server in Python, C++ or Ruby says by itself when it stops: to the calls
// under way if it does not wait for them, and to those that come, or are still
// under way, when it has waited long enough.
const (
	cancelled = "Cancelling all calls" // with UNAVAILABLE
	dropped   = "CANCELLED"            // with CANCELLED
)

func beginsWith(message string, beginnings []string) bool {
	return slices.ContainsFunc(beginnings, func(beginning string) bool { return strings.HasPrefix(message, beginning) })
}

// unsent reports whether an error says that a call was not sent. What the other
// side says of connections of its own is another matter, and so it does not count
// unless this one had trouble since the call was sent.
func (c *Client) unsent(began beginning, err error) bool { return c.hit(began, err, unsent) }

func (c *Client) hit(began beginning, err error, messages []string) bool {
	said := status.Convert(err)
	return said.Code() == codes.Unavailable && beginsWith(said.Message(), messages) && (began.down || c.troubles.Load() != began.troubles)
}

// explain turns what grpc-go itself says about a call into words that name the
// other side. What the other side said passes as it is.
func (c *Client) explain(ctx context.Context, began beginning, err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	said := status.Convert(err)
	message := said.Message()
	switch said.Code() {
	case codes.DeadlineExceeded, codes.Canceled:
		// The other side sees the deadline pass too, and may say first that it
		// has given up. A caller who left has heard of it in grpc-go's own words.
		deadline, ok := ctx.Deadline()
		gaveUp := said.Code() == codes.Canceled && message != context.Canceled.Error()
		if ok && time.Until(deadline) <= 0 && (gaveUp || beginsWith(message, overdue)) {
			return status.Errorf(codes.DeadlineExceeded, "%s at %s did not answer within %s", c.options.Name, c.address, rounded(deadline.Sub(began.at)))
		}
		if said.Code() == codes.Canceled && ctx.Err() == nil && message == dropped {
			return c.broken("the service stopped")
		}
	case codes.ResourceExhausted:
		// The other side has a limit of its own and says so in the same words.
		if beginsWith(message, oversized) && strings.HasSuffix(message, fmt.Sprintf("vs. %d)", c.options.MaxMessageBytes)) {
			return status.Errorf(codes.Internal, "%s at %s: %s; limits.max_message_bytes is %d", c.options.Name, c.address, message, c.options.MaxMessageBytes)
		}
	case codes.Internal:
		if beginsWith(message, unreadable) {
			return status.Errorf(codes.Internal, "%s at %s answered what cannot be read: %s", c.options.Name, c.address, message)
		}
	case codes.Unavailable:
		if c.unsent(began, err) {
			return c.unreachable(message)
		}
		if c.hit(began, err, lost) || message == cancelled {
			return c.broken(message)
		}
	}
	return err
}

// rounded shortens a duration to what a person wants to read.
func rounded(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Round(100 * time.Millisecond)
}
