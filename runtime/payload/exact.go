package payload

import (
	"bytes"
	"fmt"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"
)

// Exact is JSON that also says whether it is all there is: with exact, Bytes gives
// back the very bytes of the payload. Bytes that are written in an unusual way,
// unknown fields and what JSON cannot say are not exact. known is as for JSON.
func (s *Schema) Exact(message *anypb.Any) (json []byte, known, exact bool) {
	return exactJSON(message, s.Message, s.extensions())
}

// Bytes returns the bytes of the message that JSON text stands for. Errors:
// *NotFound for a type that is not known under its full name, and *BadJSON.
func (s *Schema) Bytes(typeURL string, json []byte) ([]byte, error) {
	return exactBytes(typeURL, json, s.Message, s.extensions())
}

// Exact is Schema.Exact with the server's types.
func (r *Remote) Exact(message *anypb.Any) (json []byte, known, exact bool) {
	return exactJSON(message, r.Message, protoregistry.GlobalTypes)
}

// Bytes is Schema.Bytes with the server's types.
func (r *Remote) Bytes(typeURL string, json []byte) ([]byte, error) {
	return exactBytes(typeURL, json, r.Message, protoregistry.GlobalTypes)
}

type lookup = func(name string) (protoreflect.MessageDescriptor, bool)

func exactJSON(message *anypb.Any, types lookup, extensions protoregistry.ExtensionTypeResolver) (json []byte, known, exact bool) {
	json, known = encodeJSON(message, types, extensions)
	if !known {
		return json, false, false
	}
	// Whatever may be lost on the way shows up only on the way back.
	again, err := exactBytes(message.GetTypeUrl(), json, types, extensions)
	return json, true, err == nil && bytes.Equal(again, message.GetValue())
}

func exactBytes(typeURL string, json []byte, types lookup, extensions protoregistry.ExtensionTypeResolver) (value []byte, err error) {
	descriptor, known := types(typeURL)
	if !known {
		return nil, &NotFound{Name: typeURL}
	}
	defer func() {
		// As in unmarshal: messages without generated code may panic.
		if cause := recover(); cause != nil {
			err = fmt.Errorf("read a %s: %v", descriptor.FullName(), cause)
		}
	}()
	return decodeJSON(json, descriptor, typeResolver{types, extensions})
}
