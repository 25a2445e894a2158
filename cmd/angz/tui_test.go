package main

import (
	"path/filepath"
	"regexp"
	"testing"
)

func TestWhereSentCommandsAreKept(t *testing.T) {
	t.Chdir(t.TempDir()) // around which is no project
	state := t.TempDir()
	at := func(o tuiOptions, environ ...string) string {
		return o.history(streams{environ: environ}, "localhost:1316")
	}
	to := func(address string) tuiOptions { return tuiOptions{connection: connection{address: address}} }
	one, other := at(to("https://one.example.com"), "XDG_STATE_HOME="+state), at(to("https://other.example.com"), "XDG_STATE_HOME="+state)
	if one == other || filepath.Dir(one) != filepath.Join(state, "angz", "tui") {
		t.Errorf("two systems have the files %s and %s", one, other)
	}
	if got := at(to("/run/../a b\x1b/..")); got != "" {
		t.Errorf("without a home it is %s", got)
	}
	if got := at(to("/run/a b\x1b"), "HOME="+state); !regexp.MustCompile(`^` + regexp.QuoteMeta(state) + `/\.local/state/angz/tui/a_b_-[0-9a-f]{12}\.jsonl$`).MatchString(got) {
		t.Errorf("for a strange name it is %q", got)
	}
	off := to("x:1")
	off.noHistory = true
	reading := to("x:1")
	reading.readOnly = true
	for name, got := range map[string]string{
		"--no-history": at(off, "HOME="+state), "--read-only": at(reading, "HOME="+state), historyVariable: at(to("x:1"), "HOME="+state, historyVariable+"=off"),
	} {
		if got != "" {
			t.Errorf("with %s it is %s", name, got)
		}
	}
}
