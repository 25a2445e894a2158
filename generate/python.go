package generate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/angz-dev/angz/scaffold"
)

// python runs the generator in grpcio-tools, which the project's requirements pin.
var python = language{stubs: pythonStubs, owned: []string{"gen"}}

// venvPython is where the project's own set-up puts the interpreter.
const venvPython = ".venv/bin/python"

func pythonStubs(ctx context.Context, j *job) ([]scaffold.File, error) {
	if err := j.prepareVenv(ctx); err != nil {
		return nil, err
	}
	out, err := os.MkdirTemp("", "angz-python")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(out) }() // nothing in it is needed any more
	input, err := proto.Marshal(&descriptorpb.FileDescriptorSet{File: j.request.GetProtoFile()})
	if err != nil {
		return nil, err
	}
	set := filepath.Join(out, "set.binpb")
	if err := os.WriteFile(set, input, 0o600); err != nil {
		return nil, err
	}
	made := filepath.Join(out, "gen")
	if err := os.Mkdir(made, 0o700); err != nil {
		return nil, err
	}
	command := []string{venvPython, "-m", "grpc_tools.protoc", "--descriptor_set_in=" + set, "--python_out=" + made, "--pyi_out=" + made}
	if _, err := j.run(ctx, nil, append(command, j.request.GetFileToGenerate()...)...); err != nil {
		return nil, err
	}
	withServices := []string{venvPython, "-m", "grpc_tools.protoc", "--descriptor_set_in=" + set, "--grpc_python_out=" + made}
	if _, err := j.run(ctx, nil, append(withServices, j.services()...)...); err != nil {
		return nil, err
	}
	return readTree(made, path.Join(j.folder, "gen"))
}

// prepareVenv lets the project's own set-up install the packages, since it knows
// when that is needed. A folder without it has to see to it itself.
func (j *job) prepareVenv(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(j.dir(), "setup.sh")); err == nil {
		if _, err := j.run(ctx, nil, "sh", "setup.sh"); err != nil {
			return fmt.Errorf("install the packages: %w", err)
		}
	}
	if _, err := os.Stat(filepath.Join(j.dir(), filepath.FromSlash(venvPython))); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s has no %s; make it there: python3 -m venv .venv, with grpcio-tools installed in it", j.dir(), venvPython)
	}
	return nil
}

// services returns the files to generate that describe services.
func (j *job) services() []string {
	var names []string
	for _, file := range j.request.GetProtoFile() {
		if len(file.GetService()) > 0 && !strings.HasPrefix(file.GetName(), "google/") {
			names = append(names, file.GetName())
		}
	}
	return names
}

// readTree returns the files below a folder as files of the project.
func readTree(dir, to string) ([]scaffold.File, error) {
	var files []scaffold.File
	err := filepath.WalkDir(dir, func(place string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(place)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, place)
		files = append(files, scaffold.File{Path: path.Join(to, filepath.ToSlash(name)), Content: content, Mode: 0o644})
		return err
	})
	return files, err
}
