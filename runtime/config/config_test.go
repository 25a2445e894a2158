package config_test

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/tools/txtar"

	"github.com/angz-dev/angz/runtime/config"
)

var update = flag.Bool("update", false, "write the expected files anew")

// project writes files below a new folder and returns it.
func project(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// load loads a configuration that is right.
func load(t *testing.T, options config.Options) *config.Config {
	t.Helper()
	loaded, err := config.Load(options)
	if err != nil {
		t.Fatalf("load: %v", err)
	}
	return loaded
}

// loadText loads an angz.yaml for angz dev.
func loadText(t *testing.T, text string, environ ...string) *config.Config {
	t.Helper()
	return load(t, config.Options{Dir: project(t, map[string]string{"angz.yaml": text}), Environ: environ, Dev: true})
}

func same(t *testing.T, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(config.Config{})); diff != "" {
		t.Errorf("%s:\n%s", what, diff)
	}
}

// defaults is what an empty file means to angz dev.
func defaults() *config.Config {
	return &config.Config{
		Storage: config.Storage{
			Type: "sqlite", SQLite: config.SQLite{Path: ".angz/dev.db"}, Postgres: config.Postgres{URI: "postgres://localhost:5432/angzarr", Migrate: true, MaxConnections: 10},
			MongoDB: config.MongoDB{URI: "mongodb://localhost:27017", Database: "angzarr"}, Redis: config.Redis{URI: "redis://localhost:6379"},
			SnapshotsEnable: config.SnapshotsEnable{Read: true, Write: true}, CorrelationIndex: true,
		},
		Transport: config.Transport{Type: "tcp", TCP: config.TCP{Host: "127.0.0.1"}, UDS: config.UDS{BasePath: "/tmp/angzarr"}, TLS: config.TLS{ClientAuth: "none"}},
		Messaging: config.Messaging{
			Type: "channel", AMQP: config.AMQP{URL: "amqp://localhost:5672", Exchange: "angzarr.events", QueueType: "quorum", Prefetch: 512},
			Kafka: config.Kafka{BootstrapServers: "localhost:9092", TopicPrefix: "angzarr"},
		},
		Server:           config.Server{Host: "127.0.0.1", AggregatePort: 1313, EventQueryPort: 1314, Grace: 10 * time.Second},
		Gateway:          config.Gateway{Port: 1316, StreamTimeoutSecs: 30},
		Stream:           config.Stream{Port: 50051},
		SagaCompensation: config.SagaCompensation{FallbackDomain: "angzarr.saga-failures", FallbackEmitSystemRevocation: true},
		Limits:           config.Limits{MaxMessageBytes: 16 << 20, MaxConcurrentStreams: 1000, MaxHeaderBytes: 64 << 10},
		Log:              config.Log{Directives: "info"},
		Debug:            config.Debug{Address: config.Off},
		Tracing:          config.Tracing{OneIn: 1},
	}
}

func TestAnEmptyFileMeansTheDefaults(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"nothing": "", "a comment": "# later\n", "a null": "~\n", "a marker": "---\n", "an empty mapping": "{}",
		"a byte order mark": "\ufeff", "empty sections": "storage:\ndomains:\nserver:\n  host:\nprotos:\nlimits: {max_message_bytes: }\n",
	} {
		got := loadText(t, text)
		want := defaults()
		want.File, want.Dir = filepath.Join(got.Dir, "angz.yaml"), got.Dir
		same(t, name, want, got)
		same(t, name+": warnings", []string(nil), got.Warnings())
	}
}

func TestServeHasItsOwnDefaults(t *testing.T) {
	t.Parallel()
	dir := project(t, map[string]string{"angz.yaml": "storage: {sqlite: {path: ':memory:'}}"})
	got := load(t, config.Options{Dir: dir})
	want := defaults()
	want.File, want.Dir = filepath.Join(dir, "angz.yaml"), dir
	want.Storage.SQLite.Path, want.Debug.Address = ":memory:", "127.0.0.1:9464"
	same(t, "defaults of serve", want, got)
}

