package e2e_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/angz-dev/angz/emulator/control"
	"github.com/angz-dev/angz/emulator/supervise"
	"github.com/angz-dev/angz/examples/shop/shoppb"
	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
)

// workshop is a copy of examples/shop in which a test works as a developer does:
// it saves files while somebody uses the system.
type workshop struct {
	*dev
	folder   string
	control  *control.Client
	commands pb.CommandGatewayClient
}

// openWorkshop starts angz dev in a copy of the shop.
func openWorkshop(t *testing.T) *workshop {
	t.Helper()
	w := &workshop{folder: copyShop(t)}
	w.dev = launchDev(t, w.folder, freePorts(t))
	t.Cleanup(w.stop)
	w.awaitHealth(w.ports.gateway)
	client, err := control.Find(w.folder)
	if err != nil {
		t.Fatal(err)
	}
	w.control = client
	t.Cleanup(func() { _ = client.Close() })
	w.until("every service is ready", func(status control.Status) bool { return status.Ready })
	w.commands = pb.NewCommandGatewayClient(w.dial(w.ports.gateway))
	return w
}

// copyShop copies what the shop needs into a folder of the test's. The packages
// of its Python services are those that setup.sh has installed once.
func copyShop(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	setup := exec.Command("sh", filepath.Join(root, "examples/shop/python/setup.sh"))
	if output, err := setup.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	copied := t.TempDir()
	for _, name := range []string{"go.mod", "go.sum", "proto", "examples/shop"} {
		from, to := filepath.Join(root, name), filepath.Join(copied, name)
		if info, err := os.Stat(from); err == nil && info.IsDir() {
			err = copyTree(from, to)
			if err != nil {
				t.Fatal(err)
			}
			continue
		}
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	shop := filepath.Join(copied, "examples/shop")
	if err := os.Symlink(filepath.Join(root, "examples/shop/.venv"), filepath.Join(shop, ".venv")); err != nil {
		t.Fatal(err)
	}
	return shop
}

// copyTree copies a folder without what a run leaves in it.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if slices.Contains([]string{".venv", ".angz", "__pycache__"}, entry.Name()) {
			return filepath.SkipDir
		}
		relative, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, relative)
		if entry.IsDir() {
			return os.MkdirAll(target, 0o700)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, text, 0o600)
	})
}

// until waits for a status of the emulator.
func (w *workshop) until(what string, holds func(control.Status) bool) control.Status {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.t.Context()), 2*time.Minute)
	defer cancel()
	var last control.Status
	for status, err := range w.control.Watch(ctx) {
		if err != nil {
			w.t.Fatalf("waiting until %s: %v; last seen %+v\n%s", what, err, last.Services, w.output)
		}
		if last = status; holds(status) {
			return status
		}
	}
	w.t.Fatalf("waiting until %s: %+v\n%s", what, last.Services, w.output)
	return last
}

// service returns how a service is doing in a status.
func service(status control.Status, name string) control.Service {
	i := slices.IndexFunc(status.Services, func(s control.Service) bool { return s.Name == name })
	if i < 0 {
		return control.Service{}
	}
	return status.Services[i]
}

// starts returns how often a service has been started so far.
func (w *workshop) starts(name string) int {
	return service(w.until("there is a status", func(control.Status) bool { return true }), name).Starts
}

// save replaces text in a file, as an editor does that writes another file and
// renames it.
func (w *workshop) save(name, before, after string) {
	w.t.Helper()
	path := filepath.Join(w.folder, name)
	text, err := os.ReadFile(path)
	if err != nil {
		w.t.Fatal(err)
	}
	changed := strings.Replace(string(text), before, after, 1)
	if changed == string(text) {
		w.t.Fatalf("%s does not contain %q", name, before)
	}
	beside := path + "~new"
	if err := os.WriteFile(beside, []byte(changed), 0o600); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(beside, path); err != nil {
		w.t.Fatal(err)
	}
}

// createCustomer sends a command to the Python service and returns the name that
// came out.
func (w *workshop) createCustomer(ctx context.Context) (string, error) {
	var event shoppb.CustomerCreated
	err := w.decide(ctx, "customer", &shoppb.CreateCustomer{Name: "Alice", Email: "a@example.com"}, &event)
	return event.Name, err
}

