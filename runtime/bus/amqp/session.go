package amqp

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/angz-dev/angz/runtime/bus"
)

const (
	// heartbeat makes both sides notice a dead connection within about 20 s.
	heartbeat = 10 * time.Second
	// handshake is how long a broker may take from the first packet to the
	// finished topology, and any single answer after it.
	handshake = 15 * time.Second
	// goodbye is how long a polite end may take.
	goodbye = 5 * time.Second
	// settled is how long a connection must have held before the next loss is
	// answered by trying again at once.
	settled = 10 * time.Second
)

// session is what is connected at one time: one connection for publishing and one
// for consuming, so that a broker that slows down publishers does not hold up
// acknowledgements. When either is lost both are made anew.
type session struct {
	publishing, consuming *amqp.Connection
	lost                  [2]chan *amqp.Error // of either connection
	blocked               atomic.Bool         // the broker takes no messages
	work                  sync.WaitGroup

	mu        sync.Mutex // guards the rest
	sockets   []net.Conn
	abandoned bool
	held      map[string]bool // queues that subscriptions of this process have
}

// connect keeps a session up until the bus is closed.
func (b *Bus) connect() {
	patience := newPatience()
	var complaint complaint
	for b.closing.Err() == nil {
		s, err := b.newSession()
		if err != nil {
			b.sessions.set(nil, err)
			if complaint.fresh(err) && b.closing.Err() == nil {
				b.logger.Warn("cannot use the broker, trying again", "error", err)
			}
			pause(b.closing, patience)
			continue
		}
		b.logger.Info("connected to the broker", "address", s.consuming.RemoteAddr().String())
		complaint.forget()
		since := time.Now()
		b.sessions.set(s, nil)
		err = s.wait(b.closing)
		b.sessions.set(nil, err)
		s.close()
		if b.closing.Err() != nil {
			break
		}
		b.logger.Warn("lost the broker, connecting again", "error", err)
		if time.Since(since) > settled {
			patience.Reset()
		}
		pause(b.closing, patience)
	}
	b.sessions.set(nil, bus.ErrClosed)
}

// pause waits as long as the back-off says, or until the context ends.
func pause(ctx context.Context, patience *backoff.ExponentialBackOff) {
	timer := time.NewTimer(patience.NextBackOff())
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func newPatience() *backoff.ExponentialBackOff {
	p := &backoff.ExponentialBackOff{InitialInterval: 100 * time.Millisecond, MaxInterval: 5 * time.Second, Multiplier: 2, RandomizationFactor: 0.5}
	p.Reset()
	return p
}

// newSession connects twice and declares what everybody shares.
func (b *Bus) newSession() (*session, error) {
	s := &session{lost: [2]chan *amqp.Error{make(chan *amqp.Error, 1), make(chan *amqp.Error, 1)}, held: map[string]bool{}}
	// What hangs is ended by the end of its socket.
	stop := context.AfterFunc(b.closing, s.abandon)
	defer stop()
	if err := b.open(s); err != nil {
		s.abandon()
		s.close()
		return nil, explain(err)
	}
	s.consuming.NotifyClose(s.lost[0])
	s.publishing.NotifyClose(s.lost[1])
	s.watchBlocked(b.logger)
	return s, nil
}

func (b *Bus) open(s *session) (err error) {
	if s.consuming, err = b.dial(s, "consuming"); err != nil {
		return err
	}
	if s.publishing, err = b.dial(s, "publishing"); err != nil {
		return err
	}
	return s.promptly(handshake, func() error { return b.declareShared(s.consuming) })
}

// dial connects once. Its sockets become the session's.
func (b *Bus) dial(s *session, purpose string) (*amqp.Connection, error) {
	properties := amqp.NewConnectionProperties()
	properties.SetClientConnectionName(b.options.ConnectionName + " (" + purpose + ")")
	config := amqp.Config{
		Heartbeat: heartbeat, Properties: properties,
		Dial: func(network, address string) (net.Conn, error) {
			conn, err := (&net.Dialer{Timeout: handshake}).DialContext(b.closing, network, address)
			if err != nil {
				return nil, err
			}
			return s.own(conn)
		},
	}
	if b.options.TLS != nil {
		config.TLSClientConfig = b.options.TLS.Clone() // the library writes the server's name into it
	}
	connection, err := amqp.DialConfig(b.options.URL, config)
	if err != nil {
		return nil, err
	}
	return connection, nil
}

// own remembers a socket, to end it when its peer does not answer any more.
func (s *session) own(conn net.Conn) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.abandoned {
		_ = conn.Close()
		return nil, bus.ErrClosed
	}
	s.sockets = append(s.sockets, conn)
	// Until the handshake is over, when the library takes it away.
	return &socket{conn}, conn.SetDeadline(time.Now().Add(handshake))
}

