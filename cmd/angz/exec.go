package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"github.com/angz-dev/angz/emulator"
	"github.com/angz-dev/angz/emulator/control"
	"github.com/angz-dev/angz/runtime/config"
)

// executed are the flags of "angz exec".
type executed struct {
	file    string
	project runningProject
	attach  bool
	wait    time.Duration
	ports   devPorts
}

func newExecCommand(s streams) *cobra.Command {
	var o executed
	cmd := &cobra.Command{
		Use:   "exec -- COMMAND [ARGUMENT...]",
		Short: "Run a command, such as tests, against the project",
		Long: "Start the project with an empty store in memory, wait until every service is ready, run\n" +
			"COMMAND, stop everything, and end with the exit code of COMMAND. It finds in\n\n" +
			"  COMMAND_ADDRESS      where commands are sent, such as 127.0.0.1:1316\n" +
			"  EVENT_QUERY_ADDRESS  where events are asked for\n" +
			"  STREAM_ADDRESS       where events are followed\n\n" +
			"What the services log goes to .angz/logs. When the project runs already nothing is done,\n" +
			"because COMMAND would find and change what is stored there; --attach is for those who want\n" +
			"that, and leaves the project running.\n\n" +
			"The exit code is 1 when the project does not become ready, 127 when COMMAND is not\n" +
			"found, 126 when it cannot be run, and 128 more than the signal that ended it.",
		Example: "  angz exec -- npm test\n" +
			"  angz exec --wait 2m -- pytest -q\n" +
			"  angz exec --ports auto -- go test ./...\n" +
			"  angz exec -- sh -c 'angz send todo mine AddTask \"{\\\"title\\\": \\\"tea\\\"}\" --address $COMMAND_ADDRESS'",
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), s, args) },
	}
	// What belongs to COMMAND is left to it.
	cmd.Flags().SetInterspersed(false)
	cmd.Flags().StringVar(&o.file, "config", "", "the configuration file (default: angz.yaml in the project's folder or above)")
	o.project.register(cmd)
	cmd.Flags().BoolVar(&o.attach, "attach", false, "use the project that runs already, with all that is stored, if one does")
	o.ports.register(cmd, cmd.Flags())
	cmd.Flags().DurationVar(&o.wait, "wait", time.Minute, "how long to wait until every service is ready")
	return cmd
}

func (o *executed) run(ctx context.Context, s streams, argv []string) error {
	if len(argv) == 0 || argv[0] == "" {
		return usagef("COMMAND is missing\nusage: angz exec -- COMMAND [ARGUMENT...]\nsee \"angz exec --help\"")
	}
	if o.wait <= 0 {
		return usagef("--wait: found %s, expected more than 0", o.wait)
	}
	if err := o.ports.check(); err != nil {
		return err
	}
	loaded, err := o.load(s)
	if err != nil {
		return err
	}
	e := execution{dir: loaded.Dir, wait: o.wait, emulate: func(ctx context.Context, log io.Writer) error { return emulate(ctx, s, loaded, log) }}
	client, err := control.Find(loaded.Dir)
	switch {
	case err == nil && !o.attach:
		defer client.Close()
		return fmt.Errorf("%w\nor run the command against it with --attach: it will find and change what is stored there", &control.Taken{Record: client.Record})
	case err == nil:
		defer client.Close()
		fmt.Fprintf(s.err, "angz exec: using the project that runs already, process %d\n", client.PID)
		return e.runBeside(ctx, s, client, argv)
	case !errors.As(err, new(*control.NotRunning)):
		return err
	}
	return e.run(ctx, s, argv)
}

// load reads the configuration as for angz dev, but with a store in memory.
func (o *executed) load(s streams) (*config.Config, error) {
	dir, err := o.project.folder()
	if err != nil {
		return nil, err
	}
	loaded, err := config.Load(config.Options{
		File: o.file, Dir: dir, Environ: s.environ, Dev: true, Set: map[string]string{"storage.type": "memory", "log.format": "text"},
	})
	if err != nil {
		return nil, usageError{err}
	}
	return loaded, o.ports.move(loaded)
}

// emulate runs the project until the context ends.
func emulate(ctx context.Context, s streams, loaded *config.Config, log io.Writer) error {
	executable, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the program angz itself: %w", err)
	}
	return emulator.Run(ctx, emulator.Options{
		Config: loaded, Environ: s.environ, Stdout: log, Stderr: log, Guard: []string{executable, guardCommand},
	})
}