// createOrder sends a command to the Go service and returns the customer that
// came out.
func (w *workshop) createOrder(ctx context.Context) (string, error) {
	var event shoppb.OrderCreated
	err := w.decide(ctx, "order", &shoppb.CreateOrder{CustomerId: "Alice"}, &event)
	return event.CustomerId, err
}

// decide sends a command for a new aggregate and reads the event that it causes.
func (w *workshop) decide(ctx context.Context, domain string, command, event proto.Message) error {
	payload, err := anypb.New(command)
	if err != nil {
		return err
	}
	key, err := book.KeyFrom(domain, nil, uuid.NewString())
	if err != nil {
		return err
	}
	response, err := w.commands.ExecuteSync(ctx, &pb.SyncCommandBook{Command: &pb.CommandBook{
		Cover: key.Cover(""), Pages: []*pb.CommandPage{{Command: payload}},
	}})
	if err != nil {
		return err
	}
	if len(response.Events.GetPages()) != 1 {
		return fmt.Errorf("%d events came out", len(response.Events.GetPages()))
	}
	return response.Events.Pages[0].GetEvent().UnmarshalTo(event)
}

// busy sends 50 commands a second until stop, and reports those that failed.
func (w *workshop) busy(send func(context.Context) (string, error)) (stop func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	var senders sync.WaitGroup
	var sent int
	senders.Go(func() {
		for ticks := time.NewTicker(20 * time.Millisecond); ; {
			select {
			case <-ticks.C:
			case <-ctx.Done():
				ticks.Stop()
				return
			}
			sent++
			senders.Go(func() {
				if _, err := send(context.WithoutCancel(ctx)); err != nil {
					w.t.Errorf("a command failed: %v", err)
				}
			})
		}
	})
	return sync.OnceFunc(func() {
		cancel()
		senders.Wait()
		if sent < 10 {
			w.t.Errorf("only %d commands were sent", sent)
		}
	})
}

// awaitAnswer waits until a command's outcome is the one of the new code, and
// returns how long that took.
func (w *workshop) awaitAnswer(send func(context.Context) (string, error), want string) time.Duration {
	w.t.Helper()
	began := time.Now()
	for {
		got, err := send(w.t.Context())
		if err != nil {
			w.t.Fatalf("a command failed: %v\n%s", err, w.output)
		}
		if got == want {
			return time.Since(began)
		}
		if time.Since(began) > time.Minute {
			w.t.Fatalf("the answer is still %q, want %q\n%s", got, want, w.output)
		}
	}
}

// TestSavedCodeRunsAtOnceAndNoCommandFails saves handlers in Python and in Go
// under load, with mistakes and without.
func TestSavedCodeRunsAtOnceAndNoCommandFails(t *testing.T) {
	w := openWorkshop(t)
	for _, language := range []struct {
		name, service, file, code, mistake string
		changed                            func(answer string) string
		send                               func(context.Context) (string, error)
	}{
		{
			"Python", "customer", "python/customer.py", "CustomerCreated(name=command.name,", "CustomerCreated(name=command.name(((,",
			func(answer string) string { return fmt.Sprintf("CustomerCreated(name=%q,", answer) }, w.createCustomer,
		},
		{
			"Go", "order", "order/main.go", "OrderCreated{CustomerId: command.CustomerId", "OrderCreated{CustomerId: command.NoSuchField",
			func(answer string) string { return fmt.Sprintf("OrderCreated{CustomerId: %q", answer) }, w.createOrder,
		},
	} {
		t.Run(language.name, func(t *testing.T) {
			stop := w.busy(language.send)
			defer stop()
			before, answer := language.code, "Alice"
			var took []time.Duration
			for round := range 5 {
				answer = fmt.Sprintf("Alice %d", round)
				after := language.changed(answer)
				w.save(language.file, before, after)
				took = append(took, w.awaitAnswer(language.send, answer))
				before = after
			}
			slices.Sort(took)
			t.Logf("from the save to an answer of the new code: median %s of %s", took[len(took)/2], took)

			w.save(language.file, before, language.mistake)
			outdated := service(w.until("the mistake is found", func(s control.Status) bool {
				return service(s, language.service).State == supervise.Outdated
			}), language.service)
			if len(outdated.Tail) == 0 || !strings.Contains(strings.Join(outdated.Tail, "\n"), filepath.Base(language.file)) {
				t.Errorf("the mistake is not shown: %+v", outdated)
			}
			if got, err := language.send(t.Context()); err != nil || got != answer {
				t.Errorf("with a mistake in the code a command had the outcome %q, %v; want that of the code before: %q", got, err, answer)
			}
			w.save(language.file, language.mistake, language.changed("Bob"))
			w.awaitAnswer(language.send, "Bob")
		})
	}
}

