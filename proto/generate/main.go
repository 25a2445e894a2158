// Command generate writes the Go code for the .proto files of this repository.
// It compiles them itself and runs the two Go plugins that go.mod pins, so that
// neither protoc nor buf has to be installed. Run it with "make generate".
//
//	generate [-check]
//
// With -check it writes nothing and fails when the checked-in code differs.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

const module = "github.com/angz-dev/angz"

// roots are the folders that .proto files are named from, each complete in itself.
var roots = []string{"proto", "examples/quickstart/proto", "examples/shop/proto"}

func main() {
	check := flag.Bool("check", false, "write nothing; fail when the checked-in code differs")
	flag.Parse()
	if err := run(*check); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func run(check bool) error {
	var stale []string
	for _, root := range roots {
		request, err := compile(root)
		if err != nil {
			return err
		}
		for _, plugin := range []string{"protoc-gen-go", "protoc-gen-go-grpc"} {
			changed, err := generateInto(plugin, request, check)
			if err != nil {
				return err
			}
			stale = append(stale, changed...)
		}
	}
	if check && len(stale) > 0 {
		return fmt.Errorf("out of date: %s; run \"make generate\"", strings.Join(stale, ", "))
	}
	return nil
}

// generateInto writes what one plugin makes of the request and returns the
// names of the files that were not there like that already.
func generateInto(plugin string, request *pluginpb.CodeGeneratorRequest, check bool) (changed []string, err error) {
	files, err := generate(plugin, request)
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		same, err := write(file, check)
		if err != nil {
			return nil, err
		}
		if !same {
			changed = append(changed, file.GetName())
		}
	}
	return changed, nil
}

// compile turns every .proto file below root into one plugin request.
func compile(root string) (*pluginpb.CodeGeneratorRequest, error) {
	names, err := protoFiles(root)
	if err != nil {
		return nil, err
	}
	compiler := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{root}}),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	files, err := compiler.Compile(context.Background(), names...)
	if err != nil {
		return nil, err
	}
	request := &pluginpb.CodeGeneratorRequest{
		FileToGenerate: names,
		Parameter:      proto.String("module=" + module),
	}
	seen := map[string]bool{}
	for _, file := range files {
		request.ProtoFile = appendWithImports(request.ProtoFile, file, seen)
	}
	return request, nil
}

func protoFiles(root string) ([]string, error) {
	var names []string
	err := filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".proto" {
			return err
		}
		name, err := filepath.Rel(root, path)
		names = append(names, filepath.ToSlash(name))
		return err
	})
	sort.Strings(names)
	if err == nil && len(names) == 0 {
		err = errors.New("no .proto files below " + root + "; run from the top of the repository")
	}
	return names, err
}

// appendWithImports appends file after everything it imports, each once.
func appendWithImports(list []*descriptorpb.FileDescriptorProto, file protoreflect.FileDescriptor, seen map[string]bool) []*descriptorpb.FileDescriptorProto {
	if seen[file.Path()] {
		return list
	}
	seen[file.Path()] = true
	for i := range file.Imports().Len() {
		list = appendWithImports(list, file.Imports().Get(i).FileDescriptor, seen)
	}
	return append(list, protoutil.ProtoFromFileDescriptor(file))
}

// generate runs one pinned plugin over the request.
func generate(plugin string, request *pluginpb.CodeGeneratorRequest) ([]*pluginpb.CodeGeneratorResponse_File, error) {
	input, err := proto.Marshal(request)
	if err != nil {
		return nil, err
	}
	command := exec.Command("go", "tool", plugin)
	command.Stdin = bytes.NewReader(input)
	command.Stderr = os.Stderr
	output, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", plugin, err)
	}
	response := &pluginpb.CodeGeneratorResponse{}
	if err := proto.Unmarshal(output, response); err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", plugin, err)
	}
	if response.Error != nil {
		return nil, fmt.Errorf("%s: %s", plugin, response.GetError())
	}
	return response.File, nil
}

// write stores one generated file and reports whether it was there already.
func write(file *pluginpb.CodeGeneratorResponse_File, check bool) (same bool, err error) {
	path := filepath.FromSlash(file.GetName())
	old, err := os.ReadFile(path)
	if err == nil && string(old) == file.GetContent() {
		return true, nil
	}
	if check {
		return false, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return false, err
	}
	return false, os.WriteFile(path, []byte(file.GetContent()), 0o644)
}
