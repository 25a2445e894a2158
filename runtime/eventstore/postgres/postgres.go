// Package postgres keeps the event store in PostgreSQL: the driver for
// production, where many processes write and read one log.
//
// Everything that waits in a process is appended by one call of a function in the
// database, which holds the log's lock for the length of that one statement: so
// positions are in the order of commits, and no process that is frozen or cut off
// can hold up the others. DESIGN.md beside this file says more.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/observe"
)

// Options say where the database is and how it is used. Only URI is needed.
type Options struct {
	// URI is postgres://USER:PASSWORD@HOST:PORT/DATABASE or host=… dbname=…, with
	// the parameters that PostgreSQL's own programs understand, sslmode among
	// them. It is a secret and appears in no error and no log line.
	URI string
	// Migrate lets Open bring the tables up to this version. Otherwise a database
	// with older tables is refused.
	Migrate bool
	// MaxConnections bounds the connections for reading; 10. There are three more,
	// for writing, for telling and for hearing of new events.
	MaxConnections int
	// CorrelationIndex makes ByCorrelation fast. It can be changed at any opening
	// that may migrate.
	CorrelationIndex bool
	Logger           *slog.Logger
	// Metrics counts the writer's transactions; nil for nobody.
	Metrics *observe.Metrics
}

const (
	// keepAlive lets both sides notice a dead connection.
	keepAlive = 15 * time.Second
	// connectWithin is how long one attempt to connect may take.
	connectWithin = 5 * time.Second
	// poll is how often the log's end is asked for when nobody tells of it.
	poll = 250 * time.Millisecond
)

// Store is an open event store.
type Store struct {
	options Options
	config  *pgxpool.Config
	logger  *slog.Logger
	pool    *pgxpool.Pool
	writer  *writer
	recent  *eventstore.Recent
	news    news
	epoch   uuid.UUID
	health  health

	running  context.Context // ends with Close
	stop     context.CancelFunc
	finished sync.WaitGroup
	closing  sync.Once
	closed   atomic.Bool
}

var _ eventstore.Store = (*Store)(nil)

// Open opens the store. A database that cannot be reached is waited for until the
// context ends, which the logger hears of once; a URI that cannot be read and
// tables of a newer version are errors at once.
func Open(ctx context.Context, options Options) (*Store, error) {
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	if options.MaxConnections == 0 {
		options.MaxConnections = 10
	}
	config, err := parse(options)
	if err != nil {
		return nil, err
	}
	s := &Store{options: options, config: config, logger: options.Logger, recent: eventstore.NewRecent()}
	s.health.changed = make(chan struct{})
	s.news.changed = make(chan struct{}, 1)
	if err := s.await(ctx); err != nil {
		return nil, err
	}
	if s.pool, err = pgxpool.NewWithConfig(context.WithoutCancel(ctx), config); err != nil {
		return nil, fmt.Errorf("open the event store: %w", hidden(err))
	}
	s.running, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.health.set(true)
	s.writer = newWriter(s)
	s.finished.Go(func() { s.writer.run(s.running) })
	s.finished.Go(func() { s.tellOthers(s.running) })
	s.finished.Go(func() { s.listen(s.running) })
	return s, nil
}

// parse reads the URI. Its error does not show the URI, which holds a password.
func parse(options Options) (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(options.URI)
	if err != nil {
		return nil, errors.New("storage.postgres.uri cannot be read: expected postgres://USER:PASSWORD@HOST:PORT/DATABASE " +
			"with special characters percent-encoded, or host=… dbname=…; the value is not shown because it may hold a password")
	}
	config.MaxConns = int32(options.MaxConnections)
	config.MinConns = 1
	prepare(config.ConnConfig)
	return config, nil
}

