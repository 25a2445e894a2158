package config_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/angz-dev/angz/runtime/config"
)

// compiledSchema returns the schema as a validator that is not ours reads it.
func compiledSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := config.JSONSchema()
	if err != nil {
		t.Fatal(err)
	}
	return compiled(t, text)
}

func compiled(t *testing.T, text []byte) *jsonschema.Schema {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft4) // so that the schema has to say which it is
	if err := compiler.AddResource("angz.schema.json", document); err != nil {
		t.Fatal(err)
	}
	compiled, err := compiler.Compile("angz.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if compiled.DraftVersion != 2020 {
		t.Errorf("the schema is of draft %d, expected 2020", compiled.DraftVersion)
	}
	return compiled
}

// validate checks a YAML text by the schema.
func validate(t *testing.T, compiled *jsonschema.Schema, text []byte) error {
	t.Helper()
	var document any
	if err := yaml.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	plain, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(plain))
	if err != nil {
		t.Fatal(err)
	}
	return compiled.Validate(value)
}

// TestWhatIsShownFitsItsSchema holds that "angz config show" keeps to what "angz
// schema config show" says.
func TestWhatIsShownFitsItsSchema(t *testing.T) {
	t.Parallel()
	text, err := config.ShownSchema("shown.json")
	if err != nil {
		t.Fatal(err)
	}
	schema := compiled(t, text)
	for _, file := range []string{"testdata/every_key.yaml", "testdata/project/angz.yaml", "../../examples/shop/angz.yaml", ""} {
		for _, origins := range []bool{false, true} {
			options := config.Options{File: file, NoStore: true}
			if file == "" {
				options.Dir, options.Dev = t.TempDir(), true
			}
			loaded, err := config.Load(options)
			if err != nil {
				t.Fatal(err)
			}
			var shown bytes.Buffer
			if err := loaded.WriteJSON(&shown, origins); err != nil {
				t.Fatal(err)
			}
			if err := validate(t, schema, shown.Bytes()); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}

func TestTheSchemaAcceptsEveryExample(t *testing.T) {
	t.Parallel()
	compiled := compiledSchema(t)
	var files []string
	for _, pattern := range []string{"../../examples/*/angz.yaml", "../../examples/*/*/*.yaml", "testdata/every_key.yaml", "testdata/project/angz.yaml"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	if len(files) < 4 {
		t.Fatalf("only %d files: %v", len(files), files)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := validate(t, compiled, text); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// TestTheSchemaAndLoadAgree holds that what the schema accepts of one value is
// what Load does.
func TestTheSchemaAndLoadAgree(t *testing.T) {
	t.Parallel()
	compiled := compiledSchema(t)
	for text, right := range map[string]bool{
		"": true, "~": true, "storage:": true, "server: {host: }": true, "protos: []": true, "domains: []": true,
		"gateway: {port: '5'}": true, "gateway: {port: 70000}": false, "gateway: {port: x}": false, "gateway: {port: 1.5}": false,
		"storage: {type: mysql}": false, "storage: {postgres: {uri: 5}}": true, "storge: {}": false, "storage: x": false, "[]": false,
		"storage: {snapshots_enable: {read: 'TRUE'}}": true, "storage: {snapshots_enable: {read: yes please}}": false,
		"gateway: {static_endpoints: {'*': 'a:1|b:2', x.y: /s}}": true, "gateway: {static_endpoints: {'a/b': 'a:1'}}": false,
		"gateway: {static_endpoints: {a: localhost}}": false, "gateway: {command_address: 'a:1|'}": false,
		"gateway: {command_address: 'http://[::1]:5/'}": true, "gateway: {stream_address: ./x.sock}": true, "server: {advertise: 'a:1|b:1'}": false,
		"server: {grace: 1m30s}": true, "server: {grace: 5}": false, "limits: {max_message_bytes: 1 MiB}": true, "limits: {max_message_bytes: 1 MB}": false,
		"domains: [{domain: a, run: [x, y]}]": true, "domains: [{name: a, run: x}]": true, "domains: [{run: x}]": false,
		"business_logic: [{name: a, run: {}}]": false, "domains: [{name: ö-1._, run: x}]": true, "domains: [{name: a b, run: x}]": false,
		"projectors: [{name: a, run: x, history: full}]": true, "domains: [{name: a, run: x, history: full}]": false,
		"projectors: [{domain: a, run: x}]": false, "sagas: [{name: a, run: x, stream_output: true}]": false,
		"projectors: [{name: a, run: x, env: {A: 1, B: true, C: , D: x}}]": true, "sagas: [{name: a, run: x, domains: x}]": false,
		"gateway: {auth: {mode: none}}": true, "gateway: {auth: {mode: basic}}": false, "gateway: {auth: {mode: [basic]}}": false, "gateway: {auth: {mode: []}}": true,
		"gateway: {auth: {tokens_file: a, mode: 'token', rules: [{identity: a, admin: true}]}}": true, "gateway: {auth: {rules: [{commands: [a]}]}}": false,
		"gateway: {auth: {rules: [{identity: a, commands: a}]}}": false, "gateway: {auth: {rules: [{identity: a, command: [a]}]}}": false,
		"transport: {tls: {cert: a, key: b, client_auth: require, ca: c}}": true, "transport: {tls: {client_auth: always}}": false,
		"sagas: [{name: a, run: x, watch: [a, b]}]": true, "protos: proto": false, "saga_compensation: {fallback_domain: a/b}": false,
	} {
		_, err := config.Load(config.Options{Dir: project(t, map[string]string{"angz.yaml": text, "a": ""}), Dev: true})
		if (err == nil) != right {
			t.Errorf("%s: Load says %v, expected right: %t", text, err, right)
		}
		if err := validate(t, compiled, []byte(text)); (err == nil) != right {
			t.Errorf("%s: the schema says %v, expected right: %t", text, err, right)
		}
	}
}
