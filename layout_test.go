package angz_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/angz-dev/angz"

// tiers says how high each package stands. Imports go down only: a package may
// use what stands below it, so that every part can be understood, tested and
// replaced without what stands above.
var tiers = []struct {
	packages string // of paths below the module
	tier     int
	why      string
}{
	{`proto|proto/\w+pb|templates`, 0, "the wire contract knows nothing"},
	{`schemas`, 0, "how documents are described knows none of them"},
	{`runtime/servertest`, 0, "servers for tests know nothing of ours"},
	{`runtime/(book|config|observe)`, 1, "rules, configuration and logging know the wire words only"},
	{`runtime/(eventstore|bus|discovery|transport|payload)|emulator/(project|supervise|watch)|scaffold|protocheck`, 2, "contracts and carriers know no driver and no role"},
	{`runtime/eventstore/\w+|runtime/bus/\w+|runtime/(relay|rpcerr|follow|delivery|runtimetest|guard)|generate`, 3, "drivers and what moves events know contracts, not roles"},
	{`runtime/(admin|aggregate|archive|business|explore|projector|saga|procman|query|stream|gateway|eventlog)|emulator/(control|journal|story|chaos)`, 4, "roles know drivers only as contracts"},
	{`runtime/node|inspect(/dump)?|emulator/control/controltest`, 5, "a node puts roles and drivers together; inspect is a client of what it serves"},
	{`emulator|emulator/doctor|gherkin|tui`, 6, "the emulator is a node with the user's services around it"},
	{`cmd/angz|features|e2e(/languages)?`, 7, "commands and acceptance tests use everything"},
}

// rules are stricter than the tiers.
var rules = []struct {
	from, to string
	except   string // of from, packages to which the rule does not apply
	why      string
}{
	{`runtime/(admin|aggregate|archive|business|explore|projector|saga|procman|query|stream|gateway|eventlog)`, `runtime/(admin|aggregate|archive|business|explore|projector|saga|procman|query|stream|gateway|eventlog)`, ``,
		"roles meet over gRPC, as they do in production"},
	{`.*`, `runtime/(eventstore|bus)/\w+`, `runtime/node|runtime/eventstore/storetest|runtime/bus/bustest`, "only node chooses drivers"},
	{`.*`, `runtime/config`, `runtime/node|emulator|emulator/doctor|gherkin|cmd/angz`, "everybody else gets plain arguments"},
	{`inspect(/dump)?|tui.*`, `runtime/(node|admin|aggregate|archive|business|explore|projector|saga|query|stream|gateway|eventlog|eventstore.*|bus.*|delivery|relay)|emulator.*`, ``, "inspect and tui are gRPC clients, of a laptop and of production alike"},
	{`runtime/.*`, `emulator.*|tui.*|inspect|cmd/.*|scaffold`, ``, "the runtime knows nothing of the tools around it"},
	{`examples/.*`, `(runtime|emulator|tui|cmd)/.*|emulator|tui|inspect`, ``, "an example is what a user writes: it has the wire contract and nothing else"},
}

// pairs are the packages of one tier that may use each other, from and to.
var pairs = map[[2]string]string{
	{"runtime/delivery", "runtime/follow"}: "delivery follows the log as every consumer does",
}

type goPackage struct {
	ImportPath string
	Name       string
	Doc        string
	Imports    []string
	GoFiles    []string
}

func TestImportsGoDown(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		from := path(p.ImportPath)
		if _, known := tierOf(from); !known && !strings.HasPrefix(from, "examples/") && from != "proto/generate" && from != "" {
			t.Errorf("%s has no tier: give it one in layout_test.go", from)
		}
		for _, imported := range p.Imports {
			if !strings.HasPrefix(imported, module+"/") {
				continue
			}
			for _, why := range faults(from, path(imported)) {
				t.Errorf("%s imports %s: %s", from, path(imported), why)
			}
		}
	}
}

// faults says why a package may not import another.
func faults(from, to string) (reasons []string) {
	tier, known := tierOf(from)
	below, belowKnown := tierOf(to)
	_, paired := pairs[[2]string{from, to}]
	if known && !paired && (!belowKnown || below >= tier) {
		reasons = append(reasons, fmt.Sprintf("imports go down, and these are of the tiers %d and %d", tier, below))
	}
	for _, rule := range rules {
		if matches(rule.from, from) && matches(rule.to, to) && from != to && !matches(rule.except, from) {
			reasons = append(reasons, rule.why)
		}
	}
	return reasons
}

// A rule whose pattern matches nothing would never be broken.
func TestEveryRuleCanBeBroken(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		from, to string
		fails    bool
	}{
		{"runtime/query", "runtime/book", false},
		{"runtime/delivery", "runtime/follow", false},
		{"runtime/node", "runtime/eventstore/sqlite", false},
		{"runtime/node", "runtime/config", false},
		{"emulator", "runtime/config", false},
		{"examples/shop/order", "examples/shop/service", false},
		{"examples/quickstart", "proto/angzarrpb", false},
		{"runtime/book", "runtime/eventstore", true},         // upwards
		{"runtime/follow", "runtime/delivery", true},         // sideways, against the pair
		{"runtime/query", "runtime/stream", true},            // a role and a role
		{"runtime/query", "runtime/eventstore/sqlite", true}, // a driver
		{"cmd/angz", "runtime/bus/channel", true},            // a driver, from the top
		{"runtime/aggregate", "runtime/config", true},        // configuration
		{"inspect", "runtime/node", true},                    // not over gRPC
		{"tui", "emulator", true},                            // not over gRPC
		{"runtime/node", "inspect", true},                    // the tools around it
		{"examples/shop/order", "runtime/book", true},        // more than the wire contract
		{"runtime/something", "runtime/book", false},         // no tier, reported by itself
		{"runtime/query", "runtime/something", true},         // no tier below
	} {
		if reasons := faults(c.from, c.to); len(reasons) > 0 != c.fails {
			t.Errorf("%s imports %s: %q", c.from, c.to, reasons)
		}
	}
}

func tierOf(path string) (int, bool) {
	for _, entry := range tiers {
		if matches(entry.packages, path) {
			return entry.tier, true
		}
	}
	return 0, false
}

func matches(pattern, path string) bool {
	return pattern != "" && regexp.MustCompile("^(?:"+pattern+")$").MatchString(path)
}

func TestEveryPackageSaysWhyItExists(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		if len(p.GoFiles) > 0 && p.Doc == "" && !strings.HasSuffix(p.ImportPath, "pb") {
			t.Errorf("%s has no package comment", path(p.ImportPath))
		}
		if name := p.Name; slices.Contains([]string{"util", "utils", "common", "helpers", "types", "models", "shared"}, name) {
			t.Errorf("%s: %q says nothing about what is in it", path(p.ImportPath), name)
		}
	}
}

func path(importPath string) string {
	return strings.TrimPrefix(strings.TrimPrefix(importPath, module), "/")
}

func packages(t *testing.T) []goPackage {
	t.Helper()
	list, err := listed()
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// listed asks the go command once for all tests.
var listed = sync.OnceValues(func() (list []goPackage, err error) {
	command := exec.Command("go", "list", "-json=ImportPath,Name,Doc,Imports,GoFiles", "./...")
	var stderr bytes.Buffer
	command.Stderr = &stderr
	output, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w: %s", err, &stderr)
	}
	for decoder := json.NewDecoder(bytes.NewReader(output)); ; {
		var p goPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return list, nil
		} else if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
})
