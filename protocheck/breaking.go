package protocheck

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
)

// Options say how two schemas are compared.
type Options struct {
	// All counts messages that are not stored, such as commands, as if they were.
	All bool
	// Stored is what an event store has; nil when that is not known.
	Stored *Tally
}

// Compare finds what messages that were written by the schema before would lose
// or read wrongly by the one after. What concerns no message that is stored is a
// warning at most. Stored messages are those marked as events or states, and what
// a store has; where neither says anything, every message counts.
func Compare(before, after *Schema, options Options) []Finding {
	c := &comparison{before: before, after: after, options: options, kept: map[protoreflect.FullName][]string{}, seen: map[[2]protoreflect.FullName]bool{}}
	for _, root := range c.roots() {
		c.keep(before.messages[root], string(root), map[protoreflect.FullName]bool{})
	}
	for _, name := range slices.Sorted(maps.Keys(before.messages)) {
		old := before.messages[name]
		if now := after.messages[name]; now != nil {
			c.message(old, now)
		} else {
			c.gone(old)
		}
	}
	return sorted(c.findings)
}

type comparison struct {
	before, after *Schema
	options       Options
	// kept lists, for each message and enum before, the stored types that it is
	// a part of.
	kept     map[protoreflect.FullName][]string
	seen     map[[2]protoreflect.FullName]bool
	findings []Finding
}

// roots returns the messages that are stored, sorted.
func (c *comparison) roots() []protoreflect.FullName {
	var roots, all []protoreflect.FullName
	for name, message := range c.before.messages {
		_, outermost := message.Parent().(protoreflect.FileDescriptor)
		if outermost {
			all = append(all, name)
		}
		if isKept(kind(message)) || c.options.Stored.has(name) {
			roots = append(roots, name)
		}
	}
	if roots == nil && c.options.Stored == nil {
		roots = all
	}
	slices.Sort(roots)
	return roots
}

// keep notes that a message and what it consists of are parts of a stored type.
func (c *comparison) keep(message protoreflect.MessageDescriptor, root string, seen map[protoreflect.FullName]bool) {
	if seen[message.FullName()] {
		return
	}
	seen[message.FullName()] = true
	c.kept[message.FullName()] = append(c.kept[message.FullName()], root)
	for i := range message.Fields().Len() {
		field := message.Fields().Get(i)
		if part := field.Message(); part != nil {
			c.keep(part, root, seen)
		}
		if enum := field.Enum(); enum != nil && !seen[enum.FullName()] {
			seen[enum.FullName()] = true
			c.kept[enum.FullName()] = append(c.kept[enum.FullName()], root)
		}
	}
}

// report adds a finding about a part of the schema after, or of the one before
// if now is nil. owner is the message or enum, as it was, that it is about.
func (c *comparison) report(f Finding, old, now protoreflect.Descriptor, owner protoreflect.FullName) {
	f.Types = c.kept[owner]
	f.Events = c.options.Stored.events(f.Types)
	f.Severity = cmp.Or(f.Severity, Error)
	if f.Severity == Error && len(f.Types) == 0 && !c.options.All {
		f.Severity = Warning
	}
	if len(f.Types) == 0 {
		f.Effect = ""
	}
	f.Name, f.message = string(old.FullName()), string(owner)
	if now != nil {
		f = c.after.of(f, now)
	} else {
		f = c.before.of(f, old)
	}
	c.findings = append(c.findings, f)
}

// subject names what is stored of types that something is a part of.
func (c *comparison) subject(owner protoreflect.FullName) string {
	return counted(c.options.Stored.events(c.kept[owner]))
}

// counted is a number of events, and of the snapshots beside them, in words.
func counted(n uint64) string {
	switch n {
	case 0:
		return "stored events"
	case 1:
		return "1 stored event"
	}
	return fmt.Sprintf("%d stored events", n)
}

// gone reports a message that is not there any more, unless it was only a part of
// others: then their fields tell.
func (c *comparison) gone(old protoreflect.MessageDescriptor) {
	types := c.kept[old.FullName()]
	root := slices.Contains(types, string(old.FullName()))
	if _, outermost := old.Parent().(protoreflect.FileDescriptor); !root && (len(types) > 0 || !outermost) {
		return
	}
	f := Finding{Rule: "message-removed", Message: fmt.Sprintf("the message %s was removed", old.FullName()),
		Effect: fmt.Sprintf("%s of this type cannot be read, they name it", c.subject(old.FullName())),
		Advice: "keep the message and what reads it; what is written from now on may be another one",
	}
	if twin := c.twin(old); twin != "" {
		f.Message = fmt.Sprintf("the message %s was removed, or renamed to %s", old.FullName(), twin)
		f.Advice = fmt.Sprintf("keep the message %s beside %s: stored events are of the type under whose name they were stored", old.Name(), twin)
	}
	c.report(f, old, nil, old.FullName())
}

// twin returns the full name of a new message that has the same fields, empty
// when there is none.
func (c *comparison) twin(old protoreflect.MessageDescriptor) protoreflect.FullName {
	for _, name := range slices.Sorted(maps.Keys(c.after.messages)) {
		if now := c.after.messages[name]; c.before.messages[name] == nil && old.Fields().Len() > 0 && sameFields(old, now) {
			return name
		}
	}
	return ""
}

func sameFields(old, now protoreflect.MessageDescriptor) bool {
	if old.Fields().Len() != now.Fields().Len() || kind(old) != kind(now) {
		return false
	}
	for i := range old.Fields().Len() {
		a := old.Fields().Get(i)
		b := now.Fields().ByNumber(a.Number())
		if b == nil || a.Name() != b.Name() || a.Kind() != b.Kind() || a.Cardinality() != b.Cardinality() {
			return false
		}
	}
	return true
}

