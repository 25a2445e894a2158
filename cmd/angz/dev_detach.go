package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/angz-dev/angz/emulator/control"
	"github.com/angz-dev/angz/emulator/project"
)

// detachedFlags are the flags of "angz dev" that let it run by itself.
type detachedFlags struct {
	detach   bool
	wait     time.Duration
	detached bool // this is the one that runs by itself
	output   outputFormat
}

func (d *detachedFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	d.output.register(cmd)
	flags.Lookup("output").Usage = "with --detach: how to print what was started: text, or json for other programs"
	flags.BoolVarP(&d.detach, "detach", "d", false, "run in the background, with what it logs in .angz/logs; end it with angz stop")
	flags.DurationVar(&d.wait, "wait", 0, "with --detach: wait so long until everything is ready, else stop and fail")
	flags.BoolVar(&d.detached, "detached", false, "")
	_ = flags.MarkHidden("detached")
}

func (d *detachedFlags) check(flags *pflag.FlagSet) error {
	switch {
	case flags.Changed("output") && !d.detach:
		return usagef("--output: found it without --detach; add --detach, or ask the running project: angz ps --output %s", d.output)
	case flags.Changed("wait") && !d.detach:
		return usagef("--wait: found it without --detach; add --detach, or leave --wait out: angz dev says itself when it is ready")
	case flags.Changed("wait") && d.wait <= 0:
		return usagef("--wait: found %s, expected more than 0", d.wait)
	}
	return nil
}

// streams returns where the emulator of the project in dir talks to: its own log
// if nobody sits before it.
func (d *detachedFlags) streams(s streams, dir string) streams {
	if d.detached {
		log := &boundedLog{path: logFile(dir), most: mostLogged}
		s.out, s.err = log, log
	}
	return s
}

// run starts angz dev again, by itself, and says how the project is doing.
func (d *detachedFlags) run(cmd *cobra.Command, s streams, args []string, dir string) error {
	executable, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the program angz itself: %w", err)
	}
	started := detachment{
		argv: slices.Concat([]string{executable}, again(cmd), args), environ: s.environ, dir: dir, wait: d.wait,
	}
	now, err := started.run(cmd.Context())
	if err != nil {
		return err
	}
	if d.output.forPrograms() {
		return d.output.write(s.out, newStatusDocument(now))
	}
	return writeStatus(s, now, time.Now())
}

// again returns the command that was called, with its flags but those about
// detaching.
func again(cmd *cobra.Command) []string {
	words := append(strings.Fields(cmd.CommandPath())[1:], "--detached")
	if !cmd.Flags().Changed("log-format") {
		words = append(words, "--log-format=text") // for people, who have no terminal here
	}
	cmd.Flags().Visit(func(flag *pflag.Flag) {
		if flag.Name == "detach" || flag.Name == "wait" || flag.Name == "output" {
			return
		}
		values := []string{flag.Value.String()}
		if list, ok := flag.Value.(pflag.SliceValue); ok {
			values = list.GetSlice()
		}
		for _, value := range values {
			words = append(words, "--"+flag.Name+"="+value)
		}
	})
	return append(words, "--")
}

// logFile is where an emulator without a terminal leaves what it says.
func logFile(dir string) string { return filepath.Join(dir, ".angz", "logs", "console.log") }

// openLog makes that file anew.
func openLog(dir string) (*os.File, error) {
	if _, err := project.MakeFolder(dir); err != nil {
		return nil, err
	}
	path := logFile(dir)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make the folder of the log: %w", err)
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make the log: %w", err)
	}
	return file, nil
}

// mostLogged is how large the log of an emulator without a terminal becomes, in
// bytes, before it is begun anew and the one before is kept beside it.
const mostLogged = 16 << 20

// boundedLog appends to the log and keeps it from filling the disk. It is safe
// for concurrent use.
type boundedLog struct {
	path string
	most int64

	mu   sync.Mutex
	file *os.File // nil before the first line
	size int64
}

// Write implements io.Writer.
func (l *boundedLog) Write(text []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil && l.size > 0 && l.size+int64(len(text)) > l.most {
		if err := errors.Join(l.file.Close(), os.Rename(l.path, l.path+".1")); err != nil {
			return 0, err
		}
		l.file = nil
	}
	if l.file == nil {
		file, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			return 0, err
		}
		l.file, l.size = file, 0
		if info, err := file.Stat(); err == nil {
			l.size = info.Size()
		}
	}
	n, err := l.file.Write(text)
	l.size += int64(n)
	return n, err
}

// Close ends the log.
func (l *boundedLog) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	return err
}

// detachment is an emulator that is started to stay when this process ends.
type detachment struct {
	argv    []string
	environ []string
	dir     string        // of the project
	wait    time.Duration // until everything is ready; 0 for not waiting
}

