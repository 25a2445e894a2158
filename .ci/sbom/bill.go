package main

import (
	"bufio"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strings"
)

// The parts of CycloneDX 1.6 that a bill of a Go program needs, in the order in
// which they are written.
type (
	bill struct {
		Format       string       `json:"bomFormat"`
		Spec         string       `json:"specVersion"`
		Serial       string       `json:"serialNumber"`
		Version      int          `json:"version"`
		Metadata     metadata     `json:"metadata"`
		Components   []component  `json:"components"`
		Dependencies []dependency `json:"dependencies"`
	}
	metadata struct {
		Timestamp string     `json:"timestamp,omitempty"` // of the commit, so that two builds of it have one bill
		Component component  `json:"component"`
		Settings  []property `json:"properties,omitempty"`
	}
	component struct {
		Type       string     `json:"type"`
		Ref        string     `json:"bom-ref"`
		Name       string     `json:"name"`
		Version    string     `json:"version,omitempty"`
		Scope      string     `json:"scope,omitempty"`
		Hashes     []hash     `json:"hashes,omitempty"`
		Licences   []licence  `json:"licenses,omitempty"`
		URL        string     `json:"purl"`
		Properties []property `json:"properties,omitempty"`
	}
	hash struct {
		Algorithm string `json:"alg"`
		Content   string `json:"content"` // in hex
	}
	licence struct {
		License licenceID `json:"license"`
	}
	licenceID struct {
		ID string `json:"id"` // of SPDX
	}
	property struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	dependency struct {
		Ref       string   `json:"ref"`
		DependsOn []string `json:"dependsOn,omitempty"`
	}
)

// binary is a program with what it says about itself.
type binary struct {
	sum  [sha256.Size]byte
	info *debug.BuildInfo
}

// readBinary reads what a Go program holds.
func readBinary(path string) (binary, error) {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return binary{}, fmt.Errorf("read %s: %w: build it first", path, err)
	}
	file, err := os.Open(path)
	if err != nil {
		return binary{}, fmt.Errorf("read the binary: %w", err)
	}
	defer file.Close() // only read, nothing can be lost
	digest := sha256.New()
	if _, err := io.Copy(digest, file); err != nil {
		return binary{}, fmt.Errorf("read the binary: %w", err)
	}
	return binary{sum: [sha256.Size]byte(digest.Sum(nil)), info: info}, nil
}

// newBill puts the bill together.
func newBill(read binary, known map[string]module, edges map[string][]string) (bill, error) {
	main := component{
		Type: "application", Ref: purl(read.info.Main.Path, read.info.Main.Version), Name: read.info.Main.Path, Version: read.info.Main.Version,
		Hashes: []hash{{"SHA-256", hex.EncodeToString(read.sum[:])}}, URL: purl(read.info.Main.Path, read.info.Main.Version),
	}
	made := bill{Format: "CycloneDX", Spec: "1.6", Serial: "urn:uuid:" + uuidOf(read.sum), Version: 1, Metadata: metadata{Component: main}}
	for _, setting := range read.info.Settings {
		if setting.Key == "vcs.time" {
			made.Metadata.Timestamp = setting.Value
		}
		if strings.HasPrefix(setting.Key, "vcs.") || slices.Contains([]string{"CGO_ENABLED", "GOARCH", "GOOS", "-trimpath"}, setting.Key) {
			made.Metadata.Settings = append(made.Metadata.Settings, property{"go:build:" + setting.Key, setting.Value})
		}
	}
	refs := map[string]string{read.info.Main.Path: main.Ref}
	made.Components = append(made.Components, standardLibrary(read.info.GoVersion))
	for _, linked := range read.info.Deps {
		entry, err := newComponent(linked, known)
		if err != nil {
			return bill{}, err
		}
		refs[linked.Path] = entry.Ref
		made.Components = append(made.Components, entry)
	}
	made.Dependencies = dependencies(refs, edges, made.Components[0].Ref)
	return made, nil
}

