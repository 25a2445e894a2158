// Package config is the one place that knows the configuration: its keys, their
// defaults and meanings, and how the file, the environment and the flags come
// together. It checks everything at once, so that a person corrects a file in
// one go and no other part of the program has to doubt a value.
package config

import (
	"net"
	"strconv"
	"time"
)

// Config is the whole configuration. The tags of its fields are the schema: the
// key, the default, what is allowed, which variables set it, and its meaning;
// loading and documentation are both produced from them.
type Config struct {
	// File is the file that was read, as it is to be shown to people; empty
	// when there was none.
	File string
	// Dir is the absolute folder that relative paths start from: that of the
	// file, or else the one where a file was looked for.
	Dir string

	Storage          Storage          `key:"storage"`
	Transport        Transport        `key:"transport"`
	Messaging        Messaging        `key:"messaging"`
	Server           Server           `key:"server"`
	Gateway          Gateway          `key:"gateway"`
	Stream           Stream           `key:"stream"`
	LogRole          LogRole          `key:"log_role"`
	Target           Target           `key:"target"`
	Domains          []Service        `key:"business_logic" alias:"domains" kind:"domain" doc:"The services that decide on commands, one entry for each domain."`
	Projectors       []Service        `key:"projectors" kind:"projector" doc:"The services that build read models from events."`
	Sagas            []Service        `key:"sagas" kind:"saga" doc:"The services that turn events of one domain into commands for another."`
	SagaCompensation SagaCompensation `key:"saga_compensation"`
	Limits           Limits           `key:"limits"`
	Protos           []string         `key:"protos" derived:"[proto], if that folder exists" format:"path" doc:"Folders of .proto files that describe the messages, seen from the file."`
	Log              Log              `key:"log"`

	warnings []string
	origins  map[string]place
	read     *document
}

// Storage says where events are kept.
type Storage struct {
	Type             string          `key:"type" default:"sqlite" enum:"memory sqlite postgres mongodb redis kurrentdb" doc:"Where events are kept."`
	SQLite           SQLite          `key:"sqlite"`
	Postgres         Postgres        `key:"postgres"`
	MongoDB          MongoDB         `key:"mongodb"`
	Redis            Redis           `key:"redis"`
	SnapshotsEnable  SnapshotsEnable `key:"snapshots_enable"`
	CorrelationIndex bool            `key:"correlation_index" default:"true" doc:"Whether events are indexed by correlation id, so that workflows are found quickly. Without it such queries read the whole log."`
}

// SQLite configures the SQLite store.
type SQLite struct {
	Path string `key:"path" dev:".angz/dev.db" null:"empty" doc:"The database file, seen from the configuration file; \":memory:\" or nothing keeps events in memory only. Required for serve."`
}

// Postgres configures the PostgreSQL store.
type Postgres struct {
	URI string `key:"uri" default:"postgres://localhost:5432/angzarr" secret:"true" doc:"The PostgreSQL database."`
}

// MongoDB configures the MongoDB store.
type MongoDB struct {
	URI      string `key:"uri" default:"mongodb://localhost:27017" secret:"true" doc:"The MongoDB server."`
	Database string `key:"database" default:"angzarr" doc:"The MongoDB database."`
}

// Redis configures the Redis store.
type Redis struct {
	URI string `key:"uri" default:"redis://localhost:6379" secret:"true" doc:"The Redis server."`
}

// SnapshotsEnable says whether snapshots are used.
type SnapshotsEnable struct {
	Read  bool `key:"read" default:"true" doc:"Whether aggregates are loaded from their snapshots."`
	Write bool `key:"write" default:"true" doc:"Whether snapshots that services return are stored."`
}

// Transport says on what the roles listen.
type Transport struct {
	Type string `key:"type" default:"tcp" enum:"tcp uds" doc:"What the roles listen on: TCP ports, or Unix sockets as well."`
	TCP  TCP    `key:"tcp"`
	UDS  UDS    `key:"uds"`
}

// TCP configures listening on ports.
type TCP struct {
	Host string `key:"host" default:"0.0.0.0" dev:"127.0.0.1" format:"host" doc:"The address to listen on, unless server.host says otherwise."`
	Port int    `key:"port" default:"0" min:"0" max:"65535" doc:"The port of a role that is served alone; 0 is the role's own."`
}