// execution is a command with an emulator around it.
type execution struct {
	dir     string // of the project
	wait    time.Duration
	emulate func(ctx context.Context, log io.Writer) error // runs the emulator in this process until the context ends
}

// run starts the emulator, runs the command, and returns when nothing of both is
// left.
func (e *execution) run(ctx context.Context, s streams, argv []string) error {
	log, err := openLog(e.dir)
	if err != nil {
		return err
	}
	defer log.Close()
	// The emulator serves until the command has ended, however angz is told to end.
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	starting, ended := context.WithCancelCause(ctx)
	defer ended(nil)
	served := make(chan error, 1)
	bounded := &boundedLog{path: logFile(e.dir), most: mostLogged}
	defer bounded.Close()
	go func() { served <- e.emulate(serving, bounded); ended(errExited) }()

	now, err := follow(starting, e.dir, os.Getpid(), e.wait)
	exited := errors.Is(context.Cause(starting), errExited)
	switch {
	case exited:
		err = fmt.Errorf("the emulator has ended%s\nthe whole log: %s", lastLines(log), logFile(e.dir))
	case err == nil:
		err = execute(ctx, s, now, argv)
	default:
		err = fmt.Errorf("%w\nthe log: %s", err, logFile(e.dir))
	}
	stop()
	failed := <-served
	switch {
	case failed == nil:
	case err == nil, exited:
		return failed
	default:
		fmt.Fprintln(s.err, "error:", printableLines(failed.Error()))
	}
	return err
}

// runBeside runs the command against an emulator that stays.
func (e *execution) runBeside(ctx context.Context, s streams, client *control.Client, argv []string) error {
	waiting, stop := context.WithTimeout(ctx, e.wait)
	defer stop()
	now, err := client.AwaitReady(waiting)
	if unready := new(control.Unready); errors.As(err, &unready) {
		return errors.New(printableLines(err.Error()))
	} else if err != nil {
		return saysNo(err)
	}
	return execute(ctx, s, now, argv)
}

// What shells end with when a command cannot be run, and what they add to the
// number of a signal.
const (
	exitNotRun   = 126
	exitNotFound = 127
	exitSignal   = 128
)

// execute runs a command to its end and fails with its exit code.
func execute(ctx context.Context, s streams, now control.Status, argv []string) error {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.in, s.out, s.err
	cmd.Env = append(s.environ[:len(s.environ):len(s.environ)], addresses(now)...)
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(s.err, "error: run COMMAND:", err)
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
			return exitCode(exitNotFound)
		}
		return exitCode(exitNotRun)
	}
	told := context.AfterFunc(ctx, func() {
		if !heardItself(ctx, s) {
			_ = cmd.Process.Signal(syscall.SIGTERM)
		}
	})
	err := cmd.Wait()
	told()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return exitCode(exitSignal + int(status.Signal()))
	}
	return exitCode(exit.ExitCode())
}

// heardItself reports whether what ended the context was Ctrl-C, of which the
// terminal tells the command as well.
func heardItself(ctx context.Context, s streams) bool {
	file, ok := s.in.(*os.File)
	return ok && isatty.IsTerminal(file.Fd()) && strings.HasPrefix(context.Cause(ctx).Error(), os.Interrupt.String())
}

// addresses returns the variables by which a client finds the project, under the
// names that services know.
func addresses(now control.Status) []string {
	var variables []string
	for _, door := range []struct{ role, variable string }{
		{"gateway", "COMMAND_ADDRESS"}, {"query", "EVENT_QUERY_ADDRESS"}, {"stream", "STREAM_ADDRESS"},
	} {
		if address := clientAddress(now, door.role); address != "" {
			variables = append(variables, door.variable+"="+address)
		}
	}
	return variables
}

// clientAddress returns where a role is reached, a port rather than a socket.
func clientAddress(now control.Status, role string) string {
	found := ""
	for _, endpoint := range now.Endpoints {
		if endpoint.Role != role {
			continue
		}
		if _, _, err := net.SplitHostPort(endpoint.Address); err == nil {
			return endpoint.Address
		}
		found = endpoint.Address
	}
	return found
}