// TestManySavesCauseAHandfulOfRestarts saves as a formatter does that goes mad.
func TestManySavesCauseAHandfulOfRestarts(t *testing.T) {
	w := openWorkshop(t)
	before := w.starts("customer")
	stop := w.busy(w.createCustomer)
	defer stop()
	text := "CustomerCreated(name=command.name,"
	for i := range 200 {
		next := fmt.Sprintf("CustomerCreated(name=%q,", fmt.Sprint("save ", i))
		w.save("python/customer.py", text, next)
		text = next
		time.Sleep(50 * time.Millisecond)
	}
	w.awaitAnswer(w.createCustomer, "save 199")
	if starts := w.starts("customer") - before; starts > 20 {
		t.Errorf("200 saves caused %d restarts", starts)
	} else {
		t.Logf("200 saves in 10 seconds caused %d restarts", starts)
	}
	if starts := w.starts("order"); starts != 1 {
		t.Errorf("order, whose files nobody saved, was started %d times", starts)
	}
}

// TestTheConfigurationIsReadAgain changes angz.yaml in every way while commands
// come in.
func TestTheConfigurationIsReadAgain(t *testing.T) {
	w := openWorkshop(t)
	stop := w.busy(w.createCustomer)
	defer stop()
	pids := func(status control.Status) map[string]int {
		all := map[string]int{}
		for _, service := range status.Services {
			all[service.Name] = service.PID
		}
		return all
	}
	before := pids(w.until("all is ready", func(s control.Status) bool { return s.Ready }))

	// One entry that only the emulator looks at.
	w.save("angz.yaml", "    run: .angz/bin/inventory\n", "    run: .angz/bin/inventory\n    env: {MORE: \"1\"}\n")
	after := pids(w.until("inventory was started again", func(s control.Status) bool {
		return s.Ready && service(s, "inventory").Starts == 2
	}))
	// Mistakes change nothing and are told.
	w.save("angz.yaml", "protos: [proto]", "protoss: [proto]")
	w.awaitOutput("did you mean")
	w.save("angz.yaml", "protoss: [proto]", "protos: [proto]")
	// The runtime itself: another limit, one saga less.
	w.save("angz.yaml", "protos: [proto]", "protos: [proto]\nlimits: {max_message_bytes: 8MiB}")
	w.save("angz.yaml", "  - name: loyalty\n    domains: [order]\n    build: sh python/setup.sh\n    run: .venv/bin/python python/loyalty.py\n", "")
	last := pids(w.until("loyalty is gone", func(s control.Status) bool { return s.Ready && service(s, "loyalty").Name == "" }))
	if left := settled(t, -1, func() []string {
		if syscall.Kill(before["loyalty"], 0) != nil {
			return nil
		}
		return []string{fmt.Sprint(before["loyalty"])}
	}); len(left) > 0 {
		t.Errorf("process %s of the saga that was taken out is still there", left)
	}
	for _, name := range []string{"customer", "order", "receipt", "reservation"} {
		if before[name] != after[name] || before[name] != last[name] {
			t.Errorf("%s was restarted: process %d, %d, %d", name, before[name], after[name], last[name])
		}
	}
	if before["inventory"] == after["inventory"] || after["inventory"] != last["inventory"] {
		t.Errorf("inventory: process %d, %d, %d", before["inventory"], after["inventory"], last["inventory"])
	}
}

// awaitOutput waits until angz has said something.
func (w *workshop) awaitOutput(text string) {
	w.t.Helper()
	for deadline := time.Now().Add(time.Minute); !strings.Contains(w.output.String(), text); {
		if time.Now().After(deadline) {
			w.t.Fatalf("angz did not say %q:\n%s", text, w.output)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
