package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// DialOptions describe a connection.
type DialOptions struct {
	Name            string        // of the other side, for errors: "domain order's service"
	MaxMessageBytes int           // of one message either way; 16 MiB
	ReadyWait       time.Duration // how long a call waits for the connection; 5 s
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
	secure := insecure.NewCredentials()
	if parsed.TLS {
		secure = credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12})
	}
	c.conn, err = grpc.NewClient(parsed.target(),
		grpc.WithTransportCredentials(secure),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return c.dial(ctx, parsed) }),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(options.MaxMessageBytes), grpc.MaxCallSendMsgSize(options.MaxMessageBytes)),
		grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(), grpc.WithNoProxy(),
		grpc.WithInitialWindowSize(1<<20), grpc.WithInitialConnWindowSize(1<<20), grpc.WithSharedWriteBuffer(true),
		grpc.WithIdleTimeout(0),
	)
	if err != nil {
		return nil, fmt.Errorf("connect to %s at %s: %w", options.Name, address, err)
	}
	return c, nil
}

func (c *Client) dial(ctx context.Context, address Address) (net.Conn, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, address.Network, address.Address)
	if err != nil {
		c.failure.Store(&err)
	}
	return conn, err
}

// Address returns where the connection leads.
func (c *Client) Address() string { return c.address }

// Close ends the connection and all calls on it.
func (c *Client) Close() error { return c.conn.Close() }

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
// says. Statuses of the other side pass as they are.
func (c *Client) Invoke(ctx context.Context, method string, request, response any, options ...grpc.CallOption) error {
	if err := c.ready(ctx); err != nil {
		return err
	}
	return c.explain(ctx, c.conn.Invoke(ctx, method, request, response, options...))
}

// NewStream begins a stream, under the same rules as Invoke.
func (c *Client) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, options ...grpc.CallOption) (grpc.ClientStream, error) {
	if err := c.ready(ctx); err != nil {
		return nil, err
	}
	stream, err := c.conn.NewStream(ctx, desc, method, options...)
	return stream, c.explain(ctx, err)
}

func (c *Client) ready(ctx context.Context) error {
	if c.conn.GetState() == connectivity.Ready {
		return nil
	}
	waiting, cancel := context.WithTimeout(ctx, c.options.ReadyWait)
	defer cancel()
	err := c.AwaitReady(waiting)
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
	return withReason(reasonUnreachable, fmt.Sprintf("%s at %s is not reachable: %s; is it running?", c.options.Name, c.address, why))
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

// lost begins the messages of grpc-go when a connection breaks under a call.
var lost = []string{"connection error:", "error reading from server:", "the connection is draining", "transport is closing", "write tcp", "write unix"}

// explain turns what grpc-go itself says about a call into words that name the
// other side. What the other side said passes as it is.
func (c *Client) explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	said := status.Convert(err)
	switch message := said.Message(); said.Code() {
	case codes.DeadlineExceeded:
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= 0 {
			return status.Errorf(codes.DeadlineExceeded, "%s at %s did not answer in time (%s)", c.options.Name, c.address, message)
		}
	case codes.ResourceExhausted:
		if strings.HasPrefix(message, "grpc: received message") || strings.HasPrefix(message, "trying to send message") {
			return status.Errorf(codes.Internal, "%s at %s: %s; limits.max_message_bytes is %d", c.options.Name, c.address, message, c.options.MaxMessageBytes)
		}
	case codes.Internal:
		if strings.HasPrefix(message, "grpc: ") || strings.Contains(message, "unmarshal") {
			return status.Errorf(codes.Internal, "%s at %s answered what cannot be read: %s", c.options.Name, c.address, message)
		}
	case codes.Unavailable:
		for _, begin := range lost {
			if strings.HasPrefix(message, begin) || strings.HasPrefix(message, "closing transport due to: "+begin) {
				return c.broken(message)
			}
		}
	}
	return err
}
