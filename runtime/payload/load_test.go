package payload_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/payload"
)

func TestMistakesAreReportedTogetherWithFileLineAndColumn(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{
		"a.proto": "syntax = \"proto3\";\npackage a;\nmessage A {\n  strng name = 1;\n  Missing it = 2;\n}\n",
		"b.proto": "syntax = \"proto3\";\nimport \"nowhere.proto\";\nmessage B {}\n",
		"c.proto": "syntax = \"proto3\";\nmessage C { string a = 1; string b = 1; }\n",
	})
	_, err := load(t.Context(), dir)
	var invalid *payload.Invalid
	if !errors.As(err, &invalid) {
		t.Fatalf("got %v, want *payload.Invalid", err)
	}
	var places []string
	for _, problem := range invalid.Problems {
		place, _ := strings.CutPrefix(problem.String(), dir+string(filepath.Separator))
		places = append(places, place)
	}
	want := []string{
		"a.proto:4:3: field a.A.name: unknown type strng\n    4 |   strng name = 1;\n      |   ^",
		"a.proto:5:3: field a.A.it: unknown type Missing\n    5 |   Missing it = 2;\n      |   ^",
		"b.proto:2:8: nowhere.proto: there is no such file in " + dir + "\n    2 | import \"nowhere.proto\";\n      |        ^",
		"c.proto:2:38: message C: fields a and b both have the same tag 1\n    2 | message C { string a = 1; string b = 1; }\n      | " + strings.Repeat(" ", 37) + "^",
	}
	if diff := cmp.Diff(want, places); diff != "" {
		t.Error(diff)
	}
}

func TestForeignFoldersAreLeftOut(t *testing.T) {
	t.Parallel()
	broken := "this is no proto"
	dir := folder(t, map[string]string{
		"good.proto":                "syntax = \"proto3\"; message Good {}",
		".venv/x.proto":             broken,
		"node_modules/x.proto":      broken,
		"python/env/pyvenv.cfg":     "",
		"python/env/lib/x.proto":    broken,
		"angzarr/types.proto":       broken,
		"google/protobuf/any.proto": broken,
	})
	schema, err := load(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := schema.Message("Good"); !ok {
		t.Error("the project's own message is unknown")
	}
}

func TestAFolderInsideAnotherNamesItsOwnFiles(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{
		"top.proto":       "syntax = \"proto3\"; import \"in.proto\"; message Top { In in = 1; }",
		"nested/in.proto": "syntax = \"proto3\"; message In {}",
	})
	if _, err := load(t.Context(), dir, filepath.Join(dir, "nested")); err != nil {
		t.Fatal(err)
	}
}

func TestAProjectsOwnCopyOfTheContractUnderAnotherNameIsNoConflict(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{
		"angzarr.proto": "syntax = \"proto3\"; package angzarr; message Cover { string domain = 2; }",
		"mine.proto":    "syntax = \"proto3\"; import \"angzarr.proto\"; message Mine { angzarr.Cover cover = 1; }",
	})
	schema, err := load(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	cover, _ := schema.Message("angzarr.Cover")
	if want := (&pb.Cover{}).ProtoReflect().Descriptor(); cover != want {
		t.Errorf("got %v, want angz's own Cover", cover)
	}
}

func TestADescriptorSetIsAsGoodAsItsSources(t *testing.T) {
	t.Parallel()
	schema := shop(t)
	set := new(descriptorpb.FileDescriptorSet)
	for _, name := range []string{"shop/order.proto", "shop/customer.proto"} {
		file, err := schema.Descriptors().FindFileByPath(name)
		if err != nil {
			t.Fatal(err)
		}
		set.File = append(set.File, protodesc.ToFileDescriptorProto(file))
	}
	data, err := proto.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "shop.binpb")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	loaded, err := load(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	message, err := loaded.Find("order", "CreateOrder")
	if err != nil || message.FullName() != "shop.order.v1.CreateOrder" {
		t.Errorf("got %v, %v", message, err)
	}
}

func TestImportPathsThatAreNoneAreNamed(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{"a.proto": "syntax = \"proto3\";", "garbage.binpb": "\x01\x02 garbage"})
	for name, want := range map[string]string{
		"missing":       "there is no such folder or file",
		"a.proto":       "expected the folder that imports start from",
		"garbage.binpb": "not a FileDescriptorSet",
	} {
		_, err := load(t.Context(), filepath.Join(dir, name))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), filepath.Join(dir, name)) {
			t.Errorf("%s: got %v, want the path and %q", name, err, want)
		}
	}
}

func TestReflectionFindsTheProjectsFilesAndAngzsOwn(t *testing.T) {
	t.Parallel()
	resolver := shop(t).Descriptors()
	for _, name := range []protoreflect.FullName{"shop.order.v1.CreateOrder", "angzarr.EventQuery", "google.protobuf.Any"} {
		if _, err := resolver.FindDescriptorByName(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, path := range []string{"shop/customer.proto", "angzarr/types.proto"} {
		if _, err := resolver.FindFileByPath(path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := new(payload.Schema).Descriptors().FindFileByPath("shop/customer.proto"); err == nil {
		t.Error("an empty schema knows a project's file")
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(shopCustomer), []byte{})
	f.Add([]byte("syntax = \"proto3\"; message A { A a = 1; }"), []byte("\x0a\x03\x0a\x01a"))
	f.Fuzz(func(t *testing.T, source, set []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "a.proto"), source, 0o644); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "set.binpb")
		if err := os.WriteFile(path, set, 0o644); err != nil {
			t.Fatal(err)
		}
		_, _ = load(t.Context(), dir)
		_, _ = load(t.Context(), path)
	})
}