// prepare sets what every connection has in common.
func prepare(config *pgx.ConnConfig) {
	config.ConnectTimeout = connectWithin
	dialer := &net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: keepAlive, Interval: keepAlive / 3, Count: 3},
		Timeout:         connectWithin, Control: giveUpUnanswered,
	}
	config.DialFunc = dialer.DialContext
	for name, value := range map[string]string{
		"application_name": "angz", "default_transaction_isolation": "read committed", "statement_timeout": "30s", "lock_timeout": "10s",
		"idle_in_transaction_session_timeout": "10s", "tcp_user_timeout": "15s", "tcp_keepalives_idle": "15", "timezone": "UTC",
	} {
		if _, given := config.RuntimeParams[name]; !given {
			config.RuntimeParams[name] = value
		}
	}
}

// await connects, again and again if need be, and sees to the tables.
func (s *Store) await(ctx context.Context) error {
	told := ""
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := s.initialise(ctx)
		if err != nil && (!isConnection(err) || ctx.Err() != nil) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(patience()), backoff.WithMaxElapsedTime(0), backoff.WithNotify(func(err error, _ time.Duration) {
		if text := err.Error(); text != told {
			told = text
			s.logger.Warn("waiting for PostgreSQL", "error", err)
		}
	}))
	if err == nil && told != "" {
		s.logger.Info("PostgreSQL is there")
	}
	return err
}

func patience() *backoff.ExponentialBackOff {
	return &backoff.ExponentialBackOff{InitialInterval: 100 * time.Millisecond, MaxInterval: 5 * time.Second, Multiplier: 2, RandomizationFactor: 0.3}
}

// initialise makes or checks the tables and reads where the log stands.
func (s *Store) initialise(ctx context.Context) error {
	conn, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer closeConn(ctx, conn)
	if err := ensureSchema(ctx, conn, s.options.Migrate, s.logger); err != nil {
		return err
	}
	if s.options.Migrate {
		if err := setCorrelationIndex(ctx, conn, s.options.CorrelationIndex); err != nil {
			return err
		}
	}
	var head int64
	err = conn.QueryRow(ctx, `SELECT (SELECT value FROM angz_meta WHERE key = 'log_epoch')::uuid, coalesce((SELECT max(position) FROM angz_events), 0)`).
		Scan(&s.epoch, &head)
	if err != nil {
		return fmt.Errorf("read where the log stands: %w", unavailable(err))
	}
	s.recent.Reach(uint64(head))
	return nil
}

// connect opens one connection.
func (s *Store) connect(ctx context.Context) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, s.config.ConnConfig.Copy())
	if err != nil {
		return nil, fmt.Errorf("connect to PostgreSQL at %s: %w", address(s.config.ConnConfig), &connection{hidden(err)})
	}
	return conn, nil
}

func address(config *pgx.ConnConfig) string {
	if strings.HasPrefix(config.Host, "/") {
		return config.Host
	}
	return net.JoinHostPort(config.Host, fmt.Sprint(config.Port))
}

func closeConn(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = conn.Close(ctx) // nothing hangs on how it ends
}

// Epoch identifies this log.
func (s *Store) Epoch() uuid.UUID { return s.epoch }

// Close waits for the writes it has accepted, then releases everything.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.closed.Store(true)
		s.writer.stop()
		<-s.writer.ended
		s.stop()
		s.finished.Wait()
		s.pool.Close()
	})
	return nil
}

// Watch tells whether the database can be reached, at once and whenever that
// changes, until the context ends, and returns nil then.
func (s *Store) Watch(ctx context.Context, tell func(up bool)) error {
	first, last := true, false
	for {
		up, changed := s.health.get()
		if first || up != last {
			tell(up)
			first, last = false, up
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// health is whether the database can be reached.
type health struct {
	mu      sync.Mutex
	up      bool
	changed chan struct{} // closed when up changes
}

func (h *health) get() (up bool, changed <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.up, h.changed
}

func (h *health) set(up bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if up != h.up {
		h.up = up
		close(h.changed)
		h.changed = make(chan struct{})
	}
}
