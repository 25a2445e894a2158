package tui

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSentCommandsAreOfferedInTheNextSession(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "angz", "tui", "shop.jsonl")
	session := func(edit ...func(*Options)) *driver {
		with := func(o *Options) { o.Forms, o.History = known{fieldsOfAddItem(t)}, file }
		d := drive(t, newFake(), 100, 30, append([]func(*Options){with}, edit...)...)
		d.press("g")
		d.writes("order order-1")
		d.press("enter")
		d.until("5 events")
		return d
	}
	d := session()
	d.press("s")
	d.until("shop.AddItem", "quantity")
	d.press("tab")
	d.writes("tea")
	d.press("ctrl+s")
	d.until("accepted")
	d.when("it is written down", func(string) bool { text, _ := os.ReadFile(file); return strings.Contains(string(text), `"tea"`) })
	for path, want := range map[string]os.FileMode{file: 0o600, filepath.Dir(file): 0o700} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, want the mode %v: %v", path, info.Mode(), want, err)
		}
	}

	d = session()
	d.when("the history is read", func(string) bool { return len(d.model.streams.history) == 1 })
	d.press("s")
	d.until("shop.AddItem", "quantity")
	d.press("ctrl+p")
	d.until(`"productId": "tea"`)

	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	d = session(func(o *Options) { o.ReadOnly = true })
	if d.model.readHistory() != nil || d.model.remember(sentCommand{Command: "x"}) != nil {
		t.Error("--read-only reads or writes the history")
	}
	if after, err := os.ReadFile(file); err != nil || string(after) != string(before) {
		t.Errorf("it became %q: %v", after, err)
	}
}

func TestTheHistoryIsBounded(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "history.jsonl")
	text := strings.Repeat("x", 16<<10)
	for i := range 150 {
		if err := addHistory(file, sentCommand{"order", fmt.Sprint(i), "AddItem", map[string]string{"text": text}}); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(file); err != nil || info.Size() > mostHistory || info.Mode().Perm() != 0o600 {
			t.Fatalf("after %d: %d bytes, %v, %v", i, info.Size(), info.Mode(), err)
		}
	}
	if err := addHistory(file, sentCommand{"order", "large", "AddItem", map[string]string{"text": strings.Repeat("x", largestRemembered)}}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(mustRead(t, file), "no command\n{}\n\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	commands, err := readHistory(file)
	if err != nil || len(commands) < 30 || commands[len(commands)-1].ID != "149" {
		t.Errorf("%d commands are left: %v", len(commands), err)
	}
	d := drive(t, newFake(), 100, 30, func(o *Options) { o.History = file })
	for range 2 * mostRemembered {
		d.model.remember(sentCommand{Command: "x"})
	}
	if got := len(d.model.streams.history); got != mostRemembered {
		t.Errorf("%d commands are remembered", got)
	}
}

func TestAHistoryThatCannotBeKept(t *testing.T) {
	t.Parallel()
	folder := t.TempDir() // which is no file
	d := drive(t, newFake(), 100, 30, func(o *Options) { o.History = folder })
	d.until("sent commands are not kept for the next time")
}

func mustRead(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
