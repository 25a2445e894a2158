// Command sbom writes the bill of materials of a Go binary: every module that
// was linked into it, with version, checksum and licences, as CycloneDX 1.6 in
// JSON. The binary itself is asked what it holds, so that nothing can be on the
// list that was not shipped, and nothing shipped that is not on it.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
)

func main() {
	output := flag.String("o", "", "the file to write (default: standard output)")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: sbom [-o FILE] BINARY\n\nRun it in the folder of the module that BINARY was built from.")
	}
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(flag.Arg(0), *output); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

// run writes the bill of a binary to a file, or to standard output.
func run(binary, output string) error {
	read, err := readBinary(binary)
	if err != nil {
		return err
	}
	known, err := listModules(read.info.Deps)
	if err != nil {
		return err
	}
	edges, err := moduleGraph()
	if err != nil {
		return err
	}
	made, err := newBill(read, known, edges)
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(made, "", "  ")
	if err != nil {
		return fmt.Errorf("write the bill: %w", err)
	}
	text = append(text, '\n')
	if output == "" {
		_, err = os.Stdout.Write(text)
		return err
	}
	if err := os.MkdirAll(filepath.Dir(output), 0o755); err != nil {
		return fmt.Errorf("write the bill: %w", err)
	}
	return os.WriteFile(output, text, 0o644)
}

// module is what the Go tool knows of a module.
type module struct {
	Path, Version, Dir string
}

// listModules returns what the Go tool knows of the linked modules, by their
// paths. Their sources are in the module cache, since they were built from.
func listModules(linked []*debug.Module) (map[string]module, error) {
	arguments := []string{"list", "-m", "-json"}
	for _, one := range linked {
		arguments = append(arguments, one.Path)
	}
	text, err := goTool(arguments...)
	if err != nil {
		return nil, err
	}
	known := map[string]module{}
	for decoder := json.NewDecoder(text); ; {
		var listed module
		switch err := decoder.Decode(&listed); {
		case errors.Is(err, io.EOF):
			return known, nil
		case err != nil:
			return nil, fmt.Errorf("read go list: %w", err)
		}
		known[listed.Path] = listed
	}
}

// goTool returns what a command of the Go tool prints.
func goTool(args ...string) (io.Reader, error) {
	command := exec.Command("go", args...)
	command.Stderr = os.Stderr
	pipe, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s: %w", args[0], err)
	}
	return bytes.NewReader(pipe), nil
}
