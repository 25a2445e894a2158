package node

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/admin"
	"github.com/angz-dev/angz/runtime/aggregate"
	"github.com/angz-dev/angz/runtime/archive"
	"github.com/angz-dev/angz/runtime/business"
	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/delivery"
	"github.com/angz-dev/angz/runtime/eventlog"
	"github.com/angz-dev/angz/runtime/explore"
	"github.com/angz-dev/angz/runtime/gateway"
	"github.com/angz-dev/angz/runtime/guard"
	"github.com/angz-dev/angz/runtime/observe"
	"github.com/angz-dev/angz/runtime/projector"
	"github.com/angz-dev/angz/runtime/query"
	"github.com/angz-dev/angz/runtime/rpcerr"
	"github.com/angz-dev/angz/runtime/saga"
	"github.com/angz-dev/angz/runtime/stream"
	"github.com/angz-dev/angz/runtime/transport"
)

// memory holds the connections on which the roles of this process meet. They
// speak the same services as in production, without a socket between.
type memory struct {
	gateway, aggregate, query, stream, recorder *transport.Memory
	projectors                                  map[string]*transport.Memory // by name
}

// Service is one of the user's services as the node sees it.
type Service struct {
	Kind    string // "aggregate", "projector", "saga"
	Name    string
	Address string
	client  *transport.Client
}

// build makes the roles and connects them.
func (n *Node) build() error {
	n.memory = memory{
		gateway: n.newMemory(), aggregate: n.newMemory(), query: n.newMemory(), stream: n.newMemory(), recorder: n.newMemory(),
		projectors: map[string]*transport.Memory{},
	}
	n.watchStore()
	n.buildReaders()
	n.buildAdmin()
	if err := n.buildFollowers(); err != nil {
		return err
	}
	if err := n.buildCommands(); err != nil {
		return err
	}
	n.buildExplorer()
	if err := n.buildDoor(); err != nil {
		return err
	}
	n.register()
	return nil
}

// buildReaders makes the roles that only read the log and the bus.
func (n *Node) buildReaders() {
	if n.parts.store {
		n.queries = query.New(query.Options{Store: n.store, MaxMessageBytes: n.config.Limits.MaxMessageBytes})
	}
	if n.parts.stream {
		n.streams = stream.New(stream.Options{Bus: n.bus, Log: n.store, Metrics: n.options.Telemetry.Metrics(), Logger: observe.Component(n.logger, "stream")})
	}
	if n.parts.log && n.options.Events != nil {
		n.events = eventlog.New(eventlog.Options{
			Bus: n.bus, Log: n.store, Output: n.options.Events, Color: n.options.Color, Lines: n.options.EventLines, Payloads: &n.schema,
		})
	}
}

// buildAdmin makes the role by which people see and decide about dead letters.
func (n *Node) buildAdmin() {
	if !n.parts.store {
		return
	}
	options := admin.Options{Store: n.store, Decided: n.decided, Logger: observe.Component(n.logger, "admin")}
	if n.parts.gateway {
		// At the other doors it is a gateway that calls, and says for whom.
		options.Caller = guard.Caller
	}
	n.admin = admin.New(options)
	n.archive = archive.New(n.archiveOptions())
}

// decided has this process's consumers look at what has been decided.
func (n *Node) decided(subscription string) {
	for i, service := range n.parts.projectors {
		if subscription == "projector/"+service.Name {
			n.projectors[i].Decided()
		}
	}
	for i, service := range n.parts.sagas {
		if subscription == "saga/"+service.Name {
			n.sagas[i].Decided()
		}
	}
}

func (n *Node) newMemory() *transport.Memory {
	connection := transport.NewMemory()
	if trace := n.options.Telemetry.UnaryMemory(); trace != nil {
		connection = transport.NewMemory(trace)
	}
	connection.Logger = observe.Component(n.logger, "transport")
	n.connections = append(n.connections, connection)
	return connection
}

// connect dials one of the user's services.
func (n *Node) connect(kind, prefix string, service config.Service) (*transport.Client, error) {
	address := service.Address
	if address == "" && n.config.Transport.Type == "uds" {
		address = filepath.Join(n.config.Transport.UDS.BasePath, prefix+"-"+service.Name+".sock")
	}
	if address == "" {
		return nil, fmt.Errorf("%s %s has no address: set it in the configuration, or give it a run line and use angz dev", kind, service.Name)
	}
	options := n.dialOptions(fmt.Sprintf("%s %s's service", kind, service.Name))
	options.ReadyWait = n.options.Patience
	client, err := transport.Dial(address, options)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", kind, service.Name, err)
	}
	n.services = append(n.services, &Service{Kind: kind, Name: service.Name, Address: address, client: client})
	n.dependencies = append(n.dependencies, dependency{kind, watchClient(client)})
	return client, nil
}