// socket is a connection whose writes do not wait for ever on a peer that reads
// nothing, be it frozen or protecting itself from publishers.
type socket struct{ net.Conn }

func (s *socket) Write(data []byte) (int, error) {
	if err := s.SetWriteDeadline(time.Now().Add(handshake)); err != nil {
		return 0, err
	}
	return s.Conn.Write(data)
}

// wait returns why the session ended.
func (s *session) wait(ctx context.Context) error {
	var reason *amqp.Error
	select {
	case reason = <-s.lost[0]:
	case reason = <-s.lost[1]:
	case <-ctx.Done():
		return ctx.Err()
	}
	if reason == nil {
		return errors.New("the connection was closed")
	}
	return explain(reason)
}

// promptly runs something that the broker has to answer, and gives up the session
// if it takes too long.
func (s *session) promptly(limit time.Duration, operation func() error) error {
	timer := time.AfterFunc(limit, s.abandon)
	defer timer.Stop()
	return operation()
}

// errSilent is about one queue: a broker that does not answer at all is noticed by
// its heartbeats.
var errSilent = errors.New("the broker does not answer for this queue, which has probably no leader; " +
	"another queue is taken meanwhile: restart the broker or delete the queue (nothing is lost by that, consumers read the log)")

// patiently runs something that one queue of the broker has to answer, and gives
// up waiting after a while. What succeeds later is undone.
func (b *Bus) patiently(limit time.Duration, operation func() error, undo func()) error {
	done, late := make(chan error), make(chan struct{})
	b.work.Go(func() {
		err := operation()
		select {
		case done <- err:
		case <-late:
			if err == nil {
				undo()
			}
		}
	})
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		close(late)
		return errSilent
	}
}

// abandon ends the session without a word to the broker.
func (s *session) abandon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.abandoned = true
	for _, socket := range s.sockets {
		_ = socket.Close()
	}
}

// close says goodbye and waits until nothing of the session runs.
func (s *session) close() {
	for _, connection := range []*amqp.Connection{s.consuming, s.publishing} {
		if connection != nil {
			// It is over whatever the broker answers.
			_ = connection.CloseDeadline(time.Now().Add(goodbye))
		}
	}
	s.work.Wait()
}

// watchBlocked notes when the broker protects itself from publishers.
func (s *session) watchBlocked(logger *slog.Logger) {
	blocks := s.publishing.NotifyBlocked(make(chan amqp.Blocking, 1))
	s.work.Go(func() {
		for block := range blocks {
			s.blocked.Store(block.Active)
			if block.Active {
				logger.Warn("the broker takes no messages until it has room again: give it memory or disk space", "reason", block.Reason)
			} else {
				logger.Info("the broker takes messages again")
			}
		}
	})
}

// state is the session that there is now, if any, for many to wait for.
type state struct {
	mu      sync.Mutex
	session *session
	err     error         // why there is none, nil before the first attempt
	changed chan struct{} // closed at the next change
}

func (s *state) set(session *session, err error) {
	s.mu.Lock()
	s.session, s.err = session, err
	s.mu.Unlock()
	s.touch()
}

// touch wakes everybody who waits for a change.
func (s *state) touch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
}

// get returns the session, or why there is none.
func (s *state) get() (*session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session == nil && s.err == nil {
		return nil, errors.New("the broker is not connected yet")
	}
	return s.session, s.err
}

// change returns a channel that is closed at the next change.
func (s *state) change() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// wait returns the session as soon as there is one.
func (s *state) wait(ctx context.Context) (*session, error) {
	for {
		changed := s.change()
		session, err := s.get()
		if session != nil || errors.Is(err, bus.ErrClosed) {
			return session, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
