// Package supervise runs the user's services as child processes: it builds them,
// starts them side by side, says when they are ready, starts them again when
// they die, and makes sure that none of them outlives angz, however angz ends.
package supervise

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Command is a command as a person wrote it: one line for a shell, or a list of
// words that is run as it is. The zero Command is none.
type Command struct {
	Argv  []string
	Shell string
}

// IsZero reports whether there is no command.
func (c Command) IsZero() bool { return len(c.Argv) == 0 && c.Shell == "" }

// String returns the command as it is shown to people.
func (c Command) String() string {
	if c.Shell != "" {
		return c.Shell
	}
	return strings.Join(c.Argv, " ")
}

// Spec describes one service.
type Spec struct {
	Name string // unique, as it is shown before the service's lines
	Dir  string // where the commands run
	// Build, if any, is run once before the first start. Services with the same
	// Dir, Build and Env share one build.
	Build Command
	// Run starts the service. Without it the service is started elsewhere and
	// only waited for.
	Run Command
	// Env holds variables for both commands, as NAME=value.
	Env []string
	// RunEnv, if not nil, returns more variables for Run. It is called once,
	// after the build, and may wait for what they depend on.
	RunEnv func(ctx context.Context) ([]string, error)
	// Address is where the service will answer: host:port, or the path of a
	// socket. With https:// before it only the port is waited for.
	Address string
}

// State says how a service is doing.
type State string

// The states of a service, in the order in which it goes through them.
const (
	Building    State = "building"
	BuildFailed State = "build failed" // it is not started; see Problem and Tail
	Starting    State = "starting"
	Waiting     State = "waiting" // started elsewhere and not answering yet
	NotReady    State = "not ready"
	Ready       State = "ready"
	Died        State = "died" // and is started again after Delay
	Stopped     State = "stopped"
)

// Status is what is known of a service at one moment.
type Status struct {
	Index   int // of its Spec
	Name    string
	Address string
	State   State
	PID     int           // of the process, 0 while there is none
	Starts  int           // how often it has been started
	Took    time.Duration // from the newest start to Ready, or to the death
	Delay   time.Duration // until the next start, when it has Died
	Problem string        // in words, when something is wrong
	Tail    []string      // the last lines of its output, when something is wrong
}

// Options describe a group. Zero durations mean the defaults.
type Options struct {
	// Environ is what the children inherit, as os.Environ returns it.
	Environ []string
	// Lines gets each line that a child prints, without its end; long lines
	// come in pieces of 64 KiB. Several goroutines call it. The bytes are valid
	// only during the call.
	Lines func(name string, line []byte)
	// OnChange gets every change of a service's state, one at a time.
	OnChange func(Status)
	// Guard is the command line of a process that calls Guard. Without it,
	// children of children may survive when angz is killed.
	Guard []string
	// Sockets are removed when angz is killed, besides those of the services.
	Sockets []string
	Logger  *slog.Logger

	Grace        time.Duration // from SIGTERM to SIGKILL; 5 s
	ReadyTimeout time.Duration // until a service counts as not ready; 60 s
	FirstDelay   time.Duration // before a dead service is started again; 100 ms
	LongestDelay time.Duration // to which that grows; 5 s
	Healthy      time.Duration // after which it is FirstDelay again; 10 s
}

// waitElsewhere is how soon a service that is started elsewhere is said to be
// missing.
const waitElsewhere = 2 * time.Second

func (o *Options) setDefaults() {
	for _, each := range []struct {
		value    *time.Duration
		standard time.Duration
	}{
		{&o.Grace, 5 * time.Second}, {&o.ReadyTimeout, time.Minute}, {&o.FirstDelay, 100 * time.Millisecond},
		{&o.LongestDelay, 5 * time.Second}, {&o.Healthy, 10 * time.Second},
	} {
		if *each.value == 0 {
			*each.value = each.standard
		}
	}
	if o.Lines == nil {
		o.Lines = func(string, []byte) {}
	}
	if o.OnChange == nil {
		o.OnChange = func(Status) {}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

// Group runs services. It is used for one Run.
type Group struct {
	options  Options
	mark     string // tells the group's processes from all others
	forker   *forker
	guardian *guardian
	changes  chan Status
}

// New returns a group that has not started.
func New(options Options) *Group {
	options.setDefaults()
	return &Group{options: options, mark: rand.Text(), forker: newForker(), changes: make(chan Status)}
}

// Run builds, starts and keeps up the services until the context ends, then
// stops them and returns when no process of theirs is left. Services that cannot
// be built or started do not keep the others from running.
func (g *Group) Run(ctx context.Context, specs []Spec) error {
	if err := checkNames(specs); err != nil {
		return err
	}
	g.guardian = startGuardian(g.options.Guard, g.mark, g.options.Logger)
	for _, socket := range g.sockets(specs) {
		g.guardian.socket(socket)
	}
	var forking sync.WaitGroup
	forking.Go(g.forker.run)

	var work errgroup.Group
	builds := newBuilds(specs)
	slots := make(chan struct{}, runtime.NumCPU()) // more builds at once only take turns
	for _, build := range builds.list {
		work.Go(func() error { g.build(ctx, build, slots); return nil })
	}
	for i, spec := range specs {
		s := &service{group: g, spec: spec, build: builds.of[i], status: Status{Index: i, Name: spec.Name, Address: spec.Address}}
		work.Go(func() error { s.run(ctx); return nil })
	}
	go func() { _ = work.Wait(); close(g.changes) }()
	for change := range g.changes {
		g.options.OnChange(change)
	}
	g.forker.stop()
	forking.Wait()
	sweep(markOf(g.mark, ""))
	g.guardian.dismiss()
	return nil
}

// checkNames makes sure that a name says which service is meant.
func checkNames(specs []Spec) error {
	seen := map[string]bool{}
	for _, spec := range specs {
		if spec.Name == "" || seen[spec.Name] {
			return fmt.Errorf("supervise services: the name %q is empty or taken twice", spec.Name)
		}
		seen[spec.Name] = true
	}
	return nil
}

// sockets lists what the guardian removes.
func (g *Group) sockets(specs []Spec) []string {
	sockets := slices.Clone(g.options.Sockets)
	for _, spec := range specs {
		if network, address := split(spec.Address); network == "unix" && !spec.Run.IsZero() {
			sockets = append(sockets, address)
		}
	}
	return sockets
}