func (n *Node) buildFollowers() error {
	for _, configured := range n.parts.projectors {
		client, err := n.connect("projector", "projector", configured)
		if err != nil {
			return err
		}
		n.projectors = append(n.projectors, projector.New(projector.Options{
			Name: configured.Name, Service: pb.NewProjectorClient(n.serviceOf("projector", configured.Name, client)), Timeout: configured.Timeout,
			FullHistory: configured.History == "full", Peers: n.peersOf("projector", configured.Name), Delivery: deliveryOptions[*pb.Projection](n, configured, "projector"),
		}))
	}
	for _, configured := range n.parts.sagas {
		client, err := n.connect("saga", "saga", configured)
		if err != nil {
			return err
		}
		n.sagas = append(n.sagas, saga.New(saga.Options{
			Name: configured.Name, Service: pb.NewSagaClient(n.gate.before(n.serviceOf("saga", configured.Name, client))), Timeout: configured.Timeout, Peers: n.peersOf("saga", configured.Name),
			Commands: pb.NewAggregateCoordinatorClient(n.called("saga/"+configured.Name, n.memory.gateway)), Compensation: n.compensation(),
			Delivery: deliveryOptions[*saga.Outcome](n, configured, "saga"), Logger: observe.Component(n.logger, "saga"),
		}))
	}
	return nil
}

func deliveryOptions[R any](n *Node, configured config.Service, kind string) delivery.Options[R] {
	door := kind
	if n.parts.all() {
		door = "aggregate"
	}
	return delivery.Options[R]{
		Domains: configured.Domains, Store: n.store, Bus: n.bus, Query: pb.NewEventQueryClient(n.memory.query),
		Slices: n.slices(), Address: n.advertised(door), Metrics: n.options.Telemetry.Metrics(),
		Retryable: rpcerr.Retryable, Absent: absent, Logger: observe.Component(n.logger, "delivery"), Observer: n.options.Observer,
	}
}

// absent reports whether an error says that somebody is away, be it a service, a
// role or the store behind one, and nothing about the events: such errors never
// make dead letters.
func absent(err error) bool { return transport.Unreachable(err) || rpcerr.StoreAway(err) }

func (n *Node) compensation() saga.Compensation {
	configured := n.config.SagaCompensation
	compensation := saga.Compensation{
		FailureDomain: configured.FallbackDomain,
		Fallback: &pb.RevocationResponse{
			EmitSystemRevocation: configured.FallbackEmitSystemRevocation, SendToDeadLetterQueue: configured.FallbackSendToDLQ,
			Escalate: configured.FallbackEscalate,
		},
	}
	client, secret := &http.Client{Timeout: 5 * time.Second}, configured.EscalationWebhookSecret
	if url := configured.EscalationWebhookURL; url != "" {
		compensation.Escalate = saga.Hook{URL: url, Secret: secret, Key: "saga_compensation.escalation_webhook_url", Client: client}.Escalate
	}
	if url := configured.DeadLetterQueueURL; strings.HasPrefix(url, "amqp") {
		compensation.Queue = n.letterbox(url)
	} else if url != "" {
		compensation.Queue = saga.Hook{URL: url, Secret: secret, Key: "saga_compensation.dead_letter_queue_url", Client: client}.Keep
	}
	return compensation
}

func (n *Node) buildCommands() error {
	if !n.parts.commands {
		return nil
	}
	var domains []aggregate.Domain
	n.replays = map[string]explore.Domain{}
	for _, configured := range n.parts.domains {
		client, err := n.connect("domain", "business", configured)
		if err != nil {
			return err
		}
		service, label := pb.NewAggregateClient(n.serviceOf("domain", configured.Name, client)), fmt.Sprintf("domain %s's service at %s", configured.Name, client.Address())
		domains = append(domains, aggregate.Domain{Name: configured.Name, Service: service, Label: label, Timeout: configured.Timeout})
		n.replays[configured.Name] = explore.Domain{Service: service, Label: label, Timeout: configured.Timeout}
	}
	pb.RegisterAggregateServer(n.memory.recorder, aggregate.Recorder{})
	domains = append(domains, aggregate.Domain{
		Name: n.config.SagaCompensation.FallbackDomain, Service: pb.NewAggregateClient(n.memory.recorder), Label: "angz", Unlisted: true,
	})
	followers, err := n.followers()
	if err != nil {
		return err
	}
	n.commands = aggregate.New(aggregate.Options{
		Domains: domains, Followers: followers, Store: n.store, Shared: n.shared(), Metrics: n.options.Telemetry.Metrics(),
		ReadSnapshots: n.config.Storage.SnapshotsEnable.Read, WriteSnapshots: n.config.Storage.SnapshotsEnable.Write,
		Logger: observe.Component(n.logger, "aggregate"), Observer: n.options.Observer,
	})
	return nil
}