// UDS configures listening on Unix sockets.
type UDS struct {
	BasePath string `key:"base_path" default:"/tmp/angzarr" format:"path" doc:"The folder of the sockets: gateway.sock, stream.sock, log.sock, aggregate-{domain}.sock, business-{domain}.sock, projector-{name}.sock, saga-{name}.sock."`
}

// Messaging says what carries events between processes.
type Messaging struct {
	Type  string `key:"type" default:"channel" enum:"channel amqp kafka nats" doc:"What carries events to projectors, sagas and streams."`
	AMQP  AMQP   `key:"amqp"`
	Kafka Kafka  `key:"kafka"`
}

// AMQP configures RabbitMQ and its like.
type AMQP struct {
	URL     string   `key:"url" default:"amqp://localhost:5672" secret:"true" doc:"The AMQP broker."`
	Domain  string   `key:"domain" format:"name" doc:"The one domain to consume."`
	Domains []string `key:"domains" format:"name" doc:"The domains to consume; none means all."`
}

// Kafka configures Apache Kafka.
type Kafka struct {
	BootstrapServers string `key:"bootstrap_servers" default:"localhost:9092" doc:"The brokers to ask first, with commas between."`
	TopicPrefix      string `key:"topic_prefix" default:"angzarr" doc:"The first word of every topic: {prefix}.events.{domain}."`
	GroupID          string `key:"group_id" doc:"The consumer group; nothing means one for each component."`
	SASLUsername     string `key:"sasl_username" doc:"The user for SASL."`
	SASLPassword     string `key:"sasl_password" secret:"true" doc:"The password for SASL."`
	SASLMechanism    string `key:"sasl_mechanism" doc:"The SASL mechanism, such as PLAIN or SCRAM-SHA-512."`
	SecurityProtocol string `key:"security_protocol" doc:"The security protocol, such as SASL_SSL."`
	SSLCALocation    string `key:"ssl_ca_location" doc:"The file of certificate authorities."`
}

// Server configures the aggregate's and the query role's doors.
type Server struct {
	Host           string `key:"host" derived:"transport.tcp.host" format:"host" doc:"The address to listen on."`
	AggregatePort  int    `key:"aggregate_port" default:"1313" min:"0" max:"65535" doc:"The port for commands; 0 is any free one."`
	EventQueryPort int    `key:"event_query_port" default:"1314" min:"0" max:"65535" doc:"The port for event queries; 0 is any free one."`
}

// Gateway configures the gateway.
type Gateway struct {
	Port              int               `key:"port" default:"1316" min:"0" max:"65535" env:"GRPC_PORT" doc:"The gateway's port; 0 is any free one."`
	CommandAddress    string            `key:"command_address" format:"address" env:"COMMAND_ADDRESS" doc:"Where the gateway and sagas send commands when nothing else is configured for their domain."`
	StreamAddress     string            `key:"stream_address" format:"address" env:"STREAM_ADDRESS" doc:"Where the gateway finds the stream role."`
	StreamTimeoutSecs int               `key:"stream_timeout_secs" default:"30" min:"1" max:"86400" env:"STREAM_TIMEOUT_SECS" doc:"How long a stream waits for the next book before it ends."`
	StaticEndpoints   map[string]string `key:"static_endpoints" format:"address" env:"ANGZARR_STATIC_ENDPOINTS" doc:"Where the commands of each domain go; the domain * stands for all others. In a variable: domain=address,domain=address."`
}

// Stream configures the stream role.
type Stream struct {
	Port int `key:"port" default:"50051" min:"0" max:"65535" env:"PORT" doc:"The stream role's port; 0 is any free one."`
}

// LogRole configures the role that prints events.
type LogRole struct {
	DescriptorPath string `key:"descriptor_path" env:"DESCRIPTOR_PATH" doc:"A FileDescriptorSet by which payloads are printed as JSON."`
}

// Target is the one service that a sidecar stands beside.
type Target struct {
	Address    string `key:"address" format:"address" doc:"Where a sidecar's own service answers."`
	Domain     string `key:"domain" format:"name" doc:"The domain of a sidecar's own service."`
	Command    string `key:"command" doc:"The command that starts a sidecar's own service; nothing means that it is started elsewhere."`
	WorkingDir string `key:"working_dir" doc:"The folder in which that command runs."`
}