func TestEveryKeyCanBeWritten(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/every_key.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got := loadText(t, string(text))
	want := &config.Config{
		File: got.File, Dir: got.Dir,
		Storage: config.Storage{
			Type: "postgres", SQLite: config.SQLite{Path: "/data/events.db"}, Postgres: config.Postgres{URI: "postgres://u:p@db/x", MaxConnections: 3},
			MongoDB: config.MongoDB{URI: "mongodb://m", Database: "d"}, Redis: config.Redis{URI: "redis://r"},
		},
		Transport: config.Transport{Type: "uds", TCP: config.TCP{Host: "10.0.0.1", Port: 99}, UDS: config.UDS{BasePath: "/run/x"}, TLS: config.TLS{
			Cert: "tls.crt", Key: "tls.key", CA: "ca.crt", ClientCA: "clients.crt", ClientAuth: "require", ServerName: "orders",
		}},
		Messaging: config.Messaging{
			Type: "amqp", AMQP: config.AMQP{URL: "amqp://u:p@mq", Domain: "a", Domains: []string{"a", "b"}, Exchange: "e", QueuePrefix: "q-", QueueType: "classic", Prefetch: 9},
			Kafka: config.Kafka{
				BootstrapServers: "k:1,l:2", TopicPrefix: "t", GroupID: "g", SASLUsername: "u", SASLPassword: "p",
				SASLMechanism: "PLAIN", SecurityProtocol: "SASL_SSL", SSLCALocation: "/ca",
			},
		},
		Server: config.Server{Host: "::1", AggregatePort: 1, EventQueryPort: 2, Advertise: "node1:1", Grace: time.Minute},
		Gateway: config.Gateway{
			Port: 3, CommandAddress: "http://c:1", StreamAddress: "https://s:1", StreamTimeoutSecs: 5,
			StaticEndpoints: map[string]string{"order": "o:1|o:2", "*": "./x.sock"},
			Auth: config.Auth{
				Mode: []string{"token", "mtls"}, TokensFile: "tokens", PublicReflection: true, Coordinators: true, Rules: []config.AuthRule{
					{Identity: "web", Commands: []string{"order"}, Queries: []string{"*"}}, {Identity: "spiffe://shop/*", Admin: true},
				},
			},
		},
		Stream: config.Stream{Port: 4}, LogRole: config.LogRole{DescriptorPath: "d.binpb"},
		Target: config.Target{Address: "localhost:9", Domain: "order", Command: "./service", WorkingDir: "/srv"},
		Domains: []config.Service{
			{
				Name: "order", Address: "localhost:50052", Run: config.Command{Shell: "go run ."},
				Build: config.Command{Argv: []string{"go", "build", ""}}, Watch: []string{"*.go"}, Dir: ".",
				Env: map[string]string{"A": "1", "B": "true", "C": "", "D": "x: y"}, Timeout: 1500 * time.Millisecond, History: "new",
				Snapshots: config.Snapshots{Automatic: true},
			},
			{Name: "customer", Address: "unix:/x.sock", Timeout: 30 * time.Second, History: "new"},
		},
		Projectors: []config.Service{{
			Name: "receipt", Address: "/run/r.sock", Timeout: 30 * time.Second, Domains: []string{"order"}, Synchronous: true, History: "full", StreamOutput: true,
		}},
		Sagas: []config.Service{{Name: "loyalty", Address: "[::1]:5", Coordinator: "a:1|b:1", Timeout: time.Minute, Domains: []string{"order", "customer"}, History: "new"}},
		SagaCompensation: config.SagaCompensation{
			FallbackDomain: "failures", DeadLetterQueueURL: "amqp://dlq", EscalationWebhookURL: "https://hook", EscalationWebhookSecret: "hunter2", FallbackSendToDLQ: true, FallbackEscalate: true,
		},
		Limits: config.Limits{
			MaxMessageBytes: 1 << 20, RequestsPerSecond: 100, Burst: 50, MaxConcurrentStreams: 10, MaxHeaderBytes: 8 << 10, MaxConnectionAgeSecs: 3600,
		}, Protos: []string{"."}, Log: config.Log{Directives: "debug", Format: "json"},
		Debug: config.Debug{Address: "[::1]:9000"}, Tracing: config.Tracing{Exporter: "otlp", Endpoint: "http://otel:4318", OneIn: 100},
	}
	same(t, "every key", want, got)
}