// message compares a message with what it is now.
func (c *comparison) message(old, now protoreflect.MessageDescriptor) {
	pair := [2]protoreflect.FullName{old.FullName(), now.FullName()}
	if c.seen[pair] {
		return
	}
	c.seen[pair] = true
	if old.FullName() == now.FullName() {
		c.use(old, now)
	}
	for i := range old.Fields().Len() {
		field := old.Fields().Get(i)
		if is := now.Fields().ByNumber(field.Number()); is != nil {
			c.field(field, is)
		} else {
			c.removed(field, now)
		}
	}
	for i := range now.Fields().Len() {
		field := now.Fields().Get(i)
		if was := old.Fields().ByNumber(field.Number()); field.Cardinality() == protoreflect.Required && (was == nil || was.Cardinality() != protoreflect.Required) {
			c.report(Finding{Rule: "field-required", Message: fmt.Sprintf("field %d (%s) is required now", field.Number(), field.Name()),
				Effect: c.subject(old.FullName()) + " without it cannot be read", Advice: "write optional instead of required",
				number: int(field.Number())}, field, field, old.FullName())
		}
	}
	for i := range now.Oneofs().Len() {
		c.oneof(old, now.Oneofs().Get(i))
	}
}

// use compares what a message is to its domain.
func (c *comparison) use(old, now protoreflect.MessageDescriptor) {
	was, is := kind(old), kind(now)
	if was != is && was != pb.Kind_KIND_UNSPECIFIED {
		to := "is marked as nothing now"
		if is != pb.Kind_KIND_UNSPECIFIED {
			to = "is now marked " + kindName(is)
		}
		c.report(Finding{Rule: "kind-changed", Message: fmt.Sprintf("%s was marked %s and %s", old.Name(), kindName(was), to),
			Effect: fmt.Sprintf("the code that is generated has no function for %s of this type", c.subject(old.FullName())),
			Advice: fmt.Sprintf("write option (angzarr.kind) = %s; again, and make another message for the other purpose", was)}, old, now, old.FullName())
	}
	if was, is := domain(old.ParentFile()), domain(now.ParentFile()); was != "" && was != is && kind(old) != pb.Kind_KIND_UNSPECIFIED {
		c.report(Finding{Rule: "domain-changed", Message: fmt.Sprintf("%s was a message of the domain %q and is one of %q now", old.Name(), was, is),
			Effect: fmt.Sprintf("%s stay in the domain %q, whose code does not know them any more", c.subject(old.FullName()), was),
			Advice: fmt.Sprintf("keep the message in the domain %q, and make another one for %q", was, is)}, old, now, old.FullName())
	}
}

// removed reports a field whose number is not in use any more.
func (c *comparison) removed(old protoreflect.FieldDescriptor, now protoreflect.MessageDescriptor) {
	owner := old.ContainingMessage().FullName()
	what := fmt.Sprintf("field %d (%s)", old.Number(), old.Name())
	moved := now.Fields().ByName(old.Name())
	byNumber, byName := now.ReservedRanges().Has(old.Number()), now.ReservedNames().Has(old.Name())
	f := Finding{number: int(old.Number())}
	switch {
	case moved != nil:
		f.Rule, f.Message = "field-number", fmt.Sprintf("field %s had the number %d and has %d now", old.Name(), old.Number(), moved.Number())
		f.Effect = fmt.Sprintf("the %s of %s cannot be read", old.Name(), c.subject(owner))
		f.Advice = fmt.Sprintf("write %q again", declaration(old))
		c.report(f, old, moved, owner)
		return
	case !byNumber:
		f.Rule, f.Message = "field-removed", what+" was removed, and its number is not reserved"
		f.Effect = fmt.Sprintf("the %s of %s is not read any more, and a new field with the number %d would take it for its own", old.Name(), c.subject(owner), old.Number())
		f.Advice = fmt.Sprintf("write \"reserved %d;\" and \"reserved \\\"%s\\\";\" in its place, or keep the field and mark it [deprecated = true]", old.Number(), old.Name())
	case !byName:
		f.Rule, f.Severity, f.Message = "field-name-reserved", Warning, what+" was removed, and its name is not reserved"
		f.Effect = fmt.Sprintf("JSON of it, in exports and seeds, would be read by a new field %s", old.Name())
		f.Advice = fmt.Sprintf("write \"reserved \\\"%s\\\";\" in the message", old.Name())
	default:
		return
	}
	c.report(f, old, nil, owner)
}

// oneof finds fields that could be set together and cannot any more.
func (c *comparison) oneof(old protoreflect.MessageDescriptor, now protoreflect.OneofDescriptor) {
	if now.IsSynthetic() {
		return
	}
	together := map[protoreflect.FullName]bool{} // the oneofs, or fields, that its fields were
	var moved protoreflect.FieldDescriptor
	for i := range now.Fields().Len() {
		was := old.Fields().ByNumber(now.Fields().Get(i).Number())
		switch {
		case was == nil:
		case was.ContainingOneof() != nil && !was.ContainingOneof().IsSynthetic():
			together[was.ContainingOneof().FullName()] = true
		default:
			together[was.FullName()] = true
			moved = now.Fields().Get(i)
		}
	}
	if len(together) < 2 {
		return
	}
	about := protoreflect.Descriptor(now)
	if moved != nil {
		about = moved
	}
	c.report(Finding{Rule: "oneof-moved", Message: fmt.Sprintf("the oneof %s has fields now that could be set together", now.Name()),
		Effect: fmt.Sprintf("of %s that have several of them, all but the last are lost", c.subject(old.FullName())),
		Advice: "leave the fields where they were, and put new ones into the oneof"}, about, about, old.FullName())
}
