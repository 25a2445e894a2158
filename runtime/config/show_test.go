package config_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/angz-dev/angz/runtime/config"
)

func TestWhatIsShownLoadsAsTheSame(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/every_key.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		text string
		dev  bool
	}{
		"nothing": {"", true}, "nothing for serve": {"storage: {sqlite: {path: }}", false}, "every key": {string(text), true},
		"aliases": {"domains: [{domain: a, run: [x, '']}]", true},
	} {
		first := load(t, config.Options{Dir: project(t, map[string]string{"angz.yaml": test.text}), Dev: test.dev})
		var shown bytes.Buffer
		if err := first.WriteYAML(&shown, false); err != nil {
			t.Fatal(err)
		}
		second := load(t, config.Options{Dir: project(t, map[string]string{"angz.yaml": shown.String()}), Dev: test.dev})
		first.File, first.Dir, second.File, second.Dir = "", "", "", ""
		if diff := cmp.Diff(first, second, cmpopts.IgnoreUnexported(config.Config{}), cmpopts.EquateEmpty(), cmp.FilterPath(isSecret, cmp.Ignore())); diff != "" {
			t.Errorf("%s:\n%s\n%s", name, diff, shown.String())
		}
	}
}

// isSecret reports whether a path leads to a value that is not shown.
func isSecret(path cmp.Path) bool {
	for _, step := range path {
		if field, ok := step.(cmp.StructField); ok {
			switch field.Name() {
			case "Env", "URI", "URL", "SASLPassword", "DeadLetterQueueURL", "EscalationWebhookURL", "EscalationWebhookSecret":
				return true
			}
		}
	}
	return false
}

func TestSecretsAreNotShown(t *testing.T) {
	t.Parallel()
	for uri, want := range map[string]string{
		"postgres://user:hunter2@db:5432/shop":         "postgres://…@db:5432/shop",
		"postgres://db/shop?password=hunter2":          "postgres://db/shop?…",
		"postgres://user:hunter/2@db/shop":             "(hidden)",
		"postgres://user:12/hunter@db/shop":            "(hidden)",
		"postgres://user:12#hunter2@db/shop":           "(hidden)",
		"postgres://user:12?hunter2@db/shop":           "(hidden)",
		"postgres://user:12#hunter2":                   "(hidden)",
		"host=db user=user password=hunter2":           "(hidden)",
		"postgres:hunter2":                             "(hidden)",
		"hunter2":                                      "(hidden)",
		"postgres://localhost:5432/angzarr":            "postgres://localhost:5432/angzarr",
		"postgresql://h-one:1,h-two:2/shop":            "postgresql://h-one:1,h-two:2/shop",
		"https://hooks.example/hunter2":                "(hidden)",
		"postgres://user:hunter2@db/shop?sslcert=/a@b": "(hidden)",
	} {
		loaded := loadText(t, `
saga_compensation: {escalation_webhook_url: 'https://hooks.example/hunter2'}
messaging: {kafka: {sasl_password: hunter2}, amqp: {url: 'amqp://u:hunter2@mq/v'}}
gateway: {command_address: c:1}
target: {command: 'PASSWORD=hunter2 ./service'}
domains: [{name: a, run: 'API_KEY=hunter2 go run .', build: [env, 'TOKEN=hunter2', make], env: {A: hunter2}}]
`, "ANGZARR_STORAGE__POSTGRES__URI="+uri)
		for _, write := range []func(*bytes.Buffer) error{
			func(b *bytes.Buffer) error { return loaded.WriteYAML(b, true) },
			func(b *bytes.Buffer) error { return loaded.WriteJSON(b, true) },
		} {
			var shown bytes.Buffer
			if err := write(&shown); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(shown.String(), "hunter") {
				t.Errorf("%s: a secret is shown:\n%s", uri, shown.String())
			}
			if !strings.Contains(shown.String(), want) {
				t.Errorf("%s: %s is not in\n%s", uri, want, shown.String())
			}
		}
	}
}

func TestOriginsStandBesideTheValues(t *testing.T) {
	t.Parallel()
	dir := project(t, map[string]string{"angz.yaml": "domains:\n  - name: a\n    run: x\n"})
	loaded := load(t, config.Options{Dir: dir, Dev: true, Environ: []string{"GRPC_PORT=5"}, Set: map[string]string{"stream.port": "6"}})
	var shown bytes.Buffer
	if err := loaded.WriteYAML(&shown, true); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"  - name: a # " + filepath.Join(dir, "angz.yaml") + ":2:11", "  port: 5 # environment variable GRPC_PORT", "  port: 6 # stream.port on the command line",
		"  aggregate_port: 1313 # default",
	} {
		if !strings.Contains(shown.String(), line+"\n") {
			t.Errorf("%q is not in\n%s", line, shown.String())
		}
	}
	shown.Reset()
	if err := loaded.WriteJSON(&shown, true); err != nil {
		t.Fatal(err)
	}
	var document struct {
		Config  struct{ Gateway struct{ Port int } }
		Origins map[string]string
	}
	if err := json.Unmarshal(shown.Bytes(), &document); err != nil {
		t.Fatal(err)
	}
	same(t, "value", 5, document.Config.Gateway.Port)
	same(t, "origin", "environment variable GRPC_PORT", document.Origins["gateway.port"])
	same(t, "origin in a list", filepath.Join(dir, "angz.yaml")+":3:10", document.Origins["domains[0].run"])
}