func TestAnchorsAndMergesWork(t *testing.T) {
	t.Parallel()
	got := loadText(t, `
domains:
  - &base {name: a, run: x, env: &env {A: 1}}
  - <<: *base
    name: b
    env: {<<: *env, B: 2}
sagas:
  - {<<: [{timeout: 1s}, {timeout: 2s, run: y}], name: s}
`)
	want := []config.Service{
		{Name: "a", Run: config.Command{Shell: "x"}, Env: map[string]string{"A": "1"}, Timeout: 30 * time.Second, History: "new"},
		{Name: "b", Run: config.Command{Shell: "x"}, Env: map[string]string{"A": "1", "B": "2"}, Timeout: 30 * time.Second, History: "new"},
		{Name: "s", Run: config.Command{Shell: "y"}, Timeout: time.Second, History: "new"},
	}
	same(t, "services", want, append(got.Domains, got.Sagas...))
}

func TestLaterLayersWin(t *testing.T) {
	t.Parallel()
	dir := project(t, map[string]string{"angz.yaml": "storage: {type: memory}\ngateway: {port: 1}\nstream: {port: 2}\nprojectors: [{name: a, run: x}]\n"})
	got := load(t, config.Options{
		Dir: dir, Dev: true,
		Environ: []string{
			"ANGZARR_GATEWAY__PORT=10", "GRPC_PORT=20", "PORT=30", "ANGZARR__STORAGE__SNAPSHOTS_ENABLE__READ=false", "ANGZARR_LOG=debug",
			"ANGZARR_STATIC_ENDPOINTS=order=o:1, *=/x.sock", "ANGZARR_STORAGE__TYPE=", "COMMAND_ADDRESS=c:1", "STREAM_ADDRESS=s:1",
			"STREAM_TIMEOUT_SECS=7", "DESCRIPTOR_PATH=/d", "STREAM_OUTPUT=true", "ANGZARR_MESSAGING__AMQP__DOMAINS=a, b", "ANGZARR_OTHER=x",
			"ANGZARR__DOMAINS_UNRELATED", "HOME=/", "ANGZARR_SERVER__HOST=0.0.0.0", "ANGZARR_LIMITS__MAX_MESSAGE_BYTES=1KiB",
		},
		Set: map[string]string{"stream.port": "40", "storage.type": "sqlite", "storage.sqlite.path": ""},
	})
	want := defaults()
	want.File, want.Dir = filepath.Join(dir, "angz.yaml"), dir
	want.Storage.SQLite.Path = ""
	want.Storage.SnapshotsEnable.Read = false
	want.Messaging.AMQP.Domains = []string{"a", "b"}
	want.Server.Host = "0.0.0.0"
	want.Gateway = config.Gateway{
		Port: 20, CommandAddress: "c:1", StreamAddress: "s:1", StreamTimeoutSecs: 7,
		StaticEndpoints: map[string]string{"order": "o:1", "*": "/x.sock"},
	}
	want.Stream.Port = 40
	want.LogRole.DescriptorPath = "/d"
	want.Log.Directives = "debug"
	want.Limits.MaxMessageBytes = 1024
	want.Projectors = []config.Service{{Name: "a", Run: config.Command{Shell: "x"}, Timeout: 30 * time.Second, History: "new", StreamOutput: true}}
	same(t, "layers", want, got)
}

