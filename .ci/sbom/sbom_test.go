package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTheBillNamesEveryModuleOfTheBinary builds angz as make does and holds its
// bill against what other programs say: the modules of go version -m, the
// checksums of go.sum.
func TestTheBillNamesEveryModuleOfTheBinary(t *testing.T) {
	t.Chdir("../..") // of the module, whose modules are asked for
	program := filepath.Join(t.TempDir(), "angz")
	tool(t, "build", "-trimpath", "-o", program, "./cmd/angz")
	first, second := filepath.Join(t.TempDir(), "new", "one.json"), filepath.Join(t.TempDir(), "two.json")
	for _, output := range []string{first, second} {
		if err := run(program, output); err != nil {
			t.Fatal(err)
		}
	}
	text := contentOf(t, first)
	if !bytes.Equal(text, contentOf(t, second)) {
		t.Error("one binary has two bills")
	}
	var made bill
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&made); err != nil {
		t.Fatal(err)
	}
	listed := map[string]string{}
	for _, entry := range made.Components {
		if entry.Name != "std" {
			listed[entry.Name+" "+entry.Version] = sumIn(t, entry)
		}
		if len(entry.Licences) == 0 {
			t.Errorf("%s has no licence", entry.Name)
		}
	}
	if diff := cmp.Diff(linked(t, program), listed); diff != "" {
		t.Errorf("modules (-linked +listed):\n%s", diff)
	}
	checkReferences(t, made)
}

// sumIn returns the checksum of an entry as go.sum writes it.
func sumIn(t *testing.T, entry component) string {
	t.Helper()
	if len(entry.Hashes) != 1 || entry.Hashes[0].Algorithm != "SHA-256" {
		t.Fatalf("%s has the hashes %v, expected one SHA-256", entry.Name, entry.Hashes)
	}
	raw, err := hex.DecodeString(entry.Hashes[0].Content)
	if err != nil {
		t.Fatal(err)
	}
	return "h1:" + base64.StdEncoding.EncodeToString(raw)
}

// linked returns the modules of a binary with their checksums from go.sum.
func linked(t *testing.T, program string) map[string]string {
	t.Helper()
	sums := map[string]string{}
	for line := range strings.Lines(string(contentOf(t, "go.sum"))) {
		words := strings.Fields(line)
		sums[words[0]+" "+words[1]] = words[2]
	}
	modules := map[string]string{}
	for line := range strings.Lines(tool(t, "version", "-m", program)) {
		words := strings.Fields(line)
		if len(words) < 3 || words[0] != "dep" {
			continue
		}
		name := words[1] + " " + words[2]
		if modules[name] = sums[name]; modules[name] == "" {
			t.Errorf("go.sum has no checksum of %s", name)
		}
	}
	if len(modules) == 0 {
		t.Fatal("go version -m names no modules")
	}
	return modules
}

// checkReferences holds that what needs something and what is needed is listed.
func checkReferences(t *testing.T, made bill) {
	t.Helper()
	listed := map[string]bool{made.Metadata.Component.Ref: true}
	for _, entry := range made.Components {
		if listed[entry.Ref] {
			t.Errorf("%s is listed twice", entry.Ref)
		}
		listed[entry.Ref] = true
	}
	reached := map[string]bool{made.Metadata.Component.Ref: true}
	for _, entry := range made.Dependencies {
		for _, ref := range append([]string{entry.Ref}, entry.DependsOn...) {
			if !listed[ref] {
				t.Errorf("%s is needed or needs, and is not listed", ref)
			}
		}
		for _, ref := range entry.DependsOn {
			reached[ref] = true
		}
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(listed)), slices.Sorted(maps.Keys(reached))); diff != "" {
		t.Errorf("nothing needs (-listed +needed):\n%s", diff)
	}
}

func TestWhatHasNoBillIsSaid(t *testing.T) {
	t.Parallel()
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{script, script + ".missing"} {
		if err := run(path, ""); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestLicencesAreKnownByWhatOnlyTheySay(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"                  Apache License\n            Version 2.0, January 2004":                                                                      "Apache-2.0",
		"Permission is hereby granted, free of\ncharge, to any person obtaining a copy of this software":                                               "MIT",
		"Redistribution and use in source and binary forms, with or without\nmodification, are permitted":                                              "BSD-2-Clause",
		"Redistribution and use …\n may be used to endorse or promote products derived from\n this software without specific prior written permission": "BSD-3-Clause",
		"Mozilla Public License Version 2.0": "MPL-2.0",
		"All rights reserved.":               "",
	} {
		if got := licenceIn(text); got != want {
			t.Errorf("found %q, expected %q: %s", got, want, text)
		}
	}
	if _, err := licencesOf(t.TempDir()); err == nil {
		t.Error("a module without a licence is taken")
	}
}

func tool(t *testing.T, args ...string) string {
	t.Helper()
	command := exec.Command("go", args...)
	command.Stderr = os.Stderr
	text, err := command.Output()
	if err != nil {
		t.Fatalf("go %s: %v", args[0], err)
	}
	return string(text)
}

func contentOf(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
