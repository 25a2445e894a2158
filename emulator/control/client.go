package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/angz-dev/angz/proto/angzpb"
	"github.com/angz-dev/angz/runtime/transport"
)

// Client is a connection to a running emulator. It is safe for concurrent use.
type Client struct {
	Record
	conn *transport.Client
	rpc  angzpb.ControlClient
}

// NotRunning says that no emulator runs where one was looked for.
type NotRunning struct {
	Dir     string // of the project or, without one, where the search began
	Project bool   // whether there is a project
}

// Error says how to start one.
func (e *NotRunning) Error() string {
	if !e.Project {
		return fmt.Sprintf("there is no angz.yaml in %s or above it\ngo to a project, or name its folder with --project; \"angz ps --all\" lists those that run", e.Dir)
	}
	return fmt.Sprintf("no emulator runs for the project %s\nstart it with \"angz dev\"; \"angz ps --all\" lists those that run", e.Dir)
}

// projectFile marks the folder of a project.
const projectFile = "angz.yaml"

// Find returns a connection to the emulator of the project in dir or around it.
// It fails with *NotRunning when there is none. The emulator may have begun to
// start or be about to end.
func Find(dir string) (*Client, error) {
	start, err := realPath(dir)
	if err != nil {
		return nil, fmt.Errorf("find the project: %w", err)
	}
	for folder := start; ; folder = filepath.Dir(folder) {
		held, err := isHeld(folder)
		if err != nil {
			return nil, fmt.Errorf("see whether an emulator runs in %s: %w", folder, err)
		}
		if held {
			return identify(folder)
		}
		if _, err := os.Stat(filepath.Join(folder, projectFile)); err == nil {
			return nil, &NotRunning{Dir: folder, Project: true}
		}
		if folder == filepath.Dir(folder) {
			return nil, &NotRunning{Dir: start}
		}
	}
}

// identify reads the record of the emulator that holds a project, for which it
// waits when that has only just taken the lock.
func identify(dir string) (*Client, error) {
	path := filepath.Join(dir, folderName, recordName)
	for deadline := time.Now().Add(identifyTime); ; time.Sleep(5 * time.Millisecond) {
		record, err := readRecord(path)
		switch {
		case err == nil && isAlive(record.PID):
			return Dial(record)
		case time.Now().Before(deadline):
		case err != nil:
			return nil, fmt.Errorf("an emulator runs in %s but has not said where it answers: %w", dir, err)
		default:
			return nil, fmt.Errorf("an emulator runs in %s but not on this machine: the process %d that %s names is not here", dir, record.PID, path)
		}
	}
}

// answerTime is how long calls wait for an emulator that has begun to start.
const answerTime = 5 * time.Second

// Dial returns a connection to the emulator that wrote a record. It does not wait
// for it.
func Dial(record Record) (*Client, error) {
	conn, err := transport.Dial(record.Socket, transport.DialOptions{Name: "the emulator of " + record.Project, ReadyWait: answerTime})
	if err != nil {
		return nil, err
	}
	return &Client{Record: record, conn: conn, rpc: angzpb.NewControlClient(conn)}, nil
}

// Close ends the connection and all calls on it.
func (c *Client) Close() error { return c.conn.Close() }

// Status returns how the project is doing now.
func (c *Client) Status(ctx context.Context) (Status, error) {
	message, err := c.rpc.GetStatus(ctx, &angzpb.StatusQuery{})
	if err != nil {
		return Status{}, c.explain(err)
	}
	return statusOf(message), nil
}

// ErrEnded says that the emulator has ended during a call.
var ErrEnded = errors.New("the emulator has ended")

// Watch returns how the project is doing now and after each change, until the
// caller has enough or an error: ErrEnded when the emulator ends.
func (c *Client) Watch(ctx context.Context) iter.Seq2[Status, error] {
	return func(yield func(Status, error) bool) {
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		stream, err := c.rpc.WatchStatus(ctx, &angzpb.StatusQuery{})
		if err != nil {
			yield(Status{}, c.explain(err))
			return
		}
		for {
			message, err := stream.Recv()
			if err != nil {
				yield(Status{}, c.ended(err))
				return
			}
			if !yield(statusOf(message), nil) {
				return
			}
		}
	}
}

// Restart has services built and started again, all of them if none is named. It
// does not wait for that; see AwaitRestarted.
func (c *Client) Restart(ctx context.Context, names []string, reason string) error {
	_, err := c.rpc.Restart(ctx, &angzpb.RestartRequest{Services: &angzpb.ServiceSelection{Names: names}, Reason: reason})
	return c.explain(err)
}

// Pause keeps changes of files from restarting services, all of them if none is
// named.
func (c *Client) Pause(ctx context.Context, names ...string) error {
	_, err := c.rpc.Pause(ctx, &angzpb.ServiceSelection{Names: names})
	return c.explain(err)
}

// Resume has changes of files restart services again, all of them if none is
// named.
func (c *Client) Resume(ctx context.Context, names ...string) error {
	_, err := c.rpc.Resume(ctx, &angzpb.ServiceSelection{Names: names})
	return c.explain(err)
}

// Stop asks the emulator to end. It does not wait for that; see AwaitGone.
func (c *Client) Stop(ctx context.Context) error {
	_, err := c.rpc.Stop(ctx, &angzpb.StopRequest{})
	return c.explain(err)
}

// Logs calls each for the lines that the filter lets through until there are no
// more, or with Follow until the emulator or the context ends, and returns nil.
// It returns each's error if there is one.
func (c *Client) Logs(ctx context.Context, filter LogFilter, each func(LogLine) error) error {
	reading, stop := context.WithCancel(ctx)
	defer stop()
	stream, err := c.rpc.ReadLogs(reading, queryMessage(filter))
	if err != nil {
		return c.explain(err)
	}
	for {
		message, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF), err != nil && ctx.Err() != nil:
			return nil
		case err != nil:
			return c.explain(err)
		}
		if err := each(lineOf(message)); err != nil {
			return err
		}
	}
}

// AwaitGone waits until the emulator's process no longer has the project.
func (c *Client) AwaitGone(ctx context.Context) error {
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		if !c.isCurrent() {
			return nil
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Refused says that the emulator does not do what it was asked for.
type Refused struct {
	Code    codes.Code
	Message string
}

// Error returns what the emulator said.
func (e *Refused) Error() string { return e.Message }

// explain turns an answer's status into what a person is told.
func (c *Client) explain(err error) error {
	answer, ok := status.FromError(err)
	if err == nil || !ok {
		return err
	}
	switch code := answer.Code(); {
	case code == codes.NotFound, code == codes.FailedPrecondition:
		return &Refused{code, answer.Message()}
	case code == codes.Canceled:
		return context.Canceled
	case code == codes.DeadlineExceeded:
		return context.DeadlineExceeded
	case transport.Unreachable(err):
		return fmt.Errorf("the emulator of %s, process %d, does not answer: it may be starting or ending (%s)\ntry again, or see what it is doing in %s",
			c.Project, c.PID, strings.TrimSuffix(answer.Message(), "; is it running?"), filepath.Join(c.Dir, folderName, "logs"))
	case code == codes.Unimplemented:
		return fmt.Errorf("the emulator of %s is of another version of angz: stop it with \"angz stop\" and start it again (%s)", c.Project, answer.Message())
	}
	return fmt.Errorf("ask the emulator of %s: %s", c.Project, answer.Message())
}

// ended is explain for a stream that ends with the emulator.
func (c *Client) ended(err error) error {
	if errors.Is(err, io.EOF) || transport.Broken(err) {
		return ErrEnded
	}
	return c.explain(err)
}
