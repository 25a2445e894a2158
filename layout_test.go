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
	{`runtime/(book|config|observe)`, 1, "rules, configuration and logging know the wire words only"},
	{`runtime/(eventstore|bus|discovery|transport|payload)|emulator/(project|supervise|watch)|scaffold`, 2, "contracts and carriers know no driver and no role"},
	{`runtime/eventstore/\w+|runtime/bus/\w+|runtime/(relay|rpcerr|follow|delivery|runtimetest)`, 3, "drivers and what moves events know contracts, not roles"},
	{`runtime/(aggregate|business|projector|saga|procman|query|stream|gateway|eventlog)|emulator/control`, 4, "roles know drivers only as contracts"},
	{`runtime/node|inspect`, 5, "a node puts roles and drivers together; inspect is a client of what it serves"},
	{`emulator|tui`, 6, "the emulator is a node with the user's services around it"},
	{`cmd/angz|features|e2e`, 7, "commands and acceptance tests use everything"},
}

// rules are stricter than the tiers.
var rules = []struct {
	from, to string
	except   string // of from, packages to which the rule does not apply
	why      string
}{
	{`runtime/(aggregate|business|projector|saga|procman|query|stream|gateway|eventlog)`, `runtime/(aggregate|business|projector|saga|procman|query|stream|gateway|eventlog)`, ``,
		"roles meet over gRPC, as they do in production"},
	{`.*`, `runtime/(eventstore|bus)/\w+`, `runtime/node|runtime/eventstore/storetest|runtime/bus/bustest`, "only node chooses drivers"},
	{`.*`, `runtime/config`, `runtime/node|emulator|cmd/angz`, "everybody else gets plain arguments"},
	{`inspect|tui.*`, `runtime/(node|aggregate|business|projector|saga|query|stream|gateway|eventlog|eventstore.*|bus.*|delivery|relay)|emulator.*`, ``, "inspect and tui are gRPC clients, of a laptop and of production alike"},
	{`runtime/.*`, `emulator.*|tui.*|inspect|cmd/.*|scaffold`, ``, "the runtime knows nothing of the tools around it"},
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
		tier, known := tierOf(from)
		if !known {
			if !strings.HasPrefix(from, "examples/") && from != "proto/generate" && from != "" {
				t.Errorf("%s has no tier: give it one in layout_test.go", from)
			}
			continue
		}
		for _, imported := range p.Imports {
			to := path(imported)
			if !strings.HasPrefix(imported, module) {
				continue
			}
			if below, known := tierOf(to); !known || below > tier || below == tier && !sameParent(from, to) {
				t.Errorf("%s (tier %d) imports %s (tier %d): imports go down", from, tier, to, below)
			}
			checkRules(t, from, to)
		}
	}
}

// sameParent allows a driver's test suite to know its driver's siblings, and a
// contract's helpers each other.
func sameParent(from, to string) bool {
	return strings.HasPrefix(from, "runtime/") && slices.Contains([]string{"runtime/delivery runtime/follow", "runtime/delivery runtime/rpcerr"}, from+" "+to)
}

func checkRules(t *testing.T, from, to string) {
	t.Helper()
	for _, rule := range rules {
		if matches(rule.from, from) && matches(rule.to, to) && from != to && !matches(rule.except, from) {
			t.Errorf("%s imports %s: %s", from, to, rule.why)
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
	command := exec.Command("go", "list", "-json=ImportPath,Name,Doc,Imports,GoFiles", "./...")
	var stderr bytes.Buffer
	command.Stderr = &stderr
	output, err := command.Output()
	if err != nil {
		t.Fatal(fmt.Errorf("go list: %w: %s", err, &stderr))
	}
	var list []goPackage
	for decoder := json.NewDecoder(bytes.NewReader(output)); ; {
		var p goPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return list
		} else if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
}