func TestTheFileIsFoundInOrder(t *testing.T) {
	t.Parallel()
	dir := project(t, map[string]string{
		"angz.yaml": "gateway: {port: 1}", "config.yaml": "gateway: {port: 2}", "other.yaml": "gateway: {port: 3}", "third.yaml": "gateway: {port: 4}",
		"a/b/config.yaml": "gateway: {port: 5}",
	})
	outside := project(t, map[string]string{"config.yaml": "gateway: {port: 6}", "sub/x": ""})
	other, third := filepath.Join(dir, "other.yaml"), filepath.Join(dir, "third.yaml")
	for name, test := range map[string]struct {
		options config.Options
		file    string
		port    int
	}{
		"in the folder":                {config.Options{Dir: dir}, filepath.Join(dir, "angz.yaml"), 1},
		"above the folder":             {config.Options{Dir: filepath.Join(dir, "a/b")}, filepath.Join(dir, "angz.yaml"), 1},
		"named by the environment":     {config.Options{Dir: dir, Environ: []string{"ANGZARR_CONFIG=" + other}}, other, 3},
		"named by a flag":              {config.Options{Dir: dir, Environ: []string{"ANGZARR_CONFIG=" + other}, File: third}, third, 4},
		"config.yaml where no project": {config.Options{Dir: outside}, filepath.Join(outside, "config.yaml"), 6},
		"none":                         {config.Options{Dir: filepath.Join(outside, "sub")}, "", 1316},
	} {
		test.options.Dev = true
		got := load(t, test.options)
		folder := filepath.Dir(test.file)
		if test.file == "" {
			folder = test.options.Dir
		}
		want := []any{test.file, folder, test.port}
		same(t, name, want, []any{got.File, got.Dir, got.Gateway.Port})
	}
}

func TestAFileIsShownAsSeenFromWhereItWasLookedFor(t *testing.T) {
	t.Parallel()
	// The folders of this package itself are the only ones a test in parallel can
	// name relative to the working folder.
	got := load(t, config.Options{Dir: "testdata/project/deep", Dev: true})
	same(t, "file", filepath.FromSlash("testdata/project/angz.yaml"), got.File)
}

func TestTheProtoFolderIsFound(t *testing.T) {
	t.Parallel()
	files := map[string]string{"angz.yaml": "", "proto/a.proto": ""}
	same(t, "by default", []string{"proto"}, load(t, config.Options{Dir: project(t, files), Dev: true}).Protos)
	files["angz.yaml"] = "protos: []"
	same(t, "unless there are none", []string{}, load(t, config.Options{Dir: project(t, files), Dev: true}).Protos)
}

func TestTheHostOfTheServerFollowsTheTransport(t *testing.T) {
	t.Parallel()
	same(t, "followed", "::1", loadText(t, "transport: {tcp: {host: '::1'}}").Server.Host)
	same(t, "own", "localhost", loadText(t, "transport: {tcp: {host: '::1'}}\nserver: {host: localhost}").Server.Host)
}

func TestTheGatewayIsReachedOnThisMachine(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{"0.0.0.0": "localhost:5", "'::'": "localhost:5", "'::1'": "[::1]:5", "10.0.0.1": "10.0.0.1:5"} {
		same(t, host, want, loadText(t, "server: {host: "+host+"}\ngateway: {port: 5}").GatewayAddress())
	}
}

// TestMistakes holds every message against what is written beside it.
func TestMistakes(t *testing.T) {
	t.Parallel()
	cases, err := filepath.Glob("testdata/wrong/*.txtar")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, path := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			t.Parallel()
			checkMistakes(t, path)
		})
	}
}

