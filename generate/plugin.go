package generate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/pluginpb"

	"github.com/angz-dev/angz/scaffold"
)

// plugin runs one of protoc's plugins over the project's files. The files come
// below the folder out, seen from the language's.
func (j *job) plugin(ctx context.Context, parameter, out string, command ...string) ([]scaffold.File, error) {
	request := proto.Clone(j.request).(*pluginpb.CodeGeneratorRequest)
	request.Parameter = proto.String(parameter)
	input, err := proto.Marshal(request)
	if err != nil {
		return nil, err
	}
	output, err := j.run(ctx, input, command...)
	if err != nil {
		return nil, err
	}
	response := &pluginpb.CodeGeneratorResponse{}
	if err := proto.Unmarshal(output, response); err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", command[len(command)-1], err)
	}
	if response.Error != nil {
		return nil, fmt.Errorf("%s: %s", command[len(command)-1], response.GetError())
	}
	var files []scaffold.File
	for _, file := range response.GetFile() {
		if !filepath.IsLocal(filepath.FromSlash(file.GetName())) {
			return nil, fmt.Errorf("%s wants to write %q, which is outside the project", command[len(command)-1], file.GetName())
		}
		files = append(files, scaffold.File{Path: path.Join(j.folder, out, file.GetName()), Content: []byte(file.GetContent()), Mode: 0o644})
	}
	return files, nil
}

// run runs a command in the language's folder and returns what it prints. What
// it says on its standard error is part of the error, or told to the project's
// log.
func (j *job) run(ctx context.Context, input []byte, command ...string) ([]byte, error) {
	process := exec.CommandContext(ctx, command[0], command[1:]...)
	process.Dir = j.dir()
	process.Stdin = bytes.NewReader(input)
	var said bytes.Buffer
	process.Stderr = &said
	output, err := process.Output()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, failed(command, said.String(), err)
	}
	if j.project.Log != nil {
		_, err = io.Copy(j.project.Log, &said)
	}
	return output, err
}

func failed(command []string, said string, err error) error {
	if errors.Is(err, exec.ErrNotFound) {
		return &MissingTool{Tool: command[0]}
	}
	if said = strings.TrimSpace(said); said != "" {
		return fmt.Errorf("%s: %w\n%s", strings.Join(command, " "), err, said)
	}
	return fmt.Errorf("%s: %w", strings.Join(command, " "), err)
}

// MissingTool says that a program of a language is not installed.
type MissingTool struct{ Tool string }

func (e *MissingTool) Error() string {
	how, known := installation[e.Tool]
	if !known {
		how = "install it, and see that it is in your PATH"
	}
	return fmt.Sprintf("%s is not installed; %s", e.Tool, how)
}

// installation says how each language's program gets onto a machine.
var installation = map[string]string{
	"go":      "get it from https://go.dev/dl",
	"python3": "get version 3.9 or newer from https://www.python.org, or with apt-get install python3 python3-venv",
	"node":    "get version 20 or newer from https://nodejs.org",
	"npm":     "it comes with Node.js, from https://nodejs.org",
	"cargo":   "get it from https://rustup.rs",
	"mvn":     "get it from https://maven.apache.org, or with apt-get install maven",
	"javac":   "get version 17 or newer from https://adoptium.net, or with apt-get install openjdk-17-jdk-headless",
	"cmake":   "get it from https://cmake.org, or with apt-get install cmake ninja-build g++ libgrpc++-dev libprotobuf-dev protobuf-compiler-grpc libgtest-dev",
	"sh":      "angz needs a POSIX shell",
}
