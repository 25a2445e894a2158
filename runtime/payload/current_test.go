package payload_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/angz-dev/angz/runtime/payload"
)

func TestASchemaThatIsReplacedIsUsedAtOnce(t *testing.T) {
	t.Parallel()
	var current payload.Current
	if _, err := current.Find("order", "Place"); err == nil {
		t.Error("a type was found before there were any")
	}
	dir := t.TempDir()
	for _, name := range []string{"Place", "Cancel"} {
		text := "syntax = \"proto3\"; package order; message " + name + " { string id = 1; }\n"
		if err := os.WriteFile(filepath.Join(dir, "order.proto"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		schema, err := payload.Load(t.Context(), []string{dir}, nil)
		if err != nil {
			t.Fatal(err)
		}
		current.Set(schema)
		message, err := current.Encode("order", name, []byte(`{"id": "1"}`))
		if err != nil {
			t.Fatal(err)
		}
		if text, known, _ := current.JSON(message); !known || string(text) != `{"id":"1"}` {
			t.Errorf("got %s, %t", text, known)
		}
		if _, err := current.Descriptors().FindFileByPath("order.proto"); err != nil {
			t.Error(err)
		}
	}
	if _, err := current.Find("order", "Place"); err == nil {
		t.Error("a type is found that is not in the newest schema")
	}
}
