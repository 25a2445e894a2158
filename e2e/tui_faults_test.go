package e2e_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/angz-dev/angz/emulator/control"
	"github.com/angz-dev/angz/runtime/runtimetest"
)

// startsTUI starts angz tui in a terminal and remembers how that was before.
func (w *terminal) startsTUI(flags ...string) {
	w.t.Helper()
	w.types("cd " + w.t.TempDir() + "; stty -a >before")
	w.startsTUIAgain(flags...)
}

func (w *terminal) startsTUIAgain(flags ...string) {
	w.t.Helper()
	w.types("clear")
	w.gone("tui")
	w.types(`sh -c 'echo $$ >pid; exec "$0" tui "$@"' $ANGZ ` + strings.Join(flags, " "))
}

// asBefore waits until the program has ended with a code, and sees that it left
// nothing of its own in the terminal.
func (w *terminal) asBefore(code int) {
	w.t.Helper()
	w.types(`echo "ended $?, $(stty -a | cmp - before && echo as before)"`)
	w.shows(fmt.Sprintf("ended %d, as before", code))
	const modes = "#{alternate_on} #{mouse_any_flag} #{cursor_flag} #{keypad_cursor_flag}"
	if got := strings.TrimSpace(w.tmux("display-message", "-p", modes)); got != "0 0 1 0" {
		w.t.Errorf("the modes %s are %s, want 0 0 1 0", modes, got)
	}
}

// TestTUIIsToldToEnd ends the terminal program by signals.
func TestTUIIsToldToEnd(t *testing.T) {
	t.Parallel()
	for name, signal := range map[string]syscall.Signal{"SIGTERM": syscall.SIGTERM, "SIGHUP": syscall.SIGHUP, "SIGINT": syscall.SIGINT} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, folder := openTerminal(t, "ANGZ="+binary, "LC_ALL=C.UTF-8"), t.TempDir()
			w.types("cd " + folder + "; stty -a >before")
			w.startsTUIAgain("--address", "localhost:1")
			w.shows("no connection")
			text, err := os.ReadFile(filepath.Join(folder, "pid"))
			if err != nil {
				t.Fatal(err)
			}
			pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
			if err != nil {
				t.Fatal(err)
			}
			if err := syscall.Kill(pid, signal); err != nil {
				t.Fatal(err)
			}
			w.gone("no connection")
			w.asBefore(0)
		})
	}
}

// TestTUIRetriesADeadLetter has a service that cannot take an event, mends it, and
// retries in the terminal program.
func TestTUIRetriesADeadLetter(t *testing.T) {
	t.Parallel()
	project := terminalProject(t)
	file, lines := filepath.Join(project, "angz.yaml"), filepath.Join(project, "lines")
	right, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	broken := strings.Replace(string(right), `"projector"]`, `"aggregate"]`, 1) // it projects nothing
	if broken == string(right) {
		t.Fatalf("there is no projector in\n%s", right)
	}
	write(t, file, broken, 0o600)
	at := freePorts(t)
	startDev(t, project, at)
	address := fmt.Sprintf("localhost:%d", at.gateway)
	if out, said, code := cli(project, "send", "order", "order-1", "Place", `{"text": "tea"}`, "--address", address); code != 0 {
		t.Fatalf("angz send: %d\n%s%s", code, out, said)
	}

	w := openTerminal(t, "ANGZ="+binary, "LC_ALL=C.UTF-8")
	w.startsTUI("--address", address)
	w.shows("everything")
	w.press("5")
	w.shows("projector/receipt", "parked", "order order-1", "0 Happened")
	w.press("Enter")
	w.shows("reason", "aggregate    order order-1")
	w.press("r") // in vain
	w.shows("is handled again")
	w.press("Escape")
	w.shows("COMPONENT", "parked")

	client, err := control.Find(project)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	write(t, file, string(right), 0o600)
	shop := &workshop{dev: &dev{t: t, output: &buffer{}}, folder: project, control: client}
	shop.until("the projector is mended", func(s control.Status) bool { return s.Ready && service(s, "receipt").Starts == 2 })
	w.press("r")
	w.shows("is handled again", "no dead letters")
	if got, err := os.ReadFile(lines); err != nil || strings.Count(string(got), "tea\n") != 1 {
		t.Errorf("the read model is %q: %v", got, err)
	}
	w.press("q")
	w.gone("dead letters")
	w.asBefore(0)
}

// entrance is a way into a system that speaks TLS, for as long as it likes as
// somebody whom nobody believes.
type entrance struct {
	port   int
	to     string
	mu     sync.Mutex
	conns  []net.Conn
	config atomic.Pointer[tls.Config]
}

func openEntrance(t *testing.T, to string) *entrance {
	t.Helper()
	e := &entrance{to: to}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return e.config.Load(), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	e.port = listener.Addr().(*net.TCPAddr).Port
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { e.serve(conn) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		e.hangUp()
		serving.Wait()
	})
	return e
}

