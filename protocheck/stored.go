package protocheck

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	_ "github.com/angz-dev/angz/proto/angzarrpb" // angz's own events, which are stored too
	"github.com/angz-dev/angz/runtime/book"
)

// samples is how many of the oldest and of the newest messages of a type are
// looked into. A change of the schema shows in the first of them already, unless
// it was made in between.
const samples = 20

// Tally knows which types are stored. It is not safe for concurrent use; a nil
// one knows nothing.
type Tally struct {
	types map[protoreflect.FullName]*storedType
}

type storedType struct {
	stored         Stored
	oldest, newest [][]byte // newest is a ring
}

// Stored is what is known of one type that is stored.
type Stored struct {
	Type   string `json:"type" doc:"the full name of the message"`
	Events uint64 `json:"events" doc:"how many events of it are stored"`
	States uint64 `json:"states,omitempty" doc:"how many snapshots of it are stored; absent when none"`
	Looked int    `json:"looked" doc:"how many of them were looked into"`
	Reads  bool   `json:"reads" doc:"whether all of those can be read in full"`
}

// Add counts an event. The payload is kept and must not be changed.
func (t *Tally) Add(typeURL string, payload []byte) {
	t.of(typeURL, payload).Events++
}

// AddState counts a snapshot.
func (t *Tally) AddState(typeURL string, payload []byte) {
	t.of(typeURL, payload).States++
}

func (t *Tally) of(typeURL string, payload []byte) *Stored {
	if t.types == nil {
		t.types = map[protoreflect.FullName]*storedType{}
	}
	name := protoreflect.FullName(book.TypeName(typeURL))
	kept := t.types[name]
	if kept == nil {
		kept = &storedType{stored: Stored{Type: string(name)}}
		t.types[name] = kept
	}
	if len(kept.oldest) < samples {
		kept.oldest = append(kept.oldest, payload)
	} else if len(kept.newest) < samples {
		kept.newest = append(kept.newest, payload)
	} else {
		kept.newest[(kept.stored.Events+kept.stored.States)%samples] = payload
	}
	return &kept.stored
}

func (t *Tally) has(name protoreflect.FullName) bool {
	return t != nil && t.types[name] != nil
}

// events returns how many messages of some types are stored.
func (t *Tally) events(types []string) (n uint64) {
	if t == nil {
		return 0
	}
	for _, name := range types {
		if kept := t.types[protoreflect.FullName(name)]; kept != nil {
			n += kept.stored.Events + kept.stored.States
		}
	}
	return n
}

// Check reads samples of everything that is stored by a schema, and says what
// cannot be read. What is already among findings is not said again. Types come in
// the order of their names.
func (t *Tally) Check(schema *Schema, findings []Finding) ([]Stored, []Finding) {
	if t == nil {
		return nil, findings
	}
	told := map[string]bool{}
	for _, f := range findings {
		if f.Severity == Error {
			told[fmt.Sprint(f.message, f.number)] = true
			told[f.Name] = true
		}
	}
	stored := []Stored{}
	for _, name := range slices.Sorted(maps.Keys(t.types)) {
		kept := t.types[name]
		about := kept.stored
		all := slices.Concat(kept.oldest, kept.newest)
		about.Looked = len(all)
		more := kept.check(schema, all)
		about.Reads = len(more) == 0
		stored = append(stored, about)
		for _, f := range more {
			if !told[fmt.Sprint(f.message, f.number)] && (f.number > 0 || !told[f.Name]) {
				findings = append(findings, f)
			}
		}
	}
	return stored, sorted(findings)
}

// check reads payloads of one type.
func (k *storedType) check(schema *Schema, payloads [][]byte) []Finding {
	name := protoreflect.FullName(k.stored.Type)
	n := k.stored.Events + k.stored.States
	descriptor := schema.find(name)
	if descriptor == nil {
		return []Finding{{Rule: "type-missing", Severity: Error, Name: string(name), Types: []string{string(name)}, Events: n,
			Message: fmt.Sprintf("no .proto file has the message %s", name),
			Effect:  counted(n) + " of this type cannot be read",
			Advice:  "write the message again as it was; Git knows it, or a backup"}}
	}
	leftovers := map[leftover]int{}
	unreadable, why := 0, error(nil)
	for _, payload := range payloads {
		message := dynamicpb.NewMessage(descriptor)
		if err := unmarshal(payload, message); err != nil {
			unreadable, why = unreadable+1, err
			continue
		}
		schema.leftovers(message, func(l leftover) { leftovers[l]++ })
	}
	base := Finding{Severity: Error, Name: string(name), Types: []string{string(name)}, Events: n, message: string(name)}
	var findings []Finding
	if unreadable > 0 {
		f := base
		f.Rule, f.Message = "unreadable", fmt.Sprintf("%d of %d stored %s that were looked into are no %s", unreadable, len(payloads), name.Name(), name)
		f.Effect = fmt.Sprintf("%s cannot be read: %s", cmp.Or(shareOf(unreadable, len(payloads), n), counted(n)), strings.TrimSpace(strings.TrimPrefix(why.Error(), "proto:")))
		f.Advice = "give the message the fields that it had when they were stored"
		findings = append(findings, schema.of(f, descriptor))
	}
	for _, l := range slices.SortedFunc(maps.Keys(leftovers), compareLeftovers) {
		findings = append(findings, schema.leftover(base, l, shareOf(leftovers[l], len(payloads), n)))
	}
	return findings
}

