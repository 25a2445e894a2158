package generate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/angz-dev/angz/scaffold"
)

// typescript runs the plugin that the project's package-lock.json pins.
var typescript = language{stubs: typescriptStubs, owned: []string{"src/gen"}}

// protocGenES is where npm puts the plugin, a program for Node.js.
const protocGenES = "node_modules/@bufbuild/protoc-gen-es/bin/protoc-gen-es"

func typescriptStubs(ctx context.Context, j *job) ([]scaffold.File, error) {
	if err := j.installNode(ctx); err != nil {
		return nil, err
	}
	// Imports carry the ending of what the compiler makes, as Node.js wants them.
	return j.plugin(ctx, "target=ts,import_extension=js", "src/gen", "node", protocGenES)
}

// installNode lets the project's own build install the packages, since it knows
// when that is needed, and how not to disturb a build that runs. A folder with
// another build has to see to it itself.
func (j *job) installNode(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(j.dir(), "build.mjs")); err == nil {
		if _, err := j.run(ctx, nil, "node", "build.mjs", "install"); err != nil {
			return fmt.Errorf("install the packages: %w", err)
		}
	}
	if _, err := os.Stat(filepath.Join(j.dir(), filepath.FromSlash(protocGenES))); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s has no %s; add it there: npm install --save-dev @bufbuild/protoc-gen-es", j.dir(), protocGenES)
	}
	return nil
}