// serve lets one connection in.
func (e *entrance) serve(conn net.Conn) {
	inner, err := net.Dial("tcp", e.to)
	if err != nil {
		conn.Close()
		return
	}
	e.mu.Lock()
	e.conns = append(e.conns, conn, inner)
	e.mu.Unlock()
	var copying sync.WaitGroup
	copying.Go(func() { _, _ = io.Copy(inner, conn); inner.Close() })
	_, _ = io.Copy(conn, inner)
	conn.Close()
	copying.Wait()
}

func (e *entrance) hangUp() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, conn := range e.conns {
		conn.Close()
	}
	e.conns = nil
}

// shows has the entrance show a certificate from now on.
func (e *entrance) shows(t *testing.T, pair runtimetest.Pair, edit ...func(*tls.Config)) {
	t.Helper()
	certificate, err := tls.LoadX509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12}
	for _, change := range edit {
		change(config)
	}
	e.config.Store(config)
}

// TestTUISaysWhatIsWrongWithTLS looks at a system whose certificate is not to be
// believed, or that does not believe who looks, until it is mended.
func TestTUISaysWhatIsWrongWithTLS(t *testing.T) {
	t.Parallel()
	at := freePorts(t)
	startDev(t, terminalProject(t), at)
	ours, theirs := runtimetest.NewAuthority(t, "our authority"), runtimetest.NewAuthority(t, "their authority")
	good := ours.Issue(t, "gateway")
	elsewhere := func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = []string{"gateway.example.com"}, nil }
	clients := x509.NewCertPool()
	authorities, err := os.ReadFile(ours.File)
	if err != nil || !clients.AppendCertsFromPEM(authorities) {
		t.Fatalf("no authorities: %v", err)
	}
	asking := func(c *tls.Config) { c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, clients }
	flags := "--ca, --cert and --key say here what transport.tls.ca, .cert and .key say"

	for name, c := range map[string]struct {
		shows func(*testing.T, *entrance)
		says  []string
	}{
		"an unknown authority": {
			func(t *testing.T, e *entrance) { e.shows(t, theirs.Issue(t, "gateway")) },
			[]string{`its certificate "CN=gateway"`, `issued by "CN=their authority"`, "valid until", "is not among the authorities in", "add the certificate of that authority", flags},
		},
		"an expired certificate": {
			func(t *testing.T, e *entrance) { e.shows(t, ours.Issue(t, "gateway", runtimetest.Expired)) },
			[]string{`its certificate "CN=gateway"`, `issued by "CN=our authority"`, "valid until", "it expired on", "renew it"},
		},
		"a certificate for another name": {
			func(t *testing.T, e *entrance) { e.shows(t, ours.Issue(t, "gateway", elsewhere)) },
			[]string{"gateway.example.com", `issued by "CN=our authority"`, "it is not for localhost", "use an address with a name that the certificate holds", flags},
		},
		"a client without a certificate": {
			func(t *testing.T, e *entrance) { e.shows(t, good, asking) },
			[]string{"it wants a client certificate", "there is none", "set transport.tls.cert and transport.tls.key", flags},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := openEntrance(t, fmt.Sprintf("127.0.0.1:%d", at.gateway))
			c.shows(t, e)
			asked := []string{"--address", fmt.Sprintf("https://localhost:%d", e.port), "--ca", ours.File}
			sayIt(t, c.says, append([]string{"domains"}, asked...))

			w := openTerminal(t, "ANGZ="+binary, "LC_ALL=C.UTF-8")
			w.startsTUI(asked...)
			w.showsInLines(append([]string{"no connection: angz at", "trying again"}, c.says...)...)
			w.press("q")
			w.gone("no connection")
			w.asBefore(0)

			w.startsTUIAgain(asked...)
			w.showsInLines(c.says...)
			e.shows(t, good)
			w.shows("connected again", "everything")
			w.gone("no connection")
			w.press("q")
			w.gone("streams")
			w.asBefore(0)
		})
	}
}

// sayIt runs a command until it says all words, and nothing else: on a slow machine it
// may give up before the other side has answered.
func sayIt(t *testing.T, words, args []string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		_, said, code := cli(t.TempDir(), args...)
		missing := ""
		for _, word := range words {
			if !strings.Contains(said, word) {
				missing = word
			}
		}
		if missing == "" && code == 1 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("angz %s does not say %q, it ends with %d:\n%s", strings.Join(args, " "), missing, code, said)
		}
	}
}

// showsInLines is shows for text that is broken into lines.
func (w *terminal) showsInLines(words ...string) {
	w.t.Helper()
	joined := func() string { return strings.Join(strings.Fields(w.screen()), " ") }
	for deadline := time.Now().Add(time.Minute); ; {
		missing, screen := "", joined()
		for _, word := range words {
			if !strings.Contains(screen, word) {
				missing = word
			}
		}
		if missing == "" {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%q is not on the screen:\n%s", missing, w.screen())
		}
		time.Sleep(20 * time.Millisecond)
	}
}
