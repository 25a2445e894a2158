package emulator

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/payload"
)

// sampleCommand returns a line by which a first command can be sent. It looks for
// a message of a domain that sounds like a command.
func sampleCommand(ctx context.Context, c *config.Config) (string, bool) {
	var folders []string
	for _, folder := range c.Protos {
		if !filepath.IsAbs(folder) {
			folder = filepath.Join(c.Dir, folder)
		}
		folders = append(folders, folder)
	}
	schema, err := payload.Load(ctx, folders, nil)
	if err != nil {
		return "", false
	}
	files := protoFiles(folders)
	for _, domain := range c.Domains {
		for _, path := range files {
			descriptor, err := schema.Descriptors().FindFileByPath(path)
			if err != nil || !belongs(descriptor, domain.Name) {
				continue
			}
			if command := firstCommand(descriptor.Messages()); command != nil {
				return fmt.Sprintf("angz send %s %s-1 %s '{%s}'", domain.Name, domain.Name, command.Name(), fields(command)), true
			}
		}
	}
	return "", false
}

// protoFiles lists the .proto files of some folders, as imports name them.
func protoFiles(folders []string) []string {
	var files []string
	for _, folder := range folders {
		// A folder that cannot be read was complained about when it was loaded.
		_ = fs.WalkDir(os.DirFS(folder), ".", func(path string, _ fs.DirEntry, err error) error {
			if err == nil && filepath.Ext(path) == ".proto" {
				files = append(files, path)
			}
			return nil
		})
	}
	return files
}

// belongs reports whether a file is about a domain, by its name or package.
func belongs(file protoreflect.FileDescriptor, domain string) bool {
	name := strings.TrimSuffix(filepath.Base(file.Path()), ".proto")
	for _, word := range append(strings.Split(string(file.Package()), "."), name) {
		if strings.EqualFold(word, domain) {
			return true
		}
	}
	return false
}

// firstCommand returns the first message whose name begins with a verb as people
// give orders, nil if there is none.
func firstCommand(messages protoreflect.MessageDescriptors) protoreflect.MessageDescriptor {
	verbs := []string{"Create", "Add", "Register", "Open", "Place", "Start", "Submit", "Request", "Make", "Book", "Set"}
	for i := range messages.Len() {
		message := messages.Get(i)
		for _, verb := range verbs {
			rest, ok := strings.CutPrefix(string(message.Name()), verb)
			if ok && rest != "" && unicode.IsUpper(rune(rest[0])) {
				return message
			}
		}
	}
	return nil
}

// fields writes the simple fields of a message as the inside of a JSON object.
func fields(message protoreflect.MessageDescriptor) string {
	var written []string
	for i := range message.Fields().Len() {
		field := message.Fields().Get(i)
		value := ""
		switch field.Kind() {
		case protoreflect.StringKind:
			value = `"some ` + strings.ReplaceAll(string(field.Name()), "_", " ") + `"`
		case protoreflect.BoolKind:
			value = "true"
		case protoreflect.Int32Kind, protoreflect.Int64Kind, protoreflect.Uint32Kind, protoreflect.Uint64Kind,
			protoreflect.Sint32Kind, protoreflect.Sint64Kind, protoreflect.DoubleKind, protoreflect.FloatKind:
			value = "1"
		}
		if value != "" && field.Cardinality() != protoreflect.Repeated {
			written = append(written, fmt.Sprintf("%q: %s", field.Name(), value))
		}
	}
	return strings.Join(written, ", ")
}
