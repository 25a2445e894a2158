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

	Name             string           `key:"name" format:"name" derived:"the folder's name" doc:"What the system is called. Packages of generated code are named after it."`
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
	// Generate maps folders, seen from the file, to languages.
	Generate map[string]string `key:"generate" doc:"The folders that angz generate writes code for the .proto files into, each with its language: go, python, rust, typescript, java or cpp."`
	Log      Log               `key:"log"`
	Debug    Debug             `key:"debug"`
	Tracing  Tracing           `key:"tracing"`

	warnings   []string
	everywhere map[string]string // what a variable says about every projector
	origins    map[string]place
	read       *document
	written    map[string]string // the lists of services by the names they have in the file
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
	URI            string `key:"uri" default:"postgres://localhost:5432/angzarr" secret:"true" doc:"The PostgreSQL database."`
	Migrate        bool   `key:"migrate" default:"true" doc:"Whether a process that starts brings the database's tables up to its version. Without it angz migrate does."`
	MaxConnections int    `key:"max_connections" default:"10" min:"2" max:"1000" doc:"How many connections one process opens at most."`
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
	TLS  TLS    `key:"tls"`
}

// TCP configures listening on ports.
type TCP struct {
	Host string `key:"host" derived:"127.0.0.1; 0.0.0.0 for serve once transport.tls.cert is set" format:"host" doc:"The address to listen on, unless server.host says otherwise. Without TLS other machines are let in only where this says so."`
	Port int    `key:"port" default:"0" min:"0" max:"65535" doc:"The port of a role that is served alone; 0 is the role's own."`
}

// UDS configures listening on Unix sockets.
type UDS struct {
	BasePath string `key:"base_path" default:"/tmp/angzarr" format:"path" doc:"The folder of the sockets: gateway.sock, stream.sock, log.sock, aggregate-{domain}.sock, business-{domain}.sock, projector-{name}.sock, saga-{name}.sock, and of coordinators that are processes of their own coordinator-projector-{name}.sock, coordinator-saga-{name}.sock."`
}

// TLS configures how connections between processes are protected. All files are
// PEM and are read anew when they change.
type TLS struct {
	Cert       string `key:"cert" format:"path" doc:"The certificate of this process, with those in between it and the authority; seen from the configuration file. With it every port speaks TLS and is addressed as https://, and connections show it where they are asked. Sockets stay plain."`
	Key        string `key:"key" format:"path" doc:"The file of the certificate's private key."`
	CA         string `key:"ca" format:"path" doc:"The authorities that vouch for the servers this process connects to; nothing means those of the system."`
	ClientCA   string `key:"client_ca" format:"path" doc:"The authorities that vouch for the clients of this process; nothing means those of transport.tls.ca."`
	ClientAuth string `key:"client_auth" default:"none" enum:"none request require" doc:"What callers show: nothing; a certificate that is checked if there is one; or a certificate, without which nobody is served."`
	ServerName string `key:"server_name" format:"host" doc:"The name that is expected in the certificates of servers instead of the host of their address."`
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

	Exchange    string `key:"exchange" default:"angzarr.events" format:"name" doc:"The exchange that books are published to; two systems in one virtual host need two."`
	QueuePrefix string `key:"queue_prefix" doc:"What the names of queues begin with, for two systems in one virtual host."`

	QueueType string `key:"queue_type" default:"quorum" enum:"quorum classic" doc:"The type of the queues that angz declares: quorum queues survive the loss of one of three brokers, classic ones cost less."`
	Prefetch  int    `key:"prefetch" default:"512" min:"1" max:"65535" doc:"How many books the broker sends to a process ahead of those that are done."`
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

	Advertise string        `key:"advertise" format:"address" derived:"the host's name and the port, or the socket" doc:"The address under which other instances of the same component reach this process."`
	Grace     time.Duration `key:"grace" default:"10s" doc:"How long calls under way may take when the process is stopped."`
}

// Gateway configures the gateway.
type Gateway struct {
	Port              int               `key:"port" default:"1316" min:"0" max:"65535" env:"GRPC_PORT" doc:"The gateway's port; 0 is any free one."`
	CommandAddress    string            `key:"command_address" format:"addresses" env:"COMMAND_ADDRESS" doc:"Where the gateway and sagas send commands when nothing else is configured for their domain."`
	StreamAddress     string            `key:"stream_address" format:"addresses" env:"STREAM_ADDRESS" doc:"Where the gateway finds the stream role."`
	StreamTimeoutSecs int               `key:"stream_timeout_secs" default:"30" min:"1" max:"86400" env:"STREAM_TIMEOUT_SECS" doc:"How long a stream waits for the next book before it ends."`
	StaticEndpoints   map[string]string `key:"static_endpoints" format:"addresses" env:"ANGZARR_STATIC_ENDPOINTS" doc:"Where the commands of each domain go; the domain * stands for all others. In a variable: domain=address,domain=address."`
	Auth              Auth              `key:"auth"`
}

