package project_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/angz-dev/angz/emulator/project"
)

// write makes the files of an archive and returns their folder.
func write(t *testing.T, archive string) string {
	t.Helper()
	dir := t.TempDir()
	for _, file := range txtar.Parse([]byte(archive)).Files {
		path := filepath.Join(dir, file.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, file.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// watched returns which of the files below a folder are watched, as the patterns
// are meant by the package watch.
func watched(t *testing.T, top, dir string, patterns []string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(top, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		is := false
		for _, pattern := range patterns {
			pattern, not := strings.CutPrefix(pattern, "!")
			whole := filepath.ToSlash(filepath.Join(dir, filepath.FromSlash(pattern)))
			if doublestar.MatchUnvalidated(whole, filepath.ToSlash(path)) || doublestar.MatchUnvalidated(whole+"/**", filepath.ToSlash(path)) {
				is = !not
			}
		}
		if relative, err := filepath.Rel(top, path); is && err == nil {
			files = append(files, filepath.ToSlash(relative))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

const module = `
-- go.mod --
module example.com/shop

replace example.com/money => ./money
-- go.sum --
-- order/main.go --
package main

import (
	"fmt"

	"example.com/shop/service"
	"example.com/shop/rules/v2"
	"example.com/money"
)
-- order/prices.go --
package main

import _ "embed"

//go:embed prices.json templates/*.txt
var prices string
-- order/main_test.go --
package main

import "example.com/shop/testing"
-- order/prices.json --
-- order/templates/a.txt --
-- order/other.json --
-- inventory/main.go --
package main

import "example.com/shop/service"
-- service/service.go --
package service

import "example.com/shop/internal/wire"
-- internal/wire/wire.go --
package wire
-- internal/wire/wire.s --
-- internal/unused/unused.go --
package unused
-- rules/v2/rules.go --
package rules
-- testing/testing.go --
package testing
-- money/go.mod --
module example.com/money
-- money/money.go --
package money
`

func TestAGoServiceIsMadeOfWhatItImports(t *testing.T) {
	t.Parallel()
	order := strings.Fields(`go.mod go.sum internal/wire/wire.go internal/wire/wire.s money/go.mod money/money.go
		order/main.go order/prices.go order/prices.json order/templates/a.txt rules/v2/rules.go service/service.go`)
	inventory := strings.Fields("go.mod go.sum internal/wire/wire.go internal/wire/wire.s inventory/main.go money/go.mod service/service.go")
	everything := strings.Fields(`go.mod go.sum internal/unused/unused.go internal/wire/wire.go inventory/main.go money/money.go order/main.go
		order/prices.go rules/v2/rules.go service/service.go testing/testing.go`)
	for build, c := range map[string]struct {
		dir, run string
		want     []string
	}{
		"go build -o .angz/bin/order ./order":                 {"", ".angz/bin/order", order},
		"go build -tags x -o=order -ldflags '-s -w' ./order/": {"", "", order},
		"go build -o ../order .":                              {"order", "", order},
		"go install example.com/shop/order":                   {"", "", order},
		"go -C order build .":                                 {"", "", order},
		"CGO_ENABLED=0 go build -o a ./inventory":             {"", "./a", inventory},
		"go vet ./... && go build -o a ./inventory":           {"", "./a", inventory},
		"":                           {"", "go run ./inventory ./order", inventory},
		"go build inventory/main.go": {"", "", inventory},
		"make":                       {"inventory", "./a", inventory},
		"make all":                   {"", "./a", everything},
		"go build ./...":             {"", "", everything},
	} {
		t.Run(build, func(t *testing.T) {
			t.Parallel()
			top := write(t, module)
			dir := filepath.Join(top, c.dir)
			got := watched(t, top, dir, project.Watched("Go", dir, c.run, build))
			slices.Sort(c.want)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestABrokenGoFileIsStillWatched(t *testing.T) {
	t.Parallel()
	for broken, seesService := range map[string]bool{
		"package main\nimport \"example.com/shop/service\"\nfunc main() { if":  true,
		"package main\nimport (\n\t\"example.com/shop/service\"\n\t\"unfinish": true,
		"packag main": false,
		"":            false,
	} {
		dir := write(t, module)
		if err := os.WriteFile(filepath.Join(dir, "inventory/main.go"), []byte(broken), 0o644); err != nil {
			t.Fatal(err)
		}
		got := watched(t, dir, dir, project.Watched("Go", dir, "", "go build ./inventory"))
		if !slices.Contains(got, "inventory/main.go") || slices.Contains(got, "service/service.go") != seesService {
			t.Errorf("%q: %q", broken, got)
		}
	}
}

const python = `
-- customer.py --
"""Imports in words: import loyalty"""
import json, receipt as r
from service import (
    serve,  # and more
    stop,
)
if True: from shop.rules import prices
from shop import *
-- receipt.py --
import os; import late.model
-- loyalty.py --
from shop import rules
-- service.py --
from \
    helper import x
-- helper.py --
-- test_customer.py --
-- shop/__init__.py --
-- shop/other.py --
from . import deep
-- shop/rules/__init__.py --
from ..wire import Wire
-- shop/rules/prices.py --
-- shop/rules/unused.py --
-- shop/wire.py --
-- shop/deep/__init__.py --
-- shop/deep/unused.py --
-- plugins.py --
import importlib
importlib.import_module("x")
-- requirements.txt --
-- .venv/lib/grpc.py --
`

func TestAPythonServiceIsMadeOfWhatItImports(t *testing.T) {
	t.Parallel()
	customer := `customer.py helper.py receipt.py requirements.txt service.py shop/__init__.py shop/deep/__init__.py shop/other.py
		shop/rules/__init__.py shop/rules/prices.py shop/wire.py`
	everything := `.venv/lib/grpc.py customer.py helper.py loyalty.py plugins.py receipt.py requirements.txt service.py shop/__init__.py
		shop/deep/__init__.py shop/deep/unused.py shop/other.py shop/rules/__init__.py shop/rules/prices.py shop/rules/unused.py shop/wire.py`
	for run, want := range map[string]string{
		".venv/bin/python customer.py --port 1": customer,
		"python3 -u customer.py":                customer,
		"python3.12 -m customer":                customer,
		"uvicorn customer:app":                  customer,
		"python loyalty.py":                     "loyalty.py requirements.txt shop/__init__.py shop/rules/__init__.py shop/wire.py",
		"python -m shop.rules.unused":           "requirements.txt shop/__init__.py shop/rules/__init__.py shop/rules/unused.py shop/wire.py",
		"python new.py":                         "requirements.txt",
		"python plugins.py":                     everything,
		"sh start.sh":                           everything,
	} {
		t.Run(run, func(t *testing.T) {
			t.Parallel()
			dir := write(t, python)
			patterns := project.Watched("Python", dir, run, "")
			if diff := cmp.Diff(strings.Fields(want), watched(t, dir, dir, patterns)); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("what is imported and not there yet", func(t *testing.T) {
		t.Parallel()
		dir := write(t, python+"-- late/model.py --\n-- new.py --\n")
		if err := os.Remove(filepath.Join(dir, "late/model.py")); err != nil {
			t.Fatal(err)
		}
		patterns := project.Watched("Python", dir, "python customer.py", "")
		if err := os.WriteFile(filepath.Join(dir, "late/model.py"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if got := watched(t, dir, dir, patterns); !slices.Contains(got, "late/model.py") || slices.Contains(got, "new.py") {
			t.Errorf("%q", got)
		}
	})
}

func TestEachLanguageHasItsFiles(t *testing.T) {
	t.Parallel()
	for language, c := range map[string]struct{ run, build, watched, not string }{
		"Rust": {"target/debug/order", "cargo build", "Cargo.toml Cargo.lock src/main.rs src/bin/order.rs build.rs order.proto",
			"target/debug/build/x.rs tests/order.rs README.md"},
		"Java": {"java -jar target/order.jar", "mvn package", "pom.xml src/main/java/A.java src/main/resources/a.yaml src/main/proto/a.proto order/src/main/java/B.java",
			"target/A.java target/order.jar src/test/java/ATest.java order/target/B.java"},
		"TypeScript": {"node dist/main.js", "npx tsc", "src/main.ts src/ui.tsx package.json tsconfig.json order.proto", "dist/main.js src/main.test.ts a.tsbuildinfo"},
		"JavaScript": {"node src/main.js", "", "src/main.js src/a.mjs package.json", "src/main.test.js build/main.js"},
		"C++":        {"build/order", "cmake --build build", "CMakeLists.txt src/order.cc src/order.h cmake/a.cmake order.proto", "build/gen/order.pb.cc cmake-build-debug/a.cc"},
		"":           {"sh run.sh", "", "run.sh", "other.sh"},
	} {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			var archive strings.Builder
			for name := range strings.FieldsSeq(c.watched + " " + c.not) {
				archive.WriteString("-- " + name + " --\n")
			}
			dir := write(t, archive.String())
			got := watched(t, dir, dir, project.Watched(language, dir, c.run, c.build))
			want := strings.Fields(c.watched)
			slices.Sort(want)
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFilesThatCommandsNameAreWatched(t *testing.T) {
	t.Parallel()
	dir := write(t, `
-- setup.sh --
python -m grpc_tools.protoc a.proto
-- plain.sh --
echo
-- Makefile --
-- order --
-- order.jar --
-- .angz/bin/order --
`)
	for _, c := range []struct {
		language, run, build string
		want, not            string
	}{
		{"Python", ".angz/bin/order", "sh setup.sh", "setup.sh **/*.proto", "Makefile .angz/bin/order"},
		{"Python", "", "sh plain.sh", "plain.sh", "**/*.proto"},
		{"Go", "./order", "make order", "Makefile", "order **/*.proto"},
		{"Go", "./order", "buf generate && go build -o order .", "**/*.proto", "order"},
		{"Java", "java -jar order.jar", "", "order.jar", ""},
		{"", "./order", "", "order", ""},
	} {
		got := project.Watched(c.language, dir, c.run, c.build)
		for want := range strings.FieldsSeq(c.want) {
			if !slices.Contains(got, want) {
				t.Errorf("%s, %s: %q without %s", c.run, c.build, got, want)
			}
		}
		for not := range strings.FieldsSeq(c.not) {
			if slices.Contains(got, not) {
				t.Errorf("%s, %s: %q with %s", c.run, c.build, got, not)
			}
		}
	}
}

func TestRustCratesBesideAreWatched(t *testing.T) {
	t.Parallel()
	top := write(t, `
-- Cargo.toml --
-- Cargo.lock --
-- order/Cargo.toml --
shared = { path = "../shared" }
-- order/src/main.rs --
-- shared/Cargo.toml --
wire.path = "../wire"
[lib]
path = "src/lib.rs"
-- shared/src/lib.rs --
-- shared/target/x.rs --
-- wire/Cargo.toml --
-- wire/src/lib.rs --
-- inventory/Cargo.toml --
-- inventory/src/main.rs --
`)
	dir := filepath.Join(top, "order")
	got := watched(t, top, dir, project.Watched("Rust", dir, "", "cargo build"))
	want := strings.Fields("Cargo.lock Cargo.toml order/Cargo.toml order/src/main.rs shared/Cargo.toml shared/src/lib.rs wire/Cargo.toml wire/src/lib.rs")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTheShopsServicesRestartForTheirOwnFiles(t *testing.T) {
	t.Parallel()
	dir, err := filepath.Abs("../../examples/shop")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ language, run, build, want, not string }{
		{"Go", ".angz/bin/order", "go build -o .angz/bin/order ./order",
			"order/main.go service/service.go shoppb/order.pb.go", "inventory/main.go reservation/main.go order/main_test.go python/customer.py"},
		{"Go", ".angz/bin/inventory", "go build -o .angz/bin/inventory ./inventory",
			"inventory/main.go service/aggregate.go", "order/main.go reservation/main.go"},
		{"Python", ".venv/bin/python python/customer.py", "sh python/setup.sh",
			"python/customer.py python/angzarr_service.py python/requirements.txt python/setup.sh proto/examples/customer.proto", "python/loyalty.py python/receipt.py python/test_customer.py order/main.go"},
	} {
		got := watched(t, dir, dir, project.Watched(c.language, dir, c.run, c.build))
		for want := range strings.FieldsSeq(c.want) {
			if !slices.Contains(got, want) {
				t.Errorf("%s is not watched for %s", want, c.run)
			}
		}
		for not := range strings.FieldsSeq(c.not) {
			if slices.Contains(got, not) {
				t.Errorf("%s is watched for %s", not, c.run)
			}
		}
	}
}

func FuzzWatched(f *testing.F) {
	f.Add("go build -o x ./order", "python -m a.b", "from . import (a,\n b", "package main\nimport (\n\"a/b\"")
	f.Add("go -C .. build ...", "uvicorn a:b", "from .. import *\nimport a.b as c", "//go:embed \"a b\" `c`\n")
	f.Fuzz(func(t *testing.T, build, run, python, golang string) {
		dir := t.TempDir()
		for name, text := range map[string]string{"a.py": python, "a.go": golang, "go.mod": "module a\n" + golang, "go.work": golang, "Cargo.toml": python} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		for _, language := range []string{"Go", "Python", "Rust", ""} {
			for _, run := range []string{run, "python a.py", "go run ."} {
				project.Watched(language, dir, run, build)
			}
		}
	})
}

func BenchmarkWatched(b *testing.B) {
	dir, err := filepath.Abs("../..")
	if err != nil {
		b.Fatal(err)
	}
	for name, build := range map[string]string{"OneServiceOfTheShop": "go build ./examples/shop/order", "AllOfAngz": "go build ./cmd/angz"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				project.Watched("Go", dir, "", build)
			}
		})
	}
}
