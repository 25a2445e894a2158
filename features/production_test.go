package features_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/eventstore/postgres"
	"github.com/angz-dev/angz/runtime/node"
)

// TestFeaturesInProduction checks that nothing changes for anybody when angz runs
// as one process for each role, over PostgreSQL and RabbitMQ.
func TestFeaturesInProduction(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a thousand processes")
	}
	run(t, separate{binary: servers.angz.build(t), broker: servers.rabbit.Use(t)}, "~@wip && ~@in-process")
}

// separate is angz as processes of their own, over servers that all scenarios
// share: each has a database, an exchange and queues for itself.
type separate struct{ binary, broker string }

func (s separate) prepare(w *world) error {
	uri := servers.postgres.Use(w.t)
	mark := filepath.Base(w.folder)
	maps.Copy(w.set, map[string]string{
		"storage.type": "postgres", "storage.postgres.uri": uri, "storage.postgres.max_connections": "4",
		"messaging.type": "amqp", "messaging.amqp.url": s.broker, "messaging.amqp.exchange": mark + ".events",
		"messaging.amqp.queue_prefix": mark + ".",
		"messaging.amqp.queue_type":   "classic", // there is one broker
		"transport.type":              "uds", "transport.uds.base_path": w.folder,
		"server.host": "127.0.0.1", "server.aggregate_port": "0", "server.event_query_port": "0", "gateway.port": "0", "stream.port": "0",
		"log.format": "json",
	})
	opened, err := openShared(w.ctx, uri)
	if err != nil {
		return err
	}
	w.shared = opened
	w.t.Cleanup(func() {
		if err := opened.close(context.WithoutCancel(w.ctx)); err != nil {
			w.t.Errorf("close the database: %v", err)
		}
	})
	return nil
}

// shared is a scenario's database as the test sees it: as one more process that
// uses the store, and from behind.
type shared struct {
	*postgres.Store
	database *pgx.Conn // for the goroutine of the steps
}

func openShared(ctx context.Context, uri string) (*shared, error) {
	store, err := postgres.Open(ctx, postgres.Options{URI: uri, Migrate: true, CorrelationIndex: true, MaxConnections: 2})
	if err != nil {
		return nil, err
	}
	database, err := pgx.Connect(ctx, uri)
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return &shared{store, database}, nil
}

// close gives the database up, which takes more room than its events.
func (s *shared) close(ctx context.Context) error {
	name := s.database.Config().Database
	errs := []error{s.Store.Close(), s.database.Close(ctx)}
	admin, err := pgx.Connect(ctx, servers.postgres.URI("postgres"))
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	_, err = admin.Exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)")
	return errors.Join(append(errs, err, admin.Close(ctx))...)
}

func (s separate) start(w *world) (system, error) {
	if err := w.arrange(w.shared); err != nil {
		return nil, err
	}
	p := &processes{shared: w.shared, folder: w.folder, conns: map[string]*grpc.ClientConn{}}
	// In the order in which they are stopped: whoever causes work before those
	// who do it.
	tiers := [][]string{{"gateway", "stream"}, nil, nil, {"aggregate"}}
	for _, saga := range w.sagas {
		tiers[1] = append(tiers[1], "saga "+saga.name)
	}
	for _, projector := range w.projectors {
		tiers[2] = append(tiers[2], "projector "+projector.name)
	}
	p.tiers = make([][]*child, len(tiers))
	environ := w.environ()
	for i, tier := range tiers {
		for _, words := range tier {
			started, err := startChild(s.binary, strings.Fields(words), environ)
			if err != nil {
				return nil, errors.Join(err, p.stop())
			}
			p.tiers[i] = append(p.tiers[i], started)
			w.processes = append(w.processes, started)
		}
	}
	for _, one := range p.all() {
		if err := one.awaitReady(); err != nil {
			return nil, errors.Join(err, p.stop())
		}
	}
	return p, nil
}