// ownFollowers gives each projector and saga a connection of its own, because
// their services carry no name.
func (n *Node) ownFollowers() []aggregate.Follower {
	var followers []aggregate.Follower
	for i, coordinator := range n.projectors {
		connection, configured := n.newMemory(), n.parts.projectors[i]
		pb.RegisterProjectorCoordinatorServer(connection, coordinator)
		n.memory.projectors[configured.Name] = connection
		followers = append(followers, aggregate.Follower{
			Name: configured.Name, Wants: coordinator.Wants, Synchronous: configured.Synchronous,
			Projector: pb.NewProjectorCoordinatorClient(connection),
		})
	}
	for i, coordinator := range n.sagas {
		connection, configured := n.newMemory(), n.parts.sagas[i]
		pb.RegisterSagaCoordinatorServer(connection, coordinator)
		followers = append(followers, aggregate.Follower{
			Name: configured.Name, Wants: coordinator.Wants, Synchronous: configured.Synchronous,
			Saga: pb.NewSagaCoordinatorClient(connection),
		})
	}
	return followers
}

// buildDoor makes the gateway, with which sagas also find the domains of their
// commands, and the friendly form of commands.
func (n *Node) buildDoor() error {
	if n.parts.commands && !n.parts.gateway {
		n.friendly = business.New(pb.NewAggregateCoordinatorClient(n.memory.aggregate), &n.schema)
		return nil
	}
	if !n.parts.gateway && len(n.parts.sagas) == 0 {
		return nil
	}
	n.friendly = business.New(pb.NewAggregateCoordinatorClient(n.memory.gateway), &n.schema)
	options := gateway.Options{
		Unlisted:      []string{n.config.SagaCompensation.FallbackDomain},
		Query:         pb.NewEventQueryClient(n.memory.query),
		Stream:        pb.NewEventStreamClient(n.memory.stream),
		StreamTimeout: time.Duration(n.config.Gateway.StreamTimeoutSecs) * time.Second,
		Metrics:       n.options.Telemetry.Metrics(),
		Logger:        observe.Component(n.logger, "gateway"),
		Observer:      n.options.Observer,
	}
	var err error
	if options.Routes, err = n.routes(); err != nil {
		return err
	}
	if n.parts.gateway && !n.parts.all() {
		everyone, err := n.everyCoordinator()
		if err != nil {
			return err
		}
		streams, err := n.ring(kindStream, "the stream role", n.config.StreamAddresses())
		if err != nil {
			return err
		}
		n.admin = admin.Forward(pb.NewAdminClient(everyone), guard.Caller)
		n.archive = archive.Forward(pb.NewArchiveClient(everyone))
		n.explorer = explore.Forward(pb.NewExplorerClient(everyone), explorerOf(options.Routes))
		options.Query, options.Stream = pb.NewEventQueryClient(everyone), pb.NewEventStreamClient(streams)
	}
	n.door = gateway.New(options)
	return nil
}

// register puts the roles behind the connections inside the process.
func (n *Node) register() {
	if n.commands != nil {
		pb.RegisterAggregateCoordinatorServer(n.memory.aggregate, n.commands)
	}
	if n.queries != nil {
		pb.RegisterEventQueryServer(n.memory.query, n.queries)
	}
	if n.streams != nil {
		pb.RegisterEventStreamServer(n.memory.stream, n.streams)
	}
	if n.door != nil {
		n.registerDoor(n.memory.gateway)
	}
}

// registerDoor puts everything a client needs behind one address.
func (n *Node) registerDoor(to grpc.ServiceRegistrar) {
	n.door.Register(to)
	n.registerAdmin(to)
	pb.RegisterBusinessCoordinatorServer(to, n.friendly)
}