// Auth says who may do what at the gateway.
type Auth struct {
	Mode             []string   `key:"mode" enum:"none token mtls" single:"true" doc:"How callers show who they are: with a bearer token, with a client certificate, or with either. none, or nothing, lets everybody do everything."`
	TokensFile       string     `key:"tokens_file" format:"path" doc:"The tokens, one a line: name:token, or name:sha256:hex with the token's hash. A name may have several. It is read anew when it changes."`
	Rules            []AuthRule `key:"rules" kind:"rule" doc:"What callers may do. What no rule says is refused."`
	PublicReflection bool       `key:"public_reflection" default:"false" doc:"Whether callers whom nobody knows may ask which services and types there are."`
	Coordinators     bool       `key:"coordinators" default:"false" doc:"Whether the doors of coordinators, queries and streams check their callers by the same rules; angz's own processes then need certificates with a rule that says admin."`
}

// AuthRule says what some callers may do.
type AuthRule struct {
	Identity string   `key:"identity" doc:"Whom the rule is for: the name of a token, or a name in a client certificate; * stands for any characters. Required."`
	Commands []string `key:"commands" doc:"The domains to which commands may be sent; * stands for any characters."`
	Queries  []string `key:"queries" doc:"The domains whose events may be read; * stands for any characters."`
	Admin    bool     `key:"admin" default:"false" doc:"Whether everything is allowed, including dead letters, facts and the doors of coordinators."`
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
	Coordinator string            `key:"coordinator" format:"addresses" doc:"Where this service's own coordinator (angz serve aggregate, projector or saga) is reached when it is a process of its own. With transport.type uds it is the coordinator's socket."`
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
	DeadLetterQueueURL           string `key:"dead_letter_queue_url" secret:"true" doc:"Where dead letters of compensation are sent as well, beside the store: https://, or amqp:// for the queue angzarr.saga-dead-letters of that broker."`
	EscalationWebhookURL         string `key:"escalation_webhook_url" secret:"true" doc:"Who is told about failed compensations that escalate."`
	EscalationWebhookSecret      string `key:"escalation_webhook_secret" secret:"true" doc:"What requests to the webhook, and to a dead_letter_queue_url that is one, are signed with: the header Angz-Signature."`
	FallbackEmitSystemRevocation bool   `key:"fallback_emit_system_revocation" default:"true" doc:"Whether a failed compensation is recorded as an event."`
	FallbackSendToDLQ            bool   `key:"fallback_send_to_dlq" default:"false" doc:"Whether a failed compensation becomes a dead letter."`
	FallbackEscalate             bool   `key:"fallback_escalate" default:"false" doc:"Whether a failed compensation is told to the webhook."`
}

// Limits bounds what the system accepts.
type Limits struct {
	MaxMessageBytes int `key:"max_message_bytes" default:"16MiB" format:"bytes" min:"1024" max:"2147483647" doc:"The largest message taken or sent, in bytes or with a unit: KiB, MiB, GiB."`

	RequestsPerSecond    int `key:"requests_per_second" default:"0" min:"0" max:"1000000" doc:"How many calls one identity, or one address where identities are not asked for, may make at the gateway on average; 0 is any number."`
	Burst                int `key:"burst" default:"0" min:"0" max:"1000000" doc:"How many of them it may make at once; 0 is twice requests_per_second."`
	MaxConcurrentStreams int `key:"max_concurrent_streams" default:"1000" min:"0" max:"1000000" doc:"How many calls one connection to the gateway may have under way, further ones wait; 0 is any number."`
	MaxHeaderBytes       int `key:"max_header_bytes" default:"64KiB" format:"bytes" min:"4096" max:"16777216" doc:"The largest metadata of one call, in bytes or with a unit."`
	MaxConnectionAgeSecs int `key:"max_connection_age_secs" default:"0" min:"0" max:"31536000" doc:"After how long a caller is asked to connect again, and so to show its certificate again; 0 is never."`
}

// Log configures the program's own log.
type Log struct {
	Directives string `key:"directives" default:"info" env:"ANGZARR_LOG" doc:"What is logged, such as info, angzarr=debug or angzarr.aggregate=trace,info."`
	Format     string `key:"format" enum:"text json" doc:"How it is written; nothing means text on a terminal and JSON elsewhere."`
}

// Debug configures the page behind the scenes of a process.
type Debug struct {
	Address string `key:"address" default:"127.0.0.1:9464" dev:"off" format:"listen" doc:"Where a process shows its metrics (/metrics), health (/healthz, /readyz) and profiles (/debug/pprof/) over HTTP, host:port, or off. It has no protection, so it belongs on a loopback address. When the default is taken by another process of the machine, this one shows none and warns."`
}

// Tracing says where traces go. OpenTelemetry's variables, such as
// OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_TRACES_SAMPLER, come before it.
type Tracing struct {
	Exporter string `key:"exporter" derived:"otlp with an endpoint, else none" enum:"none otlp console" doc:"How traces leave the process: to an OpenTelemetry collector, to standard error, or not at all. OpenTelemetry's OTEL_ variables come before the keys of this section."`
	Endpoint string `key:"endpoint" doc:"The OpenTelemetry collector, such as http://localhost:4318. Credentials belong into OTEL_EXPORTER_OTLP_HEADERS."`
	OneIn    int    `key:"one_in" default:"1" min:"1" max:"1000000000" doc:"Of how many commands one is traced; 100 is one of a hundred. A command that comes with a trace is traced if its sender traces it."`
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
	return c.scheme() + net.JoinHostPort(host, strconv.Itoa(c.Gateway.Port))
}
