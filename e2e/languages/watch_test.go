package languages_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestWatch saves features, rules and messages while "angz test --watch" runs.
func TestWatch(t *testing.T) {
	t.Parallel()
	s := newProjectOf(t, "go")
	w := s.watch("--format", "progress")
	w.until("4 scenarios (4 passed)", "waiting until something is saved")

	const is, other = `angzarr.Reject("Customer already exists")`, `angzarr.Reject("Customer is there")`
	s.edit("go/customer/rules.go", is, other)
	w.until("rules.go was saved", `"Customer already exists"`, "4 scenarios (3 passed, 1 failed)", "waiting")

	s.edit("features/customer.feature", "Customer already exists", "Customer is there")
	w.until("customer.feature was saved", "4 scenarios (4 passed)", "waiting")

	s.edit("features/customer.feature", "customer-1", "customer-2")
	s.edit("features/customer.feature", "When I send", "When I sends")
	w.until("nothing is known of the step", "waiting")
	s.edit("features/customer.feature", "When I sends", "When I send")
	w.until("4 scenarios (4 passed)", "waiting")

	s.edit("go/customer/rules.go", other, "nonsense")
	w.until("undefined: nonsense", "waiting")
	s.edit("go/customer/rules.go", "nonsense", other)
	w.until("4 scenarios (4 passed)", "waiting")

	s.edit("proto/customer.proto", "message RenameCustomer {", "message RenameCustomer {\n  string why = 9;")
	w.until("customer.proto", "4 scenarios (4 passed)", "waiting")
	s.edit("proto/customer.proto", "string why", "strin why")
	w.until("customer.proto:", "strin why = 9;", "waiting")
	s.edit("proto/customer.proto", "strin why", "string why")
	w.until("4 scenarios (4 passed)", "waiting")

	s.edit("angz.yaml", "run:", "rum:")
	w.until("angz.yaml was saved", `"rum"`, "waiting")
	s.edit("angz.yaml", "rum:", "run:")
	w.until("4 scenarios (4 passed)", "waiting")
	if rounds := strings.Count(w.all(), "4 scenarios"); rounds != 8 { // one for each save that leaves something to run
		t.Errorf("the features were run %d times, want 8:\n%s", rounds, w.all())
	}
}

// watched is "angz test --watch".
type watched struct {
	t    *testing.T
	mu   sync.Mutex
	text bytes.Buffer
	seen int // how much of the text was looked at
}

func (s *shopOf) watch(flags ...string) *watched {
	s.t.Helper()
	w := &watched{t: s.t}
	command := exec.Command(binary, append([]string{"test", "--watch"}, flags...)...)
	command.Dir, command.Env = s.folder, append(os.Environ(), s.environ...)
	command.Stdout, command.Stderr = w, w
	if err := command.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = command.Process.Signal(os.Interrupt)
		if err := command.Wait(); err != nil {
			s.t.Errorf("angz test --watch ended with %v:\n%s", err, w.all())
		}
		if out, _ := exec.Command("pgrep", "-f", filepath.Join(s.folder, ".angz")).Output(); len(out) > 0 {
			s.t.Errorf("services are left: %s", out)
		}
	})
	return w
}

func (w *watched) Write(text []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(text)
}

func (w *watched) all() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// until waits for words, one after the other, after those it has waited for.
func (w *watched) until(words ...string) {
	w.t.Helper()
	deadline := time.Now().Add(4 * time.Minute)
	for _, word := range words {
		for {
			if at := strings.Index(w.all()[w.seen:], word); at >= 0 {
				w.seen += at + len(word)
				break
			}
			if time.Now().After(deadline) {
				w.t.Fatalf("%q is not said:\n%s", word, w.all()[w.seen:])
			}
			time.Sleep(10 * time.Millisecond) // another process says it
		}
	}
}
