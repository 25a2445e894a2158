package payload

import (
	"sync/atomic"

	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
)

// Current is a Schema that is replaced while it is used, as when somebody saves a
// .proto file. The zero Current knows what the zero Schema knows. It is safe for
// concurrent use; each call sees one whole Schema.
type Current struct{ schema atomic.Pointer[Schema] }

// Set puts a schema in the place of the one before.
func (c *Current) Set(schema *Schema) { c.schema.Store(schema) }

// JSON is Schema.JSON.
func (c *Current) JSON(message *anypb.Any) (json []byte, known bool, err error) {
	return c.schema.Load().JSON(message)
}

// Find is Schema.Find.
func (c *Current) Find(domain, name string) (protoreflect.MessageDescriptor, error) {
	return c.schema.Load().Find(domain, name)
}

// Encode is Schema.Encode.
func (c *Current) Encode(domain, typeName string, json []byte) (*anypb.Any, error) {
	return c.schema.Load().Encode(domain, typeName, json)
}

// Descriptors is Schema.Descriptors; what it returns changes with the schema.
func (c *Current) Descriptors() protodesc.Resolver { return currentDescriptors{c} }

type currentDescriptors struct{ current *Current }

func (d currentDescriptors) FindFileByPath(path string) (protoreflect.FileDescriptor, error) {
	return descriptors{d.current.schema.Load()}.FindFileByPath(path)
}

func (d currentDescriptors) FindDescriptorByName(name protoreflect.FullName) (protoreflect.Descriptor, error) {
	return descriptors{d.current.schema.Load()}.FindDescriptorByName(name)
}
