// Package supervise runs the user's services as child processes: it builds them,
// starts them side by side, says when they are ready, starts them again when
// they die, and makes sure that none of them outlives angz, however angz ends.
package supervise

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// Command is a command as a person wrote it: one line for a shell, or a list of
// words that is run as it is. The zero Command is none.
type Command struct {
	Argv  []string
	Shell string
}

// IsZero reports whether there is no command.
func (c Command) IsZero() bool { return len(c.Argv) == 0 && c.Shell == "" }

func (c Command) same(other Command) bool {
	return c.Shell == other.Shell && slices.Equal(c.Argv, other.Argv)
}

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
	// Build, if any, is run before the first start and before every restart that
	// is asked for. Services with the same Dir, Build and Env share one build.
	Build Command
	// Check, if not nil, returns a command that says whether these files can be
	// run at all, or none. It is asked before a restart that files caused.
	Check func(files []string) Command
	// Run starts the service. Without it the service is started elsewhere and
	// only waited for.
	Run Command
	// Env holds variables for all commands, as NAME=value.
	Env []string
	// RunEnv, if not nil, returns more variables for Run. It is called before
	// every start and may wait for what they depend on.
	RunEnv func(ctx context.Context) []string
	// Address is where the service will answer: host:port, or the path of a
	// socket. With https:// before it only the port is waited for.
	Address string
}

// same reports whether a service described so need not be started again.
func (s Spec) same(other Spec) bool {
	return s.Name == other.Name && s.Dir == other.Dir && s.Build.same(other.Build) && s.Run.same(other.Run) &&
		slices.Equal(s.Env, other.Env) && s.Address == other.Address
}

// Cause is why a service is started again.
type Cause struct {
	Why   string    // in a few words, for people: "asked for", "order/main.go was saved"
	At    time.Time // builds that began before it do not count
	Files []string  // that were changed, if it is because of files
}

// ItDied is the cause when nobody wanted a service to be started again.
const ItDied = "it died"

// State says how a service is doing.
type State string

// The states of a service. It serves in the last three.
const (
	Building    State = "building"
	BuildFailed State = "build failed" // nothing of it runs; see Problem and Tail
	Starting    State = "starting"
	Waiting     State = "waiting" // started elsewhere and not answering
	NotReady    State = "not ready"
	Died        State = "died" // and is started again after Delay
	Stopped     State = "stopped"

	Ready      State = "ready"
	Rebuilding State = "ready, building" // the process before serves until the build is good
	Outdated   State = "ready, outdated" // the newest build failed; the process before serves
)

// Serves reports whether the service answers in this state.
func (s State) Serves() bool { return s == Ready || s == Rebuilding || s == Outdated }

// Status is what is known of a service at one moment.
type Status struct {
	Name    string
	Address string
	State   State
	PID     int           // of the process, 0 while there is none
	Starts  int           // how often it has been started
	Since   time.Time     // of the newest start; zero before the first
	Cause   string        // of the newest start, or of the one that is being prepared
	Build   time.Duration // how long the build before the newest start took
	Took    time.Duration // from the newest start to Ready, or to the death
	Whole   time.Duration // from the cause of the newest start to Ready, the build included
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

// Group runs services. It is used for one Run; its other methods are for any
// goroutine while that lasts, and do nothing after it.
type Group struct {
	options  Options
	mark     string // tells the group's processes from all others
	forker   *forker
	guardian *guardian
	builder  *builder
	began    time.Time
	changes  chan Status
	working  sync.WaitGroup // the services' goroutines

	mu       sync.Mutex
	ctx      context.Context //nolint:containedctx // of Run, for services that join later
	services map[string]*service
	closed   bool
}

// New returns a group that has not started.
func New(options Options) *Group {
	options.setDefaults()
	g := &Group{options: options, mark: rand.Text(), began: time.Now(), forker: newForker(), changes: make(chan Status), services: map[string]*service{}}
	g.builder = newBuilder(g)
	return g
}

// Run builds, starts and keeps up the services until the context ends, then
// stops them and returns when no process of theirs is left. Services that cannot
// be built or started do not keep the others from running.
func (g *Group) Run(ctx context.Context, specs []Spec) error {
	if err := checkNames(specs); err != nil {
		return err
	}
	g.guardian = startGuardian(g.options.Guard, g.mark, g.options.Logger)
	for _, socket := range g.options.Sockets {
		g.guardian.socket(socket)
	}
	var forking sync.WaitGroup
	forking.Go(g.forker.run)
	told := make(chan struct{})
	go func() {
		defer close(told)
		for change := range g.changes {
			g.options.OnChange(change)
		}
	}()
	g.mu.Lock()
	g.ctx = ctx
	g.apply(specs)
	g.mu.Unlock()

	<-ctx.Done()
	g.mu.Lock()
	g.closed = true // nothing joins from here on
	g.mu.Unlock()
	g.working.Wait()
	g.builder.wait()
	close(g.changes)
	<-told
	g.forker.stop()
	forking.Wait()
	sweep(markOf(g.mark, ""))
	g.guardian.dismiss()
	return nil
}

// Apply changes which services there are: those that are new are started, those
// that are not named any more are stopped, those that are described otherwise
// are started again, and all others are left alone.
func (g *Group) Apply(specs []Spec) error {
	if err := checkNames(specs); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ctx != nil && !g.closed {
		g.apply(specs)
	}
	return nil
}

// apply is Apply with the lock held.
func (g *Group) apply(specs []Spec) {
	wanted := map[string]bool{}
	for _, spec := range specs {
		wanted[spec.Name] = true
	}
	for name, s := range g.services {
		if !wanted[name] {
			s.leave()
			delete(g.services, name)
		}
	}
	for _, spec := range specs {
		before := g.services[spec.Name]
		switch {
		case before == nil:
			g.join(spec, nil)
		case before.described.same(spec):
		case before.described.Run.IsZero() || spec.Run.IsZero():
			before.leave()
			g.join(spec, before.gone)
		default:
			before.described = spec
			before.order(want{spec: &spec, cause: Cause{Why: "its entry in angz.yaml was changed", At: time.Now()}})
		}
	}
}

// join starts a service, after another one has gone if there is one before it.
func (g *Group) join(spec Spec, after <-chan struct{}) {
	if network, address := split(spec.Address); network == "unix" && !spec.Run.IsZero() {
		g.guardian.socket(address)
	}
	ctx, leave := context.WithCancel(g.ctx)
	s := newService(g, spec, leave)
	g.services[spec.Name] = s
	g.working.Go(func() {
		defer close(s.gone)
		defer leave()
		if after != nil {
			<-after
		}
		s.run(ctx)
	})
}

// Restart starts services anew, as soon as they are built: until then, and if
// the build fails, what runs goes on. It does not wait. No names mean all that
// angz starts; unknown names and those of services that are started elsewhere are
// passed over.
func (g *Group) Restart(cause Cause, names ...string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for name, s := range g.services {
		if (len(names) == 0 || slices.Contains(names, name)) && !s.described.Run.IsZero() {
			s.order(want{cause: cause})
		}
	}
}

// Kill ends the process of a service by force, as a crash would. It is started
// again like every service that dies.
func (g *Group) Kill(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if s := g.services[name]; s != nil {
		s.order(want{kill: true})
	}
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
