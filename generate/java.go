package generate

import (
	"context"
	"os/exec"

	"github.com/angz-dev/angz/scaffold"
)

// java makes its stubs in its own build, by Maven's protobuf plugin, which fetches
// protoc and the plugin for gRPC itself.
var java = language{stubs: javaStubs, owned: []string{"src/generated"}}

// javaStubs makes nothing. It says in time when the tools of the build are not
// there.
func javaStubs(context.Context, *job) ([]scaffold.File, error) {
	for _, tool := range []string{"javac", "mvn"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, &MissingTool{Tool: tool}
		}
	}
	return nil, nil
}
