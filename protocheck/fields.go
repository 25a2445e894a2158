package protocheck

import (
	"fmt"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// field compares a field with the one that has its number now.
func (c *comparison) field(old, now protoreflect.FieldDescriptor) {
	owner := old.ContainingMessage().FullName()
	before := len(c.findings)
	switch {
	case old.IsMap() != now.IsMap():
		c.changed(old, now, fmt.Sprintf("the %s of %s cannot be read, or read as something else", old.Name(), c.subject(owner)))
	case old.IsMap():
		c.element(old, now, old.MapKey(), now.MapKey())
		c.element(old, now, old.MapValue(), now.MapValue())
	default:
		c.element(old, now, old, now)
		c.cardinality(old, now)
	}
	for _, f := range c.findings[before:] {
		if f.Severity == Error && f.number == int(old.Number()) {
			return // the rest follows from it
		}
	}
	c.presence(old, now)
	c.name(old, now)
}

// changed reports that a field is of another type.
func (c *comparison) changed(old, now protoreflect.FieldDescriptor, effect string) {
	c.report(Finding{Rule: "field-type", number: int(old.Number()), Effect: effect,
		Message: fmt.Sprintf("field %d (%s) was %s and is now %s", old.Number(), named(old, now), typeName(old), typeName(now)),
		Advice: fmt.Sprintf("write %q again, and give the new field a number of its own: %d",
			declaration(old), nextNumber(old.ContainingMessage(), now.ContainingMessage())),
	}, old, now, old.ContainingMessage().FullName())
}

// named is the name of a field, with the one it has now if that is another.
func named(old, now protoreflect.FieldDescriptor) string {
	if old.Name() == now.Name() {
		return string(old.Name())
	}
	return fmt.Sprintf("%s, now %s", old.Name(), now.Name())
}

// element compares what a field, or each element of a list or map, is.
func (c *comparison) element(old, now, was, is protoreflect.FieldDescriptor) {
	owner := old.ContainingMessage().FullName()
	conversion := convert(was.Kind(), is.Kind())
	switch {
	case !conversion.readable && conversion.sameWire:
		c.changed(old, now, fmt.Sprintf("the %s of %s reads as something else, or the events cannot be read at all", old.Name(), c.subject(owner)))
		return
	case !conversion.readable:
		c.changed(old, now, fmt.Sprintf("the %s of %s cannot be read", old.Name(), c.subject(owner)))
		return
	case conversion.loss != "":
		c.report(Finding{Rule: "field-narrowed", Severity: Warning, number: int(old.Number()),
			Message: fmt.Sprintf("field %d (%s) was %s and is now %s", old.Number(), named(old, now), typeName(old), typeName(now)),
			Effect:  fmt.Sprintf("in the %s of %s %s", old.Name(), c.subject(owner), conversion.loss),
			Advice:  fmt.Sprintf("write %q again, unless no such value can be stored", declaration(old))}, old, now, owner)
	case !conversion.json:
		c.report(Finding{Rule: "json-type", Severity: Warning, number: int(old.Number()),
			Message: fmt.Sprintf("field %d (%s) was %s and is now %s, which JSON writes in another way", old.Number(), named(old, now), typeName(old), typeName(now)),
			Effect:  "events are read as before, but exports and seeds that were made before are not",
			Advice:  fmt.Sprintf("write %q again, or make exports and seeds anew", declaration(old))}, old, now, owner)
	}
	switch {
	case was.Enum() != nil && is.Enum() != nil:
		c.enum(was.Enum(), is.Enum())
	case was.Message() != nil && is.Message() != nil && was.Message().FullName() != is.Message().FullName():
		c.replaced(old, now, was.Message(), is.Message())
	}
}

// replaced compares a part with the message of another name that it is now,
// which matters only if that reads otherwise.
func (c *comparison) replaced(old, now protoreflect.FieldDescriptor, was, is protoreflect.MessageDescriptor) {
	inner := &comparison{before: c.before, after: c.after, options: c.options, kept: c.kept, seen: c.seen}
	inner.message(was, is)
	if Count(inner.findings, Error) == 0 {
		return
	}
	owner := old.ContainingMessage().FullName()
	c.changed(old, now, fmt.Sprintf("the %s of %s reads as something else: %s", old.Name(), c.subject(owner), inner.findings[0].Message))
}

// cardinality compares single fields with lists.
func (c *comparison) cardinality(old, now protoreflect.FieldDescriptor) {
	owner := old.ContainingMessage().FullName()
	switch shape := shapes[old.Kind()]; {
	case old.IsList() == now.IsList():
	case now.IsList():
		c.report(Finding{Rule: "json-type", Severity: Warning, number: int(old.Number()),
			Message: fmt.Sprintf("field %d (%s) was %s and is now %s, which JSON writes in another way", old.Number(), named(old, now), typeName(old), typeName(now)),
			Effect:  "events are read as before, but exports and seeds that were made before are not",
			Advice:  "make exports and seeds anew"}, old, now, owner)
	case shape.group == text || shape.group == message || shape.group == groupField:
		c.changed(old, now, fmt.Sprintf("of the %s of %s all but the last are lost", old.Name(), c.subject(owner)))
	default:
		c.changed(old, now, fmt.Sprintf("the %s of %s cannot be read", old.Name(), c.subject(owner)))
	}
}

// presence compares whether a field can be told to be missing.
func (c *comparison) presence(old, now protoreflect.FieldDescriptor) {
	plain := func(field protoreflect.FieldDescriptor) bool { return !field.IsList() && field.Message() == nil }
	if !plain(old) || !plain(now) || old.HasPresence() == now.HasPresence() {
		return
	}
	owner := old.ContainingMessage().FullName()
	effect := fmt.Sprintf("%s that have no %s read as if it were 0 or empty", c.subject(owner), old.Name())
	if now.HasPresence() {
		effect = fmt.Sprintf("%s whose %s is 0 or empty read as if they had none", c.subject(owner), old.Name())
	}
	c.report(Finding{Rule: "field-presence", Severity: Warning, number: int(old.Number()), Effect: effect,
		Message: fmt.Sprintf("field %d (%s) %s", old.Number(), named(old, now), map[bool]string{true: "can be missing now", false: "cannot be told to be missing any more"}[now.HasPresence()]),
		Advice:  "see that the code treats a missing value and an empty one alike"}, old, now, owner)
}

// name compares what a field is called, in JSON most of all.
func (c *comparison) name(old, now protoreflect.FieldDescriptor) {
	if old.JSONName() == now.JSONName() && old.Name() == now.Name() {
		return
	}
	owner := old.ContainingMessage().FullName()
	if old.Name() == now.Name() {
		c.report(Finding{Rule: "json-name", Severity: Warning, number: int(old.Number()),
			Message: fmt.Sprintf("field %d (%s) is called %q in JSON now and was %q", old.Number(), old.Name(), now.JSONName(), old.JSONName()),
			Effect:  "events are read as before, but exports and seeds that were made before are not",
			Advice:  fmt.Sprintf("write [json_name = %q], or make exports and seeds anew", old.JSONName())}, old, now, owner)
		return
	}
	c.report(Finding{Rule: "field-renamed", Severity: Warning, number: int(old.Number()),
		Message: fmt.Sprintf("field %d was %s and is %s now", old.Number(), old.Name(), now.Name()),
		Effect:  fmt.Sprintf("the %s of %s reads as %s; exports and seeds that were made before are not read", old.Name(), c.subject(owner), now.Name()),
		Advice: fmt.Sprintf("if it still means the same, make exports and seeds anew; if not, write %q again and give the new field a number of its own: %d",
			declaration(old), nextNumber(old.ContainingMessage(), now.ContainingMessage()))}, old, now, owner)
}

// enum compares the values of an enum with what they are now.
func (c *comparison) enum(old, now protoreflect.EnumDescriptor) {
	pair := [2]protoreflect.FullName{old.FullName(), now.FullName()}
	if c.seen[pair] {
		return
	}
	c.seen[pair] = true
	for i := range old.Values().Len() {
		value := old.Values().Get(i)
		is := valueOf(now, value)
		f := Finding{number: int(value.Number())}
		switch moved := now.Values().ByName(value.Name()); {
		case is != nil && is.Name() == value.Name():
		case is != nil && moved != nil:
			f.Rule, f.Message = "enum-value-number", fmt.Sprintf("%s had the number %d, which is now %s", value.Name(), value.Number(), is.Name())
			f.Effect = fmt.Sprintf("%s that say %s read as %s", c.subject(old.FullName()), value.Name(), is.Name())
			f.Advice = fmt.Sprintf("write \"%s = %d;\" again, and give new values new numbers", value.Name(), value.Number())
			c.report(f, value, is, old.FullName())
		case is != nil:
			f.Rule, f.Severity, f.Message = "enum-value-renamed", Warning, fmt.Sprintf("the value %d was %s and is %s now", value.Number(), value.Name(), is.Name())
			f.Effect = fmt.Sprintf("%s that say %s read as %s; exports and seeds that were made before are not read", c.subject(old.FullName()), value.Name(), is.Name())
			f.Advice = fmt.Sprintf("if it means something else, write \"%s = %d;\" again and give the new value a new number", value.Name(), value.Number())
			c.report(f, value, is, old.FullName())
		case moved != nil:
			f.Rule, f.Message = "enum-value-number", fmt.Sprintf("%s had the number %d and has %d now", value.Name(), value.Number(), moved.Number())
			f.Effect = fmt.Sprintf("%s that say %s read as the number %d, which has no name", c.subject(old.FullName()), value.Name(), value.Number())
			f.Advice = fmt.Sprintf("write \"%s = %d;\" again", value.Name(), value.Number())
			c.report(f, value, moved, old.FullName())
		case !reserves(now, value.Number()):
			f.Rule, f.Message = "enum-value-removed", fmt.Sprintf("the value %s (%d) was removed, and its number is not reserved", value.Name(), value.Number())
			f.Effect = fmt.Sprintf("%s that say %s read as the number %d, which has no name, or as a new value that takes it", c.subject(old.FullName()), value.Name(), value.Number())
			f.Advice = fmt.Sprintf("write \"reserved %d;\" and \"reserved \\\"%s\\\";\" in its place, or keep the value and mark it [deprecated = true]", value.Number(), value.Name())
			c.report(f, value, nil, old.FullName())
		}
	}
}

// valueOf returns the value that has another one's number: the one of the same
// name, if there are several.
func valueOf(enum protoreflect.EnumDescriptor, old protoreflect.EnumValueDescriptor) protoreflect.EnumValueDescriptor {
	if same := enum.Values().ByName(old.Name()); same != nil && same.Number() == old.Number() {
		return same
	}
	return enum.Values().ByNumber(old.Number())
}

func reserves(enum protoreflect.EnumDescriptor, number protoreflect.EnumNumber) bool {
	return enum.ReservedRanges().Has(number)
}
