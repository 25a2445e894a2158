package generate

import (
	"context"
	"os/exec"

	"github.com/angz-dev/angz/scaffold"
)

// rust has its stubs made by its own build. "gen" is a word of the language, so
// the folder of what angz generates is called otherwise.
var rust = language{stubs: rustStubs, owned: []string{"src/generated"}}

// rustStubs makes none. It sees that there is a Cargo to make them, so that people
// hear from angz how to get it, and not from a shell that something is not found.
func rustStubs(context.Context, *job) ([]scaffold.File, error) {
	if _, err := exec.LookPath("cargo"); err != nil {
		return nil, &MissingTool{Tool: "cargo"}
	}
	return nil, nil
}