// standardLibrary returns the part of the binary that comes with the compiler.
func standardLibrary(version string) component {
	number := strings.TrimPrefix(version, "go")
	return component{
		Type: "library", Ref: purl("std", number), Name: "std", Version: number, Scope: "required",
		Licences: []licence{{licenceID{"BSD-3-Clause"}}}, URL: purl("std", number),
	}
}

// newComponent returns the entry of a linked module. Its checksum is the one of
// go.sum: the SHA-256 over the names and SHA-256 sums of its files.
func newComponent(linked *debug.Module, known map[string]module) (component, error) {
	if linked.Replace != nil {
		return component{}, fmt.Errorf("module %s is replaced by %s %s: a release has no replacements, so that everybody can build the same", linked.Path, linked.Replace.Path, linked.Replace.Version)
	}
	encoded, isHash := strings.CutPrefix(linked.Sum, "h1:")
	sum, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || !isHash {
		return component{}, fmt.Errorf("module %s %s: found the checksum %q, expected h1: and base64: was it built from a folder or a workspace?", linked.Path, linked.Version, linked.Sum)
	}
	source := known[linked.Path]
	if source.Dir == "" || source.Version != linked.Version {
		return component{}, fmt.Errorf("module %s: the binary holds %s, this folder's go.mod says %s: build it from here, then run go mod download", linked.Path, linked.Version, source.Version)
	}
	licences, err := licencesOf(source.Dir)
	if err != nil {
		return component{}, fmt.Errorf("module %s %s: %w", linked.Path, linked.Version, err)
	}
	made := component{
		Type: "library", Ref: purl(linked.Path, linked.Version), Name: linked.Path, Version: linked.Version, Scope: "required",
		Hashes: []hash{{"SHA-256", hex.EncodeToString(sum)}}, URL: purl(linked.Path, linked.Version),
		Properties: []property{{"go:sum", linked.Sum}},
	}
	for _, id := range licences {
		made.Licences = append(made.Licences, licence{licenceID{id}})
	}
	return made, nil
}

// dependencies returns who needs whom among the linked modules. Everything needs
// the standard library.
func dependencies(refs map[string]string, edges map[string][]string, std string) []dependency {
	list := []dependency{{Ref: std}}
	for path, ref := range refs {
		entry := dependency{Ref: ref, DependsOn: []string{std}}
		for _, needed := range edges[path] {
			if other, linked := refs[needed]; linked && other != ref {
				entry.DependsOn = append(entry.DependsOn, other)
			}
		}
		slices.Sort(entry.DependsOn)
		entry.DependsOn = slices.Compact(entry.DependsOn)
		list = append(list, entry)
	}
	slices.SortFunc(list, func(a, b dependency) int { return strings.Compare(a.Ref, b.Ref) })
	return list
}

// moduleGraph returns which modules each selected module requires, by their
// paths.
func moduleGraph() (map[string][]string, error) {
	listed, err := goTool("list", "-m", "-f", "{{.Path}} {{.Version}}", "all")
	if err != nil {
		return nil, err
	}
	selected := map[string]bool{}
	for scanner := bufio.NewScanner(listed); scanner.Scan(); {
		path, version, _ := strings.Cut(scanner.Text(), " ")
		selected[strings.TrimSuffix(path+"@"+version, "@")] = true
	}
	graph, err := goTool("mod", "graph")
	if err != nil {
		return nil, err
	}
	edges := map[string][]string{}
	for scanner := bufio.NewScanner(graph); scanner.Scan(); {
		from, to, _ := strings.Cut(scanner.Text(), " ")
		if !selected[from] {
			continue // another version than the one that was built
		}
		path, _, _ := strings.Cut(from, "@")
		needed, _, _ := strings.Cut(to, "@")
		edges[path] = append(edges[path], needed)
	}
	return edges, nil
}

// purl returns the package URL of a module.
func purl(path, version string) string {
	if version == "" || version == "(devel)" {
		return "pkg:golang/" + path
	}
	return "pkg:golang/" + path + "@" + strings.ReplaceAll(version, "+", "%2B")
}

// uuidOf makes a UUID (version 8, which leaves the bits to us) of a checksum, so
// that one binary has one bill.
func uuidOf(sum [sha256.Size]byte) string {
	id := [16]byte(sum[:16])
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}