// How long an emulator may take.
const (
	answerWait = 30 * time.Second // until it can be controlled
	endWait    = 15 * time.Second // from SIGTERM to SIGKILL
)

// run starts the emulator and returns how it is doing when it can be controlled
// and, if so asked, when everything is ready. After an error nothing of it is
// left.
func (d *detachment) run(ctx context.Context) (control.Status, error) {
	// Its log belongs to the one that runs already.
	if other, err := control.Find(d.dir); err == nil {
		defer other.Close()
		return control.Status{}, &control.Taken{Record: other.Record}
	}
	log, err := openLog(d.dir)
	if err != nil {
		return control.Status{}, err
	}
	defer log.Close()
	cmd := exec.Command(d.argv[0], d.argv[1:]...)
	cmd.Env, cmd.Stdout, cmd.Stderr = d.environ, log, log
	ownSession(cmd)
	if err := cmd.Start(); err != nil {
		return control.Status{}, fmt.Errorf("start angz dev: %w", err)
	}
	exited := make(chan struct{})
	go func() { defer close(exited); _ = cmd.Wait() }()
	running, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() {
		select {
		case <-exited:
			stop(errExited)
		case <-running.Done():
		}
	}()
	now, err := follow(running, d.dir, cmd.Process.Pid, d.wait)
	if errors.Is(err, control.ErrEnded) && !isClosed(exited, endWait) {
		end(cmd, exited)
	}
	if errors.Is(err, control.ErrEnded) || errors.Is(context.Cause(running), errExited) {
		return now, fmt.Errorf("angz dev has ended: %s%s\nthe whole log: %s", cmd.ProcessState, lastLines(log), logFile(d.dir))
	}
	if err != nil {
		end(cmd, exited)
		return now, fmt.Errorf("%w\nangz dev was stopped again; its log: %s", err, logFile(d.dir))
	}
	return now, nil
}

// errExited says that a process has ended that was waited for.
var errExited = errors.New("it has ended")

// follow waits until the emulator of a process can be controlled and, unless
// wait is 0, until everything is ready.
func follow(ctx context.Context, dir string, pid int, wait time.Duration) (control.Status, error) {
	patience := cmp.Or(wait, answerWait)
	waiting, stop := context.WithTimeout(ctx, patience)
	defer stop()
	client, now, err := attach(waiting, dir, pid)
	if err != nil && errors.Is(waiting.Err(), context.DeadlineExceeded) {
		return now, fmt.Errorf("angz dev did not come up within %s", patience)
	} else if err != nil {
		return now, err
	}
	defer client.Close()
	if wait == 0 {
		return now, nil
	}
	now, err = client.AwaitReady(waiting)
	unready := new(control.Unready)
	if errors.As(err, &unready) && unready.Late {
		return now, fmt.Errorf("not ready within %s: %s", wait, printableLines(err.Error()))
	} else if errors.As(err, &unready) {
		return now, errors.New(printableLines(err.Error()))
	}
	return now, err
}

// attach connects to the emulator of a process as soon as it answers.
func attach(ctx context.Context, dir string, pid int) (*control.Client, control.Status, error) {
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for {
		client, err := control.Find(dir)
		if err == nil && client.PID == pid {
			now, err := client.Status(ctx)
			if err == nil {
				return client, now, nil
			}
		}
		if err == nil {
			client.Close()
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return nil, control.Status{}, context.Cause(ctx)
		}
	}
}

// end ends the process and waits until it is gone.
func end(cmd *exec.Cmd, exited <-chan struct{}) {
	_ = cmd.Process.Signal(syscall.SIGTERM)
	if !isClosed(exited, endWait) {
		_ = cmd.Process.Kill()
		<-exited
	}
}

// isClosed reports whether a channel is closed within a time.
func isClosed(channel <-chan struct{}, within time.Duration) bool {
	patience := time.NewTimer(within)
	defer patience.Stop()
	select {
	case <-channel:
		return true
	case <-patience.C:
		return false
	}
}

// lastLines returns the last lines of a log, each on a line of its own and
// marked as told by somebody else. It is empty when there are none.
func lastLines(log io.ReaderAt) string {
	const most, longest = 20, 16 << 10
	size := int64(0)
	if file, ok := log.(*os.File); ok {
		if info, err := file.Stat(); err == nil {
			size = info.Size()
		}
	}
	text := make([]byte, min(size, longest))
	n, _ := log.ReadAt(text, size-int64(len(text)))
	lines := strings.Split(strings.TrimRight(string(text[:n]), "\n"), "\n")
	if size > longest {
		lines = lines[1:] // it is cut
	}
	var told strings.Builder
	for _, line := range lines[max(0, len(lines)-most):] {
		if line != "" {
			told.WriteString("\n  | " + printable(line))
		}
	}
	return told.String()
}
