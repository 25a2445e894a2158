package generate

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/angz-dev/angz/scaffold"
)

func TestAFolderWithoutThePluginSaysHowToAddIt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "web"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := Plan(t.Context(), Project{Dir: dir, Name: scaffold.Name{"shop"}, Targets: map[string]string{"web": "typescript"}})
	if err == nil || !strings.Contains(err.Error(), "npm install --save-dev @bufbuild/protoc-gen-es") {
		t.Errorf("got %v, want how to add the plugin", err)
	}
}