func checkMistakes(t *testing.T, path string) {
	t.Helper()
	archive, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	files, options, want := map[string]string{}, config.Options{Dev: true, Set: map[string]string{}}, ""
	archive.Files = slicesWithout(archive.Files, "want", &want)
	for _, file := range archive.Files {
		switch content := string(file.Data); file.Name {
		case "environ":
			options.Environ = strings.Fields(content)
		case "set":
			for _, entry := range strings.Fields(content) {
				key, value, _ := strings.Cut(entry, "=")
				options.Set[key] = value
			}
		case "dev":
			options.Dev = strings.TrimSpace(content) == "true"
		default:
			files[file.Name] = content
		}
	}
	options.Dir = project(t, files)
	loaded, err := config.Load(options)
	var mistakes *config.Errors
	if loaded != nil || !errors.As(err, &mistakes) {
		t.Fatalf("loaded %v with the error %v, expected *config.Errors", loaded, err)
	}
	got := strings.ReplaceAll(err.Error(), options.Dir+string(filepath.Separator), "") + "\n"
	got = strings.ReplaceAll(got, options.Dir, "DIR")
	if strings.Contains(got, "hunter2") {
		t.Errorf("a secret is shown:\n%s", got)
	}
	if *update {
		archive.Files = append(archive.Files, txtar.File{Name: "want", Data: []byte(got)})
		if err := os.WriteFile(path, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// slicesWithout takes the file with a name out of files and puts its content
// into content.
func slicesWithout(files []txtar.File, name string, content *string) []txtar.File {
	var rest []txtar.File
	for _, file := range files {
		if file.Name == name {
			*content = string(bytes.Clone(file.Data))
			continue
		}
		rest = append(rest, file)
	}
	return rest
}

func TestFilesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	dir := project(t, map[string]string{"angz.yaml": "", "big.yaml": strings.Repeat("# nothing\n", 200_000)})
	for name, test := range map[string]struct {
		options config.Options
		want    string
	}{
		"a file that is not there":   {config.Options{File: filepath.Join(dir, "no.yaml")}, filepath.Join(dir, "no.yaml") + ": there is no such file or folder: check the name"},
		"a folder for a file":        {config.Options{File: dir}, dir + ": is a folder, expected a file: name the file in it"},
		"a folder that is not there": {config.Options{Dir: filepath.Join(dir, "no")}, filepath.Join(dir, "no") + ": there is no such file or folder: check the name"},
		"a file for a folder":        {config.Options{Dir: filepath.Join(dir, "angz.yaml")}, filepath.Join(dir, "angz.yaml") + ": is not a folder: name a file with --config"},
		"a file too large":           {config.Options{File: filepath.Join(dir, "big.yaml")}, filepath.Join(dir, "big.yaml") + ": found more than 1048576 bytes, expected a configuration file"},
	} {
		test.options.Dev = true
		_, err := config.Load(test.options)
		if err == nil || err.Error() != test.want {
			t.Errorf("%s:\n got %v\nwant %s", name, err, test.want)
		}
	}
}

func TestWhatIsDoubtfulIsWarnedAbout(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		text string
		dev  bool
		want []string
	}{
		{"transport: {tcp: {port: 5}}", true, []string{"transport.tcp.port is for a role that is served alone: angz dev and angz serve all listen on server.aggregate_port, server.event_query_port, gateway.port and stream.port"}},
		{"server: {host: 0.0.0.0}", true, []string{"server.host is 0.0.0.0: angz dev can be reached from other machines, without any check of who calls"}},
		{"storage: {type: memory}", false, []string{"storage.type is memory: all events are lost when the process ends"}},
		{"storage: {type: memory}", true, nil},
		{"domains: [{name: a, address: 'x:1', build: b, watch: [c]}]", true, []string{
			"domain a has a build but no run: angz does not start it, and so does not build it",
			"domain a has watch but no run: angz does not start it, and so cannot restart it",
		}},
		{"storage: {type: postgres}\ndomains: [{name: a, address: 'x:1'}]\nsagas: [{name: b, address: 'x:1', domains: [elsewhere]}]", false,
			[]string{`saga b follows the domain "elsewhere", which is not in this file: its events must come from another process`}},
		{"domains: [{name: a, address: 'x:1', run: y}, {name: b, address: 'x:1', run: z}]", true, []string{"domain a and domain b are both started on x:1: one of them cannot listen there"}},
		{"saga_compensation: {fallback_escalate: true}", true, []string{"saga_compensation.fallback_escalate is true without an escalation_webhook_url: failed compensations are only logged"}},
	} {
		dir := project(t, map[string]string{"angz.yaml": test.text})
		same(t, test.text, test.want, load(t, config.Options{Dir: dir, Dev: test.dev}).Warnings())
	}
}

func TestSocketsNeedNoAddress(t *testing.T) {
	t.Parallel()
	loadText(t, "transport: {type: uds}\ndomains: [{name: a}]\n")
}

func TestFollowersOfOtherSystemsNeedNoDomainsOfTheirOwn(t *testing.T) {
	t.Parallel()
	loadText(t, "projectors: [{name: a, run: x, domains: [anything]}]\n")
	loadText(t, "domains: [{name: o, run: x}]\nprojectors: [{name: a, run: x, domains: [_projection.b.o, angzarr.saga-failures]}]\n")
}

func TestAStoreIsAskedForOnlyWhereOneIsUsed(t *testing.T) {
	t.Parallel()
	dir := project(t, map[string]string{"angz.yaml": "", "null.yaml": "storage: {sqlite: {path: }}"})
	load(t, config.Options{Dir: dir, NoStore: true})
	got := load(t, config.Options{File: filepath.Join(dir, "null.yaml")})
	same(t, "a path that is left empty", "", got.Storage.SQLite.Path)
}

func TestDriversThatAreMissingAreReportedWithTheirPlace(t *testing.T) {
	t.Parallel()
	got := loadText(t, "storage:\n  type: redis\n", "ANGZARR_MESSAGING__TYPE=nats")
	if err := got.CheckDrivers([]string{"redis"}, []string{"channel", "nats"}); err != nil {
		t.Errorf("drivers that are there: %v", err)
	}
	err := got.CheckDrivers([]string{"memory", "sqlite"}, []string{"channel"})
	want := got.File + `:2:9: storage.type: found "redis", for which this version of angz has no driver yet, expected memory or sqlite
    2 |   type: redis
      |         ^
environment variable ANGZARR_MESSAGING__TYPE: messaging.type: found "nats", for which this version of angz has no driver yet, expected channel`
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

func TestManyMistakesAreCut(t *testing.T) {
	t.Parallel()
	dir := project(t, map[string]string{"angz.yaml": strings.Repeat("- x\n", 3) + ""})
	var text strings.Builder
	for i := range 80 {
		text.WriteString("key" + strings.Repeat("x", i) + ": 1\n")
	}
	if err := os.WriteFile(filepath.Join(dir, "angz.yaml"), []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := config.Load(config.Options{Dir: dir, Dev: true})
	if err == nil || !strings.HasSuffix(err.Error(), "\nand 30 more") {
		t.Errorf("got %v", err)
	}
}

func TestTheExamplesAreRight(t *testing.T) {
	t.Parallel()
	examples, err := filepath.Glob("../../examples/*/angz.yaml")
	if err != nil || len(examples) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for _, example := range examples {
		same(t, example, []string(nil), load(t, config.Options{File: example, Dev: true}).Warnings())
	}
}

func TestFilesThatGrowWhenReadAreRefused(t *testing.T) {
	t.Parallel()
	text := "domains:\n  - &a {name: a, run: x, watch: &w [" + strings.Repeat("x,", 5000) + "]}\n" + strings.Repeat("  - {name: b, run: x, watch: *w}\n", 100)
	_, err := config.Load(config.Options{Dir: project(t, map[string]string{"angz.yaml": text}), Dev: true})
	if err == nil || !strings.Contains(err.Error(), "found more than 50000 values, expected a configuration file") {
		t.Errorf("got %v", err)
	}
}

func TestAMistakeInALargeFileIsFoundWithoutReadingItAgainAndAgain(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("# a comment\n", 10_000) + "storage: {}\nserver: ]\n"
	dir := project(t, map[string]string{"angz.yaml": text})
	_, err := config.Load(config.Options{Dir: dir, Dev: true})
	var mistakes *config.Errors
	if !errors.As(err, &mistakes) || len(mistakes.List) != 1 || mistakes.List[0].Line < 10_000 {
		t.Errorf("got %v", err)
	}
}
