package node

import (
	"context"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/angz-dev/angz/runtime/transport"
)

// dependency is something outside the process that it needs: one of the user's
// services, the store, or a role in another process.
type dependency struct {
	kind string
	// watch tells when it comes and goes, until the context ends.
	watch func(ctx context.Context, tell func(up bool)) error
}

// watchClient watches the other end of a connection.
func watchClient(client *transport.Client) func(context.Context, func(bool)) error {
	return func(ctx context.Context, tell func(bool)) error {
		for ctx.Err() == nil {
			if client.AwaitReady(ctx) == nil {
				tell(true)
				if client.AwaitLost(ctx) == nil {
					tell(false)
				}
			}
		}
		return nil
	}
}

// unhealthy is how long another role is left in peace that could not say how it
// is.
const unhealthy = 100 * time.Millisecond

// watchRole watches a role in another process: it is there when its own health
// says that it is of use.
func watchRole(client *transport.Client) func(context.Context, func(bool)) error {
	return func(ctx context.Context, tell func(bool)) error {
		for ctx.Err() == nil {
			if client.AwaitReady(ctx) != nil {
				continue
			}
			err := followRole(ctx, client, tell)
			if status.Code(err) == codes.Unimplemented { // it has no health but to be there
				tell(true)
				_ = client.AwaitLost(ctx)
			}
			tell(false)
			timer := time.NewTimer(unhealthy)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
			}
		}
		return nil
	}
}

// followRole tells what a role's health service says until it falls silent.
func followRole(ctx context.Context, client *transport.Client, tell func(bool)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := healthpb.NewHealthClient(client).Watch(ctx, &healthpb.HealthCheckRequest{})
	for err == nil {
		var health *healthpb.HealthCheckResponse
		if health, err = stream.Recv(); err == nil {
			tell(health.Status == healthpb.HealthCheckResponse_SERVING)
		}
	}
	return err
}

// watchStore makes a store that can go away, as a database on a network can, one
// of the dependencies.
func (n *Node) watchStore() {
	if store, ok := n.store.(interface {
		Watch(ctx context.Context, tell func(up bool)) error
	}); ok {
		n.dependencies = append(n.dependencies, dependency{kindStore, func(ctx context.Context, tell func(bool)) error {
			return store.Watch(ctx, func(up bool) {
				n.options.Telemetry.Metrics().Store(up)
				tell(up)
			})
		}})
	}
}

// watchDependencies keeps the health of the doors in step with what is behind
// them: commands can be taken when every domain's service is reachable; queries
// and streams need none.
func (n *Node) watchDependencies(ctx context.Context) error {
	changes := make(chan change)
	group := &errgroup.Group{}
	for i, dependency := range n.dependencies {
		group.Go(func() error {
			return dependency.watch(ctx, func(up bool) { changes <- change{i, up} })
		})
	}
	done := make(chan error, 1)
	go func() { done <- group.Wait(); close(changes) }()
	n.followHealth(changes)
	return <-done
}

// change says that a dependency, by its index, has come or gone.
type change struct {
	dependency int
	up         bool
}

// followHealth returns when no change will come any more.
func (n *Node) followHealth(changes <-chan change) {
	up := make([]bool, len(n.dependencies))
	announced := false
	for {
		there, missing := map[string]bool{}, map[string]bool{}
		for i, dependency := range n.dependencies {
			there[dependency.kind] = there[dependency.kind] || up[i]
			missing[dependency.kind] = missing[dependency.kind] || !up[i]
		}
		n.waiting.set(kindsOf(missing))
		for _, front := range n.fronts {
			front.server.SetServing(front.ready(there, missing))
		}
		if !announced && !anyTrue(missing) {
			announced = true
			close(n.ready)
		}
		change, open := <-changes
		if !open {
			return
		}
		up[change.dependency] = change.up
	}
}

// kindsOf names the kinds of which something is missing.
func kindsOf(missing map[string]bool) (kinds []string) {
	for kind, is := range missing {
		if is {
			kinds = append(kinds, kind)
		}
	}
	slices.Sort(kinds)
	return kinds
}

func anyTrue(of map[string]bool) bool {
	for _, value := range of {
		if value {
			return true
		}
	}
	return false
}

// ready reports whether what is behind the door is of use. there has the kinds
// of which something is reachable, missing those of which something is not.
func (f *front) ready(there, missing map[string]bool) bool {
	for _, kind := range f.needs {
		if missing[kind] {
			return false
		}
	}
	for _, kind := range f.anyOf {
		if there[kind] {
			return true
		}
	}
	return len(f.anyOf) == 0
}
