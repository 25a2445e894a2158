package e2e_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/angz-dev/angz/examples/shop/shoppb"
	pb "github.com/angz-dev/angz/proto/angzarrpb"
)

// startShop runs examples/shop on the documented ports, with its data in the
// test's folder. Only one test in all processes has these ports at a time.
func startShop(t *testing.T) *dev {
	t.Helper()
	lock, err := os.OpenFile(filepath.Join(os.TempDir(), "angz-e2e-ports.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lock.Close() })
	return startDev(t, shopConfig(t), seedPorts)
}

// shopConfig writes the shop's angz.yaml with its data elsewhere, so that a test
// does not touch what somebody keeps there.
func shopConfig(t *testing.T) string {
	t.Helper()
	shop, err := filepath.Abs("../examples/shop")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(shop, "angz.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	changed := regexp.MustCompile(`(?m)^  - name: .*$`).ReplaceAllString(string(text), "$0\n    dir: "+shop)
	changed = strings.ReplaceAll(changed, "RECEIPTS_DB: .angz/receipts.db", "RECEIPTS_DB: "+filepath.Join(folder, "receipts.db"))
	changed = strings.ReplaceAll(changed, "protos: [proto]", "protos: ["+filepath.Join(shop, "proto")+"]")
	path := filepath.Join(folder, "angz.yaml")
	if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestTheShop goes through everything that is written about the shop, on the
// ports that are written.
func TestTheShop(t *testing.T) {
	d := startShop(t)
	t.Run("the lines of the tour", tour)
	t.Run("the lines for grpcurl", grpcurlLines)
	t.Run("a client that knows only the proto files", pythonClient)
	t.Run("the vectors over the wire", func(t *testing.T) { vectors(t, d) })
}

// tour types what the README says and compares what it shows.
func tour(t *testing.T) {
	correlation := regexp.MustCompile(`(?m)^correlation .*\n|\d{4}-\d\d-\d\dT\S+Z  `)
	for _, step := range []struct {
		line []string
		want string
	}{
		{[]string{"send", "inventory", "prod-1", "AddStock", `{"quantity": 10}`},
			"stored inventory prod-1\n  0  StockAdded  {\"quantity\":10,\"available\":10}\n"},
		{[]string{"send", "customer", "alice@example.com", "CreateCustomer", `{"name": "Alice", "email": "alice@example.com"}`},
			"stored customer alice@example.com\n  0  CustomerCreated  {\"name\":\"Alice\",\"email\":\"alice@example.com\"}\n"},
		{[]string{"send", "order", "order-1", "CreateOrder", `{"customer_id": "alice@example.com"}`},
			"stored order order-1\n  0  OrderCreated  {\"customerId\":\"alice@example.com\"}\n"},
		{[]string{"send", "order", "order-1", "AddItem", `{"product_id": "prod-1", "quantity": 2, "price_cents": 1250}`, "--sync", "cascade"},
			"stored order order-1\n  1  ItemAdded  {\"productId\":\"prod-1\",\"quantity\":2,\"priceCents\":1250}\nprojection receipt at 1\n"},
		{[]string{"events", "inventory", "prod-1"},
			"   0  StockAdded  {\"quantity\":10,\"available\":10}\n   1  StockReserved  {\"orderId\":\"order-1\",\"quantity\":2,\"available\":8}\n"},
		{[]string{"send", "order", "order-1", "AddItem", `{"product_id": "prod-1", "quantity": 99, "price_cents": 1250}`, "--sync", "cascade"},
			"stored order order-1\n  2  ItemAdded  {\"productId\":\"prod-1\",\"quantity\":99,\"priceCents\":1250}\nprojection receipt at 2\n"},
		{[]string{"events", "order", "order-1", "--from", "3"},
			"   3  ItemRemoved  {\"productId\":\"prod-1\",\"quantity\":99,\"priceCents\":1250,\"reason\":\"Only 8 in stock, 99 wanted\"}\n"},
		{[]string{"events", "customer", "alice@example.com"},
			"   0  CustomerCreated  {\"name\":\"Alice\",\"email\":\"alice@example.com\"}\n"},
	} {
		output, err := exec.Command(binary, step.line...).CombinedOutput()
		if err != nil {
			t.Fatalf("angz %s: %v\n%s", strings.Join(step.line, " "), err, output)
		}
		if diff := cmp.Diff(step.want, correlation.ReplaceAllString(string(output), "")); diff != "" {
			t.Errorf("angz %s:\n%s", strings.Join(step.line, " "), diff)
		}
	}
	output, err := exec.Command(binary, "send", "order", "order-1", "CompleteOrder", "--sync", "cascade").CombinedOutput()
	if err != nil || !strings.Contains(string(output), `"formattedText":"Order order-1\n`) {
		t.Errorf("CompleteOrder: %v\n%s", err, output)
	}
	output, err = exec.Command(binary, "events", "customer", "alice@example.com", "--from", "1").CombinedOutput()
	if err != nil || !strings.Contains(string(output), `LoyaltyPointsAdded  {"points":25,"reason":"Order order-1","balance":25}`) {
		t.Errorf("the customer's points: %v\n%s", err, output)
	}
	output, err = exec.Command(binary, "send", "customer", "alice@example.com", "CreateCustomer", `{"name": "Alice", "email": "alice@example.com"}`).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(output), "refused: Customer already exists") {
		t.Errorf("a refusal: %v\n%s", err, output)
	}
}

// grpcurl builds the pinned grpcurl and returns its path.
func grpcurl(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "grpcurl")
	build := exec.Command("go", "build", "-C", "../.ci/tools", "-o", path, "github.com/fullstorydev/grpcurl/cmd/grpcurl")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build grpcurl: %v\n%s", err, output)
	}
	return path
}

func payload(t *testing.T, message proto.Message) string {
	t.Helper()
	bytes, err := proto.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(bytes)
}

// grpcurlLines runs the lines of the original description as they are printed
// there, with the shop's ids and real payloads.
func grpcurlLines(t *testing.T) {
	program := grpcurl(t)
	run := func(arguments ...string) string {
		t.Helper()
		output, err := exec.Command(program, append([]string{"-plaintext"}, arguments...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("grpcurl %s: %v\n%s", strings.Join(arguments, " "), err, output)
		}
		return string(output)
	}
	for _, service := range []string{"angzarr.AggregateCoordinator", "angzarr.BusinessCoordinator", "grpc.health.v1.Health"} {
		if services := strings.Fields(run("localhost:1313", "list")); !slices.Contains(services, service) {
			t.Errorf("list does not show %s: %q", service, services)
		}
	}
	if text := run("localhost:1313", "describe", "angzarr.BusinessCoordinator"); !strings.Contains(text, "rpc Handle ( .angzarr.BusinessRequest ) returns ( .angzarr.CommandResponse );") {
		t.Errorf("describe shows:\n%s", text)
	}
	run("-d", fmt.Sprintf(`{
	  "command": {
	    "domain": "customer",
	    "aggregate_id": "cust-001",
	    "type_url": "CreateCustomer",
	    "payload": %q
	  }
	}`, payload(t, &shoppb.CreateCustomer{Name: "Carol", Email: "carol@example.com"})), "localhost:1313", "angzarr.BusinessCoordinator/Handle")
	run("-d", `{"command": {"domain": "customer", "aggregate_id": "cust-001", "type_url": "AddLoyaltyPoints", "json": {"points": 5, "reason": "hello"}}}`,
		"localhost:1313", "angzarr.BusinessCoordinator/Handle")

	all := books(t, run("-d", `{
	  "domain": "customer",
	  "aggregate_id": "cust-001"
	}`, "localhost:1314", "angzarr.EventQuery/GetEvents"))
	if diff := cmp.Diff([]string{"customer 0 examples.CustomerCreated", "customer 1 examples.LoyaltyPointsAdded"}, all); diff != "" {
		t.Error(diff)
	}
	later := books(t, run("-d", `{
	  "domain": "customer",
	  "aggregate_id": "cust-001",
	  "from_sequence": 1
	}`, "localhost:1314", "angzarr.EventQuery/GetEvents"))
	if diff := cmp.Diff(all[1:], later); diff != "" {
		t.Error(diff)
	}

	run("-d", `{"command": {"domain": "inventory", "aggregate_id": "prod-2", "type_url": "AddStock", "json": {"quantity": 5}}}`,
		"localhost:1313", "angzarr.BusinessCoordinator/Handle")
	run("-d", `{"command": {"domain": "order", "aggregate_id": "order-2", "type_url": "CreateOrder", "json": {"customer_id": "cust-001"}}}`,
		"localhost:1313", "angzarr.BusinessCoordinator/Handle")
	streamed := books(t, run("-d", `{
	  "cover": {"domain": "order", "aggregate_id": "order-2"}, "auto_resequence": true,
	  "pages": [{"command": {"@type": "type.googleapis.com/examples.AddItem", "product_id": "prod-2", "quantity": 3, "price_cents": 100}}]
	}`, "localhost:1316", "angzarr.CommandGateway/Execute"))
	if diff := cmp.Diff([]string{"order 1 examples.ItemAdded", "inventory 1 examples.StockReserved"}, streamed); diff != "" {
		t.Error(diff)
	}
}

// books reads the books that grpcurl printed, a line for each event.
func books(t *testing.T, text string) (found []string) {
	t.Helper()
	for decoder := json.NewDecoder(strings.NewReader(text)); ; {
		var events struct {
			Cover struct{ Domain string }
			Pages []struct {
				Num   int
				Event map[string]any
			}
		}
		if err := decoder.Decode(&events); errors.Is(err, io.EOF) {
			return found
		} else if err != nil {
			t.Fatalf("%v in:\n%s", err, text)
		}
		for _, page := range events.Pages {
			name, _ := page.Event["@type"].(string)
			if len(page.Event) < 2 || strings.Contains(fmt.Sprint(page.Event["@value"]), "=") {
				t.Errorf("the payload is not decoded: %v", page.Event)
			}
			found = append(found, fmt.Sprintf("%s %d %s", events.Cover.Domain, page.Num, strings.TrimPrefix(name, "type.googleapis.com/")))
		}
	}
}

func pythonClient(t *testing.T) {
	client := exec.Command("../examples/shop/.venv/bin/python", "../examples/client/python/shop_client.py",
		"--gateway", "localhost:1316", "--query", "localhost:1314", "--customer", "dora@example.com", "--order", "order-py", "--product", "prod-py")
	if output, err := client.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
}

// vectors sends the command of the contract's first test vector.
func vectors(t *testing.T, d *dev) {
	root := make([]byte, 16)
	for i := range root {
		root[i] = byte(i)
	}
	command, err := anypb.New(&shoppb.CreateCustomer{Name: "Alice", Email: "alice@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := pb.NewAggregateCoordinatorClient(d.dial(seedPorts.aggregate)).Handle(t.Context(), &pb.CommandBook{
		Cover: &pb.Cover{Domain: "customer", Root: &pb.UUID{Value: root}}, Pages: []*pb.CommandPage{{Command: command}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := answer.Events.CorrelationId; got != "382b20ee-b5ef-5c15-9046-278e030912f8" {
		t.Errorf("the correlation id is %s", got)
	}
	events, err := pb.NewEventQueryClient(d.dial(seedPorts.query)).GetEventBook(t.Context(), &pb.Query{Domain: "inventory", AggregateId: "prod-1"})
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%x", events.Cover.Root.Value); got != "a45757656ab155539525c4963861c0d9" || len(events.Pages) == 0 {
		t.Errorf("the root of prod-1 is %s with %d events", got, len(events.Pages))
	}
}
