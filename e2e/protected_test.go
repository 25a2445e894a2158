package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/angz-dev/angz/runtime/runtimetest"
)

// TestOnlyWhoIsKnownIsServed runs angz with a certificate and tokens, and talks to
// it from the command line in the right way and in the wrong ones.
func TestOnlyWhoIsKnownIsServed(t *testing.T) {
	authority := runtimetest.NewAuthority(t, "e2e authority")
	pair := authority.Issue(t, "localhost")
	folder, ports := t.TempDir(), free(t, 3)
	runtimetest.WriteFile(t, filepath.Join(folder, "tokens"), []byte("ops:sesame-sesame-sesame\nreader:peek-peek-peek-peek\n"))
	writeProject(t, folder, fmt.Sprintf(`storage: {type: memory}
server: {host: 127.0.0.1, aggregate_port: 0, event_query_port: 0}
gateway:
  port: %d
  auth:
    mode: token
    tokens_file: tokens
    rules:
      - {identity: ops, commands: ["*"], queries: ["*"], admin: true}
      - {identity: reader, queries: [source]}
stream: {port: 0}
transport: {tls: {cert: %q, key: %q, ca: %q}}
domains: [{name: source, address: "127.0.0.1:%d"}]
debug: {address: "127.0.0.1:%d"}
`, ports[0], pair.Cert, pair.Key, authority.File, ports[1], ports[2]))
	p := &process{t: t, name: "angz serve all", args: []string{binary, "serve", "all", "--config", filepath.Join(folder, "angz.yaml")}, output: &buffer{}}
	p.start()
	t.Cleanup(p.stop)
	awaitPage(t, fmt.Sprintf("http://127.0.0.1:%d/healthz", ports[2]))

	secure := []string{"--address", fmt.Sprintf("https://localhost:%d", ports[0]), "--ca", authority.File}
	for name, c := range map[string]struct {
		token string
		args  []string
		code  int
		says  string
	}{
		"nobody":                    {"", append([]string{"events", "source", "x"}, secure...), 1, "UNAUTHENTICATED"},
		"an unknown token":          {"guess-guess-guess-guess", append([]string{"events", "source", "x"}, secure...), 1, "UNAUTHENTICATED"},
		"who may read":              {"peek-peek-peek-peek", append([]string{"events", "source", "x"}, secure...), 0, "no events of source x yet"},
		"who may not read this":     {"peek-peek-peek-peek", append([]string{"events", "target", "x"}, secure...), 1, "PERMISSION_DENIED"},
		"who may not decide":        {"peek-peek-peek-peek", append([]string{"dlq", "list"}, secure...), 1, "gateway.auth.rules[1].admin would allow it"},
		"who may do everything":     {"sesame-sesame-sesame", append([]string{"dlq", "list"}, secure...), 0, "no dead letters"},
		"without the authority":     {"sesame-sesame-sesame", []string{"dlq", "list", "--address", secure[1]}, 1, `"CN=e2e authority" is not among the authorities`},
		"without TLS":               {"sesame-sesame-sesame", []string{"dlq", "list", "--address", fmt.Sprintf("localhost:%d", ports[0])}, 1, "it speaks TLS: write its address as https://"},
		"an authority that is none": {"sesame-sesame-sesame", []string{"dlq", "list", "--address", secure[1], "--ca", os.DevNull}, 2, "holds no certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			command := exec.Command(binary, c.args...)
			command.Dir = t.TempDir()
			command.Env = append(os.Environ(), "ANGZARR_TOKEN="+c.token)
			output, err := command.CombinedOutput()
			if command.ProcessState.ExitCode() != c.code || !strings.Contains(string(output), c.says) {
				t.Errorf("ended with %v, want code %d and %q:\n%s", err, c.code, c.says, output)
			}
		})
	}
	for _, secret := range []string{"sesame", "peek", "guess"} {
		if strings.Contains(p.output.String(), secret) {
			t.Errorf("the log shows %q:\n%s", secret, p.output)
		}
	}
}

// awaitPage waits until a page is there.
func awaitPage(t *testing.T, url string) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		answer, err := http.Get(url)
		if err == nil {
			_, _ = io.Copy(io.Discard, answer.Body)
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", url, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
