package inspect

import (
	"path"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
)

// Commands lists the messages of a domain that can be sent to it, in the order of
// their files. Where messages are marked with angz's own options, those count. Where
// they are not, files belong to a domain by their name or package, and messages are
// left out that sound like events or states, or are parts of others.
func Commands(files []protoreflect.FileDescriptor, domain string) (commands []protoreflect.MessageDescriptor) {
	var own []protoreflect.FileDescriptor
	for _, file := range files {
		if option(file.Options(), pb.E_Domain) == domain {
			own = append(own, file)
		}
	}
	if own == nil {
		for _, file := range files {
			if soundsLike(file, domain) {
				own = append(own, file)
			}
		}
	}
	marked := false
	for _, message := range messagesOf(own) {
		switch kindOf(message) {
		case pb.Kind_KIND_COMMAND:
			commands, marked = append(commands, message), true
		case pb.Kind_KIND_EVENT, pb.Kind_KIND_STATE:
			marked = true
		}
	}
	if marked {
		return commands
	}
	parts := partsOf(own)
	for _, message := range messagesOf(own) {
		name := string(message.Name())
		if !strings.HasSuffix(name, "ed") && !strings.HasSuffix(name, "State") && !parts[message.FullName()] {
			commands = append(commands, message)
		}
	}
	return commands
}

func messagesOf(files []protoreflect.FileDescriptor) (messages []protoreflect.MessageDescriptor) {
	for _, file := range files {
		all := file.Messages()
		for i := range all.Len() {
			messages = append(messages, all.Get(i))
		}
	}
	return messages
}

// partsOf returns the messages that are fields of others.
func partsOf(files []protoreflect.FileDescriptor) map[protoreflect.FullName]bool {
	parts := map[protoreflect.FullName]bool{}
	for _, message := range messagesOf(files) {
		fields := message.Fields()
		for i := range fields.Len() {
			if part := fields.Get(i).Message(); part != nil {
				parts[part.FullName()] = true
			}
		}
	}
	return parts
}

// soundsLike reports whether a file is about a domain, by its name or package.
func soundsLike(file protoreflect.FileDescriptor, domain string) bool {
	name := strings.TrimSuffix(path.Base(file.Path()), ".proto")
	return slices.ContainsFunc(append(strings.Split(string(file.Package()), "."), name), func(word string) bool {
		return strings.EqualFold(word, domain)
	})
}

func kindOf(message protoreflect.MessageDescriptor) pb.Kind {
	kind, _ := option(message.Options(), pb.E_Kind).(pb.Kind)
	return kind
}

// option reads an option of angz's own. A file that was compiled without knowing it
// has it among the unknown fields, so it is read once more.
func option(options proto.Message, extension protoreflect.ExtensionType) any {
	text, err := proto.Marshal(options)
	if err != nil {
		return nil
	}
	var known proto.Message = new(descriptorpb.FileOptions)
	if _, isMessage := options.(*descriptorpb.MessageOptions); isMessage {
		known = new(descriptorpb.MessageOptions)
	}
	if proto.Unmarshal(text, known) != nil {
		return nil
	}
	return proto.GetExtension(known, extension)
}