// environ returns the whole configuration as variables.
func (w *world) environ() []string {
	var environ []string
	set := func(value string, path ...string) {
		environ = append(environ, "ANGZARR_"+strings.ToUpper(strings.Join(path, "__"))+"="+value)
	}
	for key, value := range w.set {
		set(value, strings.Split(key, ".")...)
	}
	for list, services := range map[string][]config.Service{
		"business_logic": w.configured(w.domains), "projectors": w.configured(w.projectors), "sagas": w.configured(w.sagas),
	} {
		for i, service := range services {
			entry := []string{list, fmt.Sprint(i)}
			set(service.Name, append(entry, "name")...)
			set(service.Address, append(entry, "address")...)
			if service.Timeout > 0 {
				set(service.Timeout.String(), append(entry, "timeout")...)
			}
			if list == "business_logic" {
				continue // the others are not for domains
			}
			set(strings.Join(service.Domains, ","), append(entry, "domains")...)
			set(fmt.Sprint(service.Synchronous), append(entry, "synchronous")...)
			set(service.History, append(entry, "history")...)
		}
	}
	slices.Sort(environ)
	return environ
}

// processes is angz while it runs as processes of their own.
type processes struct {
	shared *shared
	folder string
	tiers  [][]*child
	conns  map[string]*grpc.ClientConn // to projectors, by name
}

func (p *processes) all() []*child { return slices.Concat(p.tiers...) }

// Store returns the test's own view of the store that all of them share.
func (p *processes) Store() eventstore.Store { return p.shared }

func (p *processes) Head(ctx context.Context) (head uint64, err error) {
	err = p.shared.database.QueryRow(ctx, `SELECT coalesce(max(position), 0) FROM angz_events`).Scan(&head)
	return head, err
}

func (p *processes) Endpoints() []node.Endpoint {
	var all []node.Endpoint
	for _, one := range p.all() {
		for _, endpoint := range one.endpoints() {
			if !filepath.IsAbs(endpoint.Address) { // clients come over TCP
				all = append(all, endpoint)
			}
		}
	}
	return all
}

// Projector goes to the socket that the coordinators of aggregates use.
func (p *processes) Projector(name string) (grpc.ClientConnInterface, bool) {
	if conn, known := p.conns[name]; known {
		return conn, true
	}
	conn, err := grpc.NewClient("unix:"+filepath.Join(p.folder, "coordinator-projector-"+name+".sock"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, false
	}
	p.conns[name] = conn
	return conn, true
}

func (p *processes) stop() error {
	var errs []error
	for _, conn := range p.conns {
		errs = append(errs, conn.Close())
	}
	for _, tier := range p.tiers {
		stopped := make(chan error, len(tier))
		for _, one := range tier {
			go func() { stopped <- one.stop() }()
		}
		for range tier {
			errs = append(errs, <-stopped)
		}
	}
	return errors.Join(errs...)
}

// dieUnrecorded kills the component's process in the moment when it has done its
// work and asks the database to record that.
func (p *processes) dieUnrecorded(w *world, component *standIn) error {
	slice, err := p.sliceAtWork(w.ctx, component)
	if err != nil {
		return err
	}
	barrier, err := closeBarrier(w.ctx, w.shared.database, component.subscription(), slice)
	if err != nil {
		return err
	}
	component.release()
	if err := w.until(func() error { return barrier.reached(w.ctx) }); err != nil {
		return errors.Join(err, barrier.open(w.ctx))
	}
	if err := p.kill(component.kind + " " + component.name); err != nil {
		return errors.Join(err, barrier.open(w.ctx))
	}
	return barrier.open(w.ctx)
}

// sliceAtWork returns the slice to which the newest book belongs that the
// component was given.
func (p *processes) sliceAtWork(ctx context.Context, component *standIn) (int, error) {
	positions, err := p.shared.Positions(ctx)
	if err != nil {
		return 0, err
	}
	key, err := component.newestKey()
	if err != nil {
		return 0, err
	}
	for _, at := range positions {
		if at.Name == component.subscription() {
			return eventstore.SliceOf(key, at.Slices), nil
		}
	}
	return 0, fmt.Errorf("%s has no place in the log", component.subscription())
}

// kill ends a process without warning.
func (p *processes) kill(name string) error {
	for t, tier := range p.tiers {
		if i := slices.IndexFunc(tier, func(one *child) bool { return one.name == name }); i >= 0 {
			tier[i].kill()
			p.tiers[t] = slices.Delete(tier, i, i+1) // nothing is left to be stopped
			return nil
		}
	}
	return fmt.Errorf("there is no process %q", name)
}
