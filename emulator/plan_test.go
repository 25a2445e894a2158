package emulator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/angz-dev/angz/emulator/supervise"
	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/node"
)

// load reads a project written for a test.
func load(t *testing.T, yaml string) *config.Config {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "angz.yaml"), []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	loaded, err := config.Load(config.Options{Dir: dir, Dev: true})
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}

func TestEveryServiceGetsAPlace(t *testing.T) {
	t.Parallel()
	loaded := load(t, `
transport: {type: uds, uds: {base_path: run}}
domains:
  - {name: order, run: ./order}
  - {name: near, run: ./near, address: ./near.sock}
  - {name: far, address: "localhost:5000"}
projectors: [{name: order, run: ./order-view}]
sagas: [{name: angz, run: [./saga, "two words"], env: {B: "2", A: "1"}}]
`)
	p, err := newPlan(loaded, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := loaded.Dir
	type place struct{ Name, Dir, Address, Run string }
	var got []place
	for _, spec := range p.specs() {
		got = append(got, place{spec.Name, spec.Dir, spec.Address, spec.Run.String()})
	}
	want := []place{
		{"order", dir, dir + "/run/business-order.sock", "./order"},
		{"near", dir, dir + "/near.sock", "./near"},
		{"far", dir, "localhost:5000", ""},
		{"order-projector", dir, dir + "/run/projector-order.sock", "./order-view"},
		{"angz-saga", dir, dir + "/run/saga-angz.sock", "./saga two words"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"A=1", "B=2"}, p.specs()[4].Env); diff != "" {
		t.Errorf("variables (-want +got):\n%s", diff)
	}
	if loaded.Domains[0].Address != "" {
		t.Error("the configuration itself was changed")
	}
}

func TestServicesAreToldWhereTheyAndOthersAre(t *testing.T) {
	t.Parallel()
	p, err := newPlan(load(t, "domains: [{name: order, run: ./order, address: 'localhost:5000'}]"), []string{"PORT=1", "HOME=/h", "DOMAIN=x"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"PYTHONUNBUFFERED=1", "HOME=/h"}, p.environ); diff != "" {
		t.Errorf("inherited (-want +got):\n%s", diff)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if got := p.specs()[0].RunEnv(stopped); got != nil {
		t.Errorf("before the runtime listens: %q", got)
	}
	p.doors.open([]node.Endpoint{{Role: "gateway", Address: "[::]:1316"}, {Role: "gateway", Address: "/run/gateway.sock"}, {Role: "query", Address: "127.0.0.1:1314"}})
	got := p.specs()[0].RunEnv(t.Context())
	want := []string{
		"SERVICE_NAME=business", "DOMAIN=order", "TRANSPORT_TYPE=tcp", "HOST=localhost", "PORT=5000",
		"COMMAND_ADDRESS=127.0.0.1:1316", "EVENT_QUERY_ADDRESS=127.0.0.1:1314",
		"ANGZ_DATA=" + filepath.Join(p.config.Dir, ".angz"),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAnotherPlanLeavesServicesWhereTheyAre(t *testing.T) {
	t.Parallel()
	before, err := newPlan(load(t, "domains: [{name: order, run: ./order}, {name: stock, run: ./stock}, {name: far, run: ./far, address: 'localhost:5000'}]"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	// As if the services ran: their ports are taken.
	for _, service := range before.services[:2] {
		listener, err := net.Listen("tcp", service.config.Address)
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
	}
	after, err := newPlan(load(t, "domains: [{name: new, run: ./new}, {name: stock, run: ./stock}, {name: order, run: ./other}, {name: far, run: ./far}]"), nil, before)
	if err != nil {
		t.Fatal(err)
	}
	was, is := map[string]string{}, map[string]string{}
	for _, service := range before.services {
		was[service.label] = service.config.Address
	}
	for _, service := range after.services {
		is[service.label] = service.config.Address
	}
	if is["order"] != was["order"] || is["stock"] != was["stock"] || is["far"] == was["far"] || is["new"] == "" || is["new"] == was["order"] {
		t.Errorf("before %v, after %v", was, is)
	}
}

func TestNoServiceGetsAPortOfTheRuntime(t *testing.T) {
	t.Parallel()
	first, err := newPlan(load(t, "domains: [{name: order, run: ./order}]"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(first.services[0].config.Address)
	if err != nil {
		t.Fatal(err)
	}
	loaded := load(t, "domains: [{name: order, run: ./order}]\nstream: {port: "+port+"}")
	loaded.Dir = first.config.Dir // so that it would be given the same
	second, err := newPlan(loaded, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if second.services[0].config.Address == first.services[0].config.Address {
		t.Errorf("the service is at %s, where the stream is", first.services[0].config.Address)
	}
}

func TestAPortInUseIsExplained(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	loaded := load(t, "server: {aggregate_port: 0, event_query_port: 0}\nstream: {port: 0}\ngateway: {port: "+strconv.Itoa(port)+"}")
	holder, known := supervise.Holder(taken.Addr().String())
	if !known {
		holder = "another program"
	}
	want := fmt.Sprintf("port %d is in use by %s: stop that, or set gateway.port to another port (0 is any free one)", port, holder)
	if got := ExplainPorts(loaded, fmt.Errorf("open: %w", syscall.EADDRINUSE)); got.Error() != want {
		t.Errorf("got %q, want %q", got, want)
	}
	// Of a runtime that has found something else wrong the ports may still be its
	// own.
	other := errors.New("the store is locked")
	if got := ExplainPorts(loaded, other); got != other {
		t.Errorf("got %q", got)
	}
}

func TestTheNextStepIsAWorkingCommand(t *testing.T) {
	t.Parallel()
	loaded := load(t, "domains: [{name: shelf, run: ./x}, {name: order, run: ./x}]\nprotos: []")
	if line, ok := sampleCommand(t.Context(), loaded); ok {
		t.Errorf("without .proto files there is %q", line)
	}
	folder := filepath.Join(loaded.Dir, "proto", "shop")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	file := `syntax = "proto3"; package shop; message OrderPlaced {} message Addition {}
message PlaceOrder { string customer_id = 1; repeated string tags = 2; bool gift = 3; uint32 count = 4; PlaceOrder nested = 5; }`
	if err := os.WriteFile(filepath.Join(folder, "order.proto"), []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	loaded.Protos = []string{"proto"}
	want := `angz send order order-1 PlaceOrder '{"customer_id": "some customer id", "gift": true, "count": 1}'`
	if got, ok := sampleCommand(t.Context(), loaded); !ok || got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTroubleIsToldOnceInFull(t *testing.T) {
	t.Parallel()
	died := supervise.Status{Name: "order", State: supervise.Died, Problem: "exit status 3", Tail: []string{"panic: no"}, Took: time.Second, Delay: time.Second}
	for _, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			loaded := load(t, "log: {format: "+format+"}")
			l, err := newLog(Options{Config: loaded, Stderr: &out}, []string{"order"})
			if err != nil {
				t.Fatal(err)
			}
			l.report(died)
			l.report(died)
			l.Line("order", []byte("hello"))
			if err := l.close(); err != nil {
				t.Fatal(err)
			}
			text := out.String()
			if strings.Count(text, "panic: no") != 1 || strings.Count(text, "order died") != 2 || strings.Count(text, "hello") != 1 {
				t.Errorf("got %s", text)
			}
		})
	}
}
