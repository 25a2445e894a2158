package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/angz-dev/angz/runtime/config"
)

// TestRoles holds what is said to each role of each configuration against what
// is written beside it; nothing means that it is right.
func TestRoles(t *testing.T) {
	t.Parallel()
	cases, err := filepath.Glob("testdata/role/*.txtar")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, path := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			t.Parallel()
			checkRoles(t, path)
		})
	}
}

func checkRoles(t *testing.T, path string) {
	t.Helper()
	archive, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	files, options := map[string]string{}, config.Options{}
	for _, file := range archive.Files {
		switch {
		case file.Name == "environ":
			options.Environ = strings.Fields(string(file.Data))
		case !strings.HasPrefix(file.Name, "want "):
			files[file.Name] = string(file.Data)
		}
	}
	options.Dir = project(t, files)
	for i, file := range archive.Files {
		words, wanted := strings.CutPrefix(file.Name, "want ")
		if !wanted {
			continue
		}
		options.Role, options.Name, _ = strings.Cut(words, " ")
		got := whatIsSaid(t, options)
		if *update {
			archive.Files[i].Data = []byte(got)
		} else if diff := cmp.Diff(string(file.Data), got); diff != "" {
			t.Errorf("%s: %s", words, diff)
		}
	}
	if *update {
		if err := os.WriteFile(path, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// whatIsSaid returns the mistakes, or else the warnings, of a configuration.
func whatIsSaid(t *testing.T, options config.Options) string {
	t.Helper()
	var said strings.Builder
	loaded, err := config.Load(options)
	if err != nil {
		said.WriteString(err.Error() + "\n")
	} else {
		for _, warning := range loaded.Warnings() {
			said.WriteString("warning: " + warning + "\n")
		}
		if err := loaded.CheckRole(options.Role, options.Name); err != nil {
			t.Errorf("CheckRole does not say what Load does: %v", err)
		}
	}
	got := strings.ReplaceAll(said.String(), options.Dir+string(filepath.Separator), "")
	got = strings.ReplaceAll(got, options.Dir, "DIR")
	if strings.Contains(got, "hunter") {
		t.Errorf("a secret is shown:\n%s", got)
	}
	return got
}

func TestTheProductionExampleServesEveryRole(t *testing.T) {
	t.Parallel()
	options := config.Options{File: "../../examples/shop/production/angz.yaml", Environ: []string{"ANGZARR_TRANSPORT__TCP__PORT=1"}}
	shop := load(t, options)
	served := map[string][]config.Service{"aggregate": shop.Domains, "projector": shop.Projectors, "saga": shop.Sagas, "gateway": {{}}, "stream": {{}}, "log": {{}}}
	for role, services := range served {
		for _, service := range services {
			options.Role, options.Name = role, service.Name
			same(t, role+" "+service.Name, []string(nil), load(t, options).Warnings())
		}
	}
}
