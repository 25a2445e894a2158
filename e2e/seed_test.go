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
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/angz-dev/angz/examples/shop/shoppb"
)

// startShop runs examples/shop on the documented ports, with its data in the
// test's folder.
func startShop(t *testing.T) *dev {
	t.Helper()
	lockSeedPorts(t)
	return startDev(t, shopConfig(t), seedPorts)
}

// lockSeedPorts waits for the documented ports, which only one test in all
// processes has at a time, and keeps them for this one.
func lockSeedPorts(t *testing.T) {
	t.Helper()
	lock, err := os.OpenFile(filepath.Join(os.TempDir(), "angz-e2e-ports.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lock.Close() })
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
	startShop(t)
	t.Run("the lines of the tour", tour)
	t.Run("the lines for grpcurl", grpcurlLines)
	t.Run("a client that knows only the proto files", pythonClient)
}

// tour types the README's tour, line by line, and what it says besides.
func tour(t *testing.T) {
	if _, err := grpcurl(); err != nil {
		t.Fatal(err)
	}
	sh := newShell(t, "../examples/shop")
	const section = "## Five minutes with the shop"
	sh.follow("../README.md", section, []string{"angz dev ", "cd ", "grpcurl "}, []string{
		"stored inventory prod-1\n  0  StockAdded  {\"quantity\":10,\"available\":10}\ncorrelation ID\n",
		"stored customer alice@example.com\n  0  CustomerCreated  {\"name\":\"Alice\",\"email\":\"alice@example.com\"}\ncorrelation ID\n",
		"stored order order-1\n  0  OrderCreated  {\"customerId\":\"alice@example.com\"}\ncorrelation ID\n",
		"stored order order-1\n  1  ItemAdded  {\"productId\":\"prod-1\",\"quantity\":2,\"priceCents\":1250}\ncorrelation ID\n",
		"   0  TIME  StockAdded  {\"quantity\":10,\"available\":10}\n   1  TIME  StockReserved  {\"orderId\":\"order-1\",\"quantity\":2,\"available\":8}\n",
		"stored order order-1\n  2  ItemAdded  {\"productId\":\"prod-1\",\"quantity\":99,\"priceCents\":1250}\nprojection receipt at 2\ncorrelation ID\n",
		"   0  TIME  OrderCreated  {\"customerId\":\"alice@example.com\"}\n" +
			"   1  TIME  ItemAdded  {\"productId\":\"prod-1\",\"quantity\":2,\"priceCents\":1250}\n" +
			"   2  TIME  ItemAdded  {\"productId\":\"prod-1\",\"quantity\":99,\"priceCents\":1250}\n" +
			"   3  TIME  ItemRemoved  {\"productId\":\"prod-1\",\"quantity\":99,\"priceCents\":1250,\"reason\":\"Only 8 in stock, 99 wanted\"}\n",
		"stored order order-1\n  4  OrderCompleted  {\"customerId\":\"alice@example.com\",\"totalCents\":2500,\"loyaltyPointsEarned\":25}\ncorrelation ID\n",
		"   0  TIME  CustomerCreated  {\"name\":\"Alice\",\"email\":\"alice@example.com\"}\n" +
			"   1  TIME  LoyaltyPointsAdded  {\"points\":25,\"reason\":\"Order order-1\",\"balance\":25}\n",
	})
	for line, want := range map[string]string{
		`angz events --correlation "$(angz events inventory prod-1 --from 1 --output json | sed 's/.*"correlation_id":"\([^"]*\)".*/\1/')"`: "order order-1     1  TIME  ItemAdded  {\"productId\":\"prod-1\",\"quantity\":2,\"priceCents\":1250}\n" +
			"inventory prod-1     1  TIME  StockReserved  {\"orderId\":\"order-1\",\"quantity\":2,\"available\":8}\n",
		`angz send customer alice@example.com CreateCustomer '{"name": "Alice", "email": "alice@example.com"}'`: "refused: Customer already exists (FAILED_PRECONDITION)\nexit status 1\n",
	} {
		if diff := cmp.Diff(want, sh.shown(line, want)); diff != "" {
			t.Errorf("%s\n(-want +got):\n%s", line, diff)
		}
	}
	lines := documented(t, "../README.md", section, []string{"angz ", "cd "})
	if len(lines) != 3 {
		t.Fatalf("there are %d lines for grpcurl: %q", len(lines), lines)
	}
	for i, want := range []string{`(?m)^angzarr\.BusinessCoordinator$`, `(?s)examples\.CustomerCreated".*"name":\s+"Bob"`, `(?s)"num":\s+0,.*CustomerCreated".*"name":\s+"Bob"`} {
		if seen := sh.run(lines[i]); !regexp.MustCompile(want).MatchString(seen) || strings.Contains(seen, "exit status") {
			t.Errorf("%s\nexpected a match of %s, found\n%s", lines[i], want, seen)
		}
	}
}

// grpcurl builds the pinned grpcurl, once, beside angz.
var grpcurl = sync.OnceValues(func() (path string, err error) {
	path = filepath.Join(filepath.Dir(binary), "grpcurl")
	build := exec.Command("go", "build", "-C", "../.ci/tools", "-o", path, "github.com/fullstorydev/grpcurl/cmd/grpcurl")
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build grpcurl: %w\n%s", err, output)
	}
	return path, nil
})

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
	program, err := grpcurl()
	if err != nil {
		t.Fatal(err)
	}
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
	want := []string{"customer 0 examples.CustomerCreated"}
	for n := 1; n <= 5; n++ {
		run("-d", `{"command": {"domain": "customer", "aggregate_id": "cust-001", "type_url": "AddLoyaltyPoints", "json": {"points": 5, "reason": "hello"}}}`,
			"localhost:1313", "angzarr.BusinessCoordinator/Handle")
		want = append(want, fmt.Sprintf("customer %d examples.LoyaltyPointsAdded", n))
	}

	all := books(t, run("-d", `{
	  "domain": "customer",
	  "aggregate_id": "cust-001"
	}`, "localhost:1314", "angzarr.EventQuery/GetEvents"))
	if diff := cmp.Diff(want, all); diff != "" {
		t.Error(diff)
	}
	later := books(t, run("-d", `{
	  "domain": "customer",
	  "aggregate_id": "cust-001",
	  "from_sequence": 5
	}`, "localhost:1314", "angzarr.EventQuery/GetEvents"))
	if diff := cmp.Diff(want[5:], later); diff != "" {
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
