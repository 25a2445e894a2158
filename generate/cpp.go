package generate

import (
	"context"
	"os/exec"

	"github.com/angz-dev/angz/scaffold"
)

// cpp has its stubs made by its own build, which is CMake's.
var cpp = language{stubs: cppStubs, owned: []string{"gen"}}

// cppStubs makes none. It sees that there is a CMake to make them, so that people
// hear from angz how to get it, and not from a shell that something is not found.
func cppStubs(context.Context, *job) ([]scaffold.File, error) {
	if _, err := exec.LookPath("cmake"); err != nil {
		return nil, &MissingTool{Tool: "cmake"}
	}
	return nil, nil
}
