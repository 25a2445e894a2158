package servertest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Postgres is a PostgreSQL of one test process. All tests of the process share it
// and have databases of their own:
//
//	server := servertest.NewPostgres()
//	code := m.Run()
//	server.Close()
//
// Its methods may be called from many goroutines, but Stop, Restart and Terminate
// concern everybody who uses it.
type Postgres struct {
	durable   bool
	begin     sync.Once
	err       error // of the first start
	databases atomic.Uint64

	mu     sync.Mutex // guards the rest; held while the server starts or stops
	folder string
	bin    string
	port   int
	server *exec.Cmd
	ended  chan struct{}
}

// NewPostgres returns a server that has not been started and does not wait for its
// disk, which tests of durability and benchmarks do not want.
func NewPostgres() *Postgres { return &Postgres{} }

// NewDurablePostgres returns a server that has not been started and that keeps
// what it has committed, as in production.
func NewDurablePostgres() *Postgres { return &Postgres{durable: true} }

// Use starts the server if need be and returns the URI of a new, empty database.
// The test fails when there is no server to be had.
func (p *Postgres) Use(t testing.TB) string {
	t.Helper()
	p.begin.Do(func() { p.err = p.create() })
	if p.err != nil {
		t.Fatalf("start PostgreSQL: %v", p.err)
	}
	name := fmt.Sprintf("test_%d", p.databases.Add(1))
	if err := p.admin(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatalf("make a database: %v", err)
	}
	return p.URI(name)
}

// URI returns where a database is.
func (p *Postgres) URI(database string) string {
	return "postgres://postgres@" + p.Address() + "/" + database
}

// Address returns the server's host and port, which stay the same over restarts.
func (p *Postgres) Address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port)) }

// admin runs a statement outside all tests' databases.
func (p *Postgres) admin(ctx context.Context, statement string, args ...any) error {
	conn, err := pgx.Connect(ctx, p.URI("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	_, err = conn.Exec(ctx, statement, args...)
	return err
}

// create makes the server's data and starts it.
func (p *Postgres) create() (err error) {
	if p.bin, err = postgresPrograms(); err != nil {
		return err
	}
	if p.folder, err = os.MkdirTemp("", "angz-postgres"); err != nil {
		return err
	}
	if err := os.Chmod(p.folder, 0o777); err != nil { //nolint:gosec // the server runs as another user
		return err
	}
	p.port = freePort()
	initialise, err := asPostgres(filepath.Join(p.bin, "initdb"), "-D", p.data(), "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")
	if err != nil {
		return err
	}
	initialise.Dir = p.folder
	if output, err := initialise.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, output)
	}
	return p.start()
}

func (p *Postgres) data() string { return filepath.Join(p.folder, "data") }

// postgresPrograms returns where the newest server's programs are.
func postgresPrograms() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil || len(found) == 0 {
		path, err := exec.LookPath("initdb")
		if err != nil {
			return "", errors.New("it is not installed: apt-get install postgresql")
		}
		return filepath.Dir(path), nil
	}
	version := func(path string) int {
		number, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		return number
	}
	return slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) }), nil
}

// asPostgres runs a program that refuses to be run by root.
func asPostgres(program string, args ...string) (*exec.Cmd, error) {
	command := exec.Command(program, args...)
	if os.Getuid() != 0 {
		return command, nil
	}
	account, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("it cannot be run by root, and: %w", err)
	}
	uid, err := strconv.ParseUint(account.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(account.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	return command, nil
}

// start runs the server as a child, so that it goes with this process.
func (p *Postgres) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	settings := []string{
		"-D", p.data(), "-p", strconv.Itoa(p.port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=" + p.folder,
		"-c", "max_connections=300", "-c", "logging_collector=off", "-c", "shared_buffers=256MB", "-c", "max_wal_size=4GB",
	}
	if !p.durable {
		settings = append(settings, "-c", "fsync=off", "-c", "full_page_writes=off")
	}
	var err error
	if p.server, err = asPostgres(filepath.Join(p.bin, "postgres"), settings...); err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(p.folder, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	p.server.Stdout, p.server.Stderr = log, log
	if err := startWithParent(p.server); err != nil {
		return err
	}
	server, ended := p.server, make(chan struct{})
	p.ended = ended
	go func() {
		_ = server.Wait()
		close(ended)
	}()
	return p.awaitServing()
}

func (p *Postgres) awaitServing() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, p.URI("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-p.ended:
			text, _ := os.ReadFile(filepath.Join(p.folder, "log"))
			return fmt.Errorf("it ended by itself: %s", text)
		case <-ctx.Done():
			return fmt.Errorf("it does not answer: %w", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Stop ends the server at once, as a crash does: it recovers at the next start.
func (p *Postgres) Stop() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.end(syscall.SIGQUIT)
}

// Restart starts the server after Stop and waits until it serves.
func (p *Postgres) Restart() error { return p.start() }

// end signals the server and waits until it is gone. The caller holds the lock.
func (p *Postgres) end(signal syscall.Signal) error {
	if p.server == nil {
		return nil
	}
	if err := p.server.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-p.ended
	p.server = nil
	return nil
}

// Terminate ends some of the connections to a database, chosen at random, as an
// operator may. It returns how many.
func (p *Postgres) Terminate(ctx context.Context, database string, share float64) (ended int, err error) {
	conn, err := pgx.Connect(ctx, p.URI("postgres"))
	if err != nil {
		return 0, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	rows, err := conn.Query(ctx, `SELECT pid FROM pg_stat_activity WHERE datname = $1`, database)
	if err != nil {
		return 0, err
	}
	backends, err := pgx.CollectRows(rows, pgx.RowTo[int32])
	if err != nil {
		return 0, err
	}
	for _, backend := range backends {
		if rand.Float64() >= share {
			continue
		}
		if _, err := conn.Exec(ctx, `SELECT pg_terminate_backend($1)`, backend); err != nil {
			return ended, err
		}
		ended++
	}
	return ended, nil
}

// CPU returns what the server and its children have used so far. It counts those
// that have ended as well.
func (p *Postgres) CPU() (time.Duration, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.server == nil {
		return 0, errors.New("the server does not run")
	}
	parent := p.server.Process.Pid
	total, err := ticks(parent, 13, 17)
	if err != nil {
		return 0, err
	}
	children, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	for _, path := range children {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if of, err := fieldOf(pid, 3); err != nil || of != int64(parent) {
			continue
		}
		used, err := ticks(pid, 13, 15)
		if err == nil {
			total += used
		}
	}
	return time.Duration(total) * 10 * time.Millisecond, nil
}

// ticks adds up fields of a process's statistics, counted from 0.
func ticks(pid, from, to int) (total int64, err error) {
	for field := from; field < to; field++ {
		n, err := fieldOf(pid, field)
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}

func fieldOf(pid, field int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	rest := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(rest) <= field-2 {
		return 0, fmt.Errorf("process %d has no field %d", pid, field)
	}
	return strconv.ParseInt(rest[field-2], 10, 64)
}

// Close ends the server and removes its data.
func (p *Postgres) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.end(syscall.SIGQUIT)
	if p.folder != "" {
		_ = os.RemoveAll(p.folder)
	}
}