// shareOf says how many of all are meant, from how many of the samples are.
func shareOf(some, looked int, all uint64) string {
	if some == looked {
		return counted(all)
	}
	if uint64(looked) == all {
		return counted(uint64(some))
	}
	return fmt.Sprintf("about %d of %s", uint64(float64(all)*float64(some)/float64(looked)+0.5), counted(all))
}

// unmarshal reads a payload. Messages without generated code may panic over what
// nobody has written.
func unmarshal(payload []byte, into proto.Message) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%v", cause)
		}
	}()
	return proto.UnmarshalOptions{AllowPartial: true}.Unmarshal(payload, into)
}

// leftover is a field of a stored message that the schema does not read.
type leftover struct {
	message protoreflect.FullName
	number  protowire.Number
	wire    protowire.Type
}

func compareLeftovers(a, b leftover) int {
	return cmp.Or(cmp.Compare(a.message, b.message), cmp.Compare(a.number, b.number), cmp.Compare(a.wire, b.wire))
}

// leftovers tells what a message and its parts have that the schema does not
// read. Fields whose numbers are reserved were removed on purpose.
func (s *Schema) leftovers(message protoreflect.Message, tell func(leftover)) {
	descriptor := message.Descriptor()
	seen := map[leftover]bool{}
	for unknown := message.GetUnknown(); len(unknown) > 0; {
		number, wire, n := protowire.ConsumeField(unknown)
		if n < 0 {
			break
		}
		unknown = unknown[n:]
		l := leftover{descriptor.FullName(), number, wire}
		if !seen[l] && !descriptor.ReservedRanges().Has(number) {
			seen[l] = true
			tell(l)
		}
	}
	message.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.IsMap() && field.MapValue().Message() != nil:
			value.Map().Range(func(_ protoreflect.MapKey, value protoreflect.Value) bool {
				s.leftovers(value.Message(), tell)
				return true
			})
		case field.IsMap() || field.Message() == nil:
		case field.IsList():
			for i := range value.List().Len() {
				s.leftovers(value.List().Get(i).Message(), tell)
			}
		default:
			s.leftovers(value.Message(), tell)
		}
		return true
	})
}

// wireNames say how a value was written.
var wireNames = map[protowire.Type]string{
	protowire.VarintType: "a whole number or bool", protowire.Fixed32Type: "a fixed32 or float", protowire.Fixed64Type: "a fixed64 or double",
	protowire.BytesType: "a text, bytes, message or packed list", protowire.StartGroupType: "a group",
}

// leftover describes a field that is stored and not read.
func (s *Schema) leftover(f Finding, l leftover, events string) Finding {
	descriptor := s.find(l.message)
	f.message, f.number = string(l.message), int(l.number)
	f.Name = string(l.message)
	if descriptor == nil {
		return f
	}
	if field := descriptor.Fields().ByNumber(l.number); field != nil {
		f.Rule, f.Message = "stored-type", fmt.Sprintf("field %d (%s) is %s, and %s is stored there", l.number, field.Name(), typeName(field), wireNames[l.wire])
		f.Effect = fmt.Sprintf("the %s of %s cannot be read", field.Name(), events)
		f.Advice = fmt.Sprintf("give the field %d the type that it had, and the new one a number of its own: %d", l.number, nextNumber(descriptor))
		return s.of(f, field)
	}
	f.Rule, f.Message = "stored-field", fmt.Sprintf("%s has no field %d, and %s is stored there", l.message, l.number, wireNames[l.wire])
	f.Effect = fmt.Sprintf("the field %d of %s is not read", l.number, events)
	f.Advice = fmt.Sprintf("write the field again, or \"reserved %d;\" if it is not wanted any more", l.number)
	return s.of(f, descriptor)
}

// find returns a message of the project, or one that is linked into angz.
func (s *Schema) find(name protoreflect.FullName) protoreflect.MessageDescriptor {
	if message := s.messages[name]; message != nil {
		return message
	}
	descriptor, err := protoregistry.GlobalFiles.FindDescriptorByName(name)
	if err != nil {
		return nil
	}
	message, _ := descriptor.(protoreflect.MessageDescriptor)
	return message
}
