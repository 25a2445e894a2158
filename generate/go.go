package generate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/modfile"

	"github.com/angz-dev/angz/scaffold"
)

// golang runs the two plugins that the project's go.mod pins as tools.
var golang = language{stubs: goStubs, extra: goExtra, owned: []string{"gen"}}

func goExtra(j *job) (map[string]string, error) {
	module, err := goModule(j.dir())
	return map[string]string{"module": module}, err
}

func goModule(dir string) (string, error) {
	content, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s has no go.mod; make a service first (angz new domain NAME --lang go) or correct generate in angz.yaml", dir)
	}
	if err != nil {
		return "", err
	}
	module := modfile.ModulePath(content)
	if module == "" {
		return "", fmt.Errorf("%s names no module", filepath.Join(dir, "go.mod"))
	}
	return module, nil
}

func goStubs(ctx context.Context, j *job) ([]scaffold.File, error) {
	module, err := goModule(j.dir())
	if err != nil {
		return nil, err
	}
	options := []string{"module=" + module}
	for _, file := range j.request.GetProtoFile() {
		if name := file.GetName(); !strings.HasPrefix(name, "google/protobuf/") {
			options = append(options, fmt.Sprintf("M%s=%s/gen/%s", name, module, goPackage(name)))
		}
	}
	var all []scaffold.File
	for _, plugin := range []string{"protoc-gen-go", "protoc-gen-go-grpc"} {
		files, err := j.plugin(ctx, strings.Join(options, ","), "", "go", "tool", plugin)
		if err != nil {
			return nil, err
		}
		all = append(all, files...)
	}
	return all, nil
}

// goPackage names the Go package of a .proto file. angz's own files are one.
func goPackage(file string) string {
	if strings.HasPrefix(file, "angzarr/") {
		return "angzarrpb"
	}
	return scaffold.StemName(file).Flat() + "pb"
}