// Service is one of the user's services: a domain's, a projector's or a saga's.
type Service struct {
	Name        string            `key:"name" alias:"domain" aliaskinds:"domain" format:"name" doc:"The name of the domain, projector or saga. Domains may say domain instead. Required."`
	Address     string            `key:"address" format:"address" doc:"Where the service answers. Without it angz dev chooses one for the service, and with transport.type uds it is the service's socket."`
	Run         Command           `key:"run" doc:"The command by which angz dev starts the service: a line for the shell, or a list of words."`
	Build       Command           `key:"build" doc:"The command that is run before."`
	Watch       []string          `key:"watch" format:"path" doc:"The files and folders whose changes restart the service."`
	Dir         string            `key:"dir" doc:"The folder in which the commands run, seen from the file."`
	Env         map[string]string `key:"env" secret:"true" doc:"Variables for the commands."`
	Timeout     time.Duration     `key:"timeout" default:"30s" doc:"How long the service may take for one call."`
	Domains     []string          `key:"domains" kinds:"projector saga" format:"name" doc:"The domains whose events the service gets; none means all."`
	Synchronous bool              `key:"synchronous" default:"false" kinds:"projector saga" doc:"Whether every command waits for the service, also when its sender did not ask to wait."`
	History     string            `key:"history" default:"new" enum:"new full" kinds:"projector saga" doc:"What the service gets with each book: the new events, or the aggregate's whole history up to them."`
	Snapshots   Snapshots         `key:"snapshots" kinds:"domain"`

	// StreamOutput says whether a projector's projections are published as
	// books of the domain _projection.{projector}.{domain}.
	StreamOutput bool `key:"stream_output" default:"false" kinds:"projector" env:"STREAM_OUTPUT" doc:"Whether projections are published as books of the domain _projection.{projector}.{domain}. The variable sets it for all projectors."`
}

// Snapshots says how a domain's snapshots come about.
type Snapshots struct {
	Automatic bool `key:"automatic" default:"false" doc:"Whether angz asks the service for snapshots by itself."`
}

// SagaCompensation says what happens when a saga's command is refused and the
// service does not know what to do about it.
type SagaCompensation struct {
	FallbackDomain               string `key:"fallback_domain" default:"angzarr.saga-failures" format:"name" doc:"The domain in which failed compensations are recorded."`
	DeadLetterQueueURL           string `key:"dead_letter_queue_url" secret:"true" doc:"Where dead letters are sent; nothing keeps them in the store."`
	EscalationWebhookURL         string `key:"escalation_webhook_url" secret:"true" doc:"Who is told about failed compensations that escalate."`
	FallbackEmitSystemRevocation bool   `key:"fallback_emit_system_revocation" default:"true" doc:"Whether a failed compensation is recorded as an event."`
	FallbackSendToDLQ            bool   `key:"fallback_send_to_dlq" default:"false" doc:"Whether a failed compensation becomes a dead letter."`
	FallbackEscalate             bool   `key:"fallback_escalate" default:"false" doc:"Whether a failed compensation is told to the webhook."`
}

// Limits bounds what the system accepts.
type Limits struct {
	MaxMessageBytes int `key:"max_message_bytes" default:"16MiB" format:"bytes" min:"1024" max:"2147483647" doc:"The largest message taken or sent, in bytes or with a unit: KiB, MiB, GiB."`
}

// Log configures the program's own log.
type Log struct {
	Directives string `key:"directives" default:"info" env:"ANGZARR_LOG" doc:"What is logged, such as info, angzarr=debug or angzarr.aggregate=trace,info."`
	Format     string `key:"format" enum:"text json" doc:"How it is written; nothing means text on a terminal and JSON elsewhere."`
}

// Command is a command as a person wrote it: one line, which a shell is to run,
// or a list of words, which is run as it is. The zero Command is none.
type Command struct {
	Argv  []string
	Shell string
}

// IsZero reports whether there is no command.
func (c Command) IsZero() bool { return len(c.Argv) == 0 && c.Shell == "" }

// Warnings returns what was accepted but is probably not meant, one sentence
// each.
func (c *Config) Warnings() []string { return c.warnings }

// GatewayAddress returns where a client on this machine reaches the gateway.
func (c *Config) GatewayAddress() string {
	host := c.Server.Host
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, strconv.Itoa(c.Gateway.Port))
}
