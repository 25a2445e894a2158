package payload

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// isBuiltIn reports whether angz has its own copy of a file, which then counts
// instead of the project's: the wire contract and the well-known types.
func isBuiltIn(path string) bool {
	if !strings.HasPrefix(path, "angzarr/") && !strings.HasPrefix(path, "google/protobuf/") {
		return false
	}
	_, err := protoregistry.GlobalFiles.FindFileByPath(path)
	return err == nil
}

// builtIn returns a message of the wire contract or of the well-known types.
func builtIn(name protoreflect.FullName) (protoreflect.MessageDescriptor, bool) {
	if parent := name.Parent(); parent != "angzarr" && parent != "google.protobuf" {
		return nil, false
	}
	return linked(name)
}

// linked returns any message that is linked into this program.
func linked(name protoreflect.FullName) (protoreflect.MessageDescriptor, bool) {
	descriptor, err := protoregistry.GlobalFiles.FindDescriptorByName(name)
	if err != nil {
		return nil, false
	}
	message, ok := descriptor.(protoreflect.MessageDescriptor)
	return message, ok
}
