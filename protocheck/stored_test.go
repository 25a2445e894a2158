package protocheck_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/angz-dev/angz/protocheck"
)

const storedType = "type.googleapis.com/customer.Created"

// email is a stored Created whose field 2 is a text.
func email(text string) []byte {
	return protowire.AppendString(protowire.AppendTag(nil, 2, protowire.BytesType), text)
}

func tallyOf(payloads ...[]byte) *protocheck.Tally {
	tally := &protocheck.Tally{}
	for _, payload := range payloads {
		tally.Add(storedType, payload)
	}
	return tally
}

func TestWhatIsStoredIsRead(t *testing.T) {
	t.Parallel()
	part := protowire.AppendBytes(protowire.AppendTag(nil, 3, protowire.BytesType), email("inner"))
	for _, c := range []struct {
		name    string
		tally   *protocheck.Tally
		schema  string
		reads   bool
		message []string
	}{
		{"all", tallyOf(email("a")), event("string email = 2;"), true, nil},
		{"another type", tallyOf(email("a"), email("b")), event("int32 email = 2;"), false,
			[]string{"field 2 (email) is int32, and a text, bytes, message or packed list is stored there: the email of 2 stored events cannot be read"}},
		{"a field that is gone", tallyOf(email("a"), nil), event("string name = 1;"), false,
			[]string{"customer.Created has no field 2, and a text, bytes, message or packed list is stored there: the field 2 of 1 stored event is not read"}},
		{"a field that was given up", tallyOf(email("a")), event("reserved 2;"), true, nil},
		{"a part's field that is gone", tallyOf(part), event("message Part { string a = 1; } Part part = 3;"), false,
			[]string{"customer.Created.Part has no field 2, and a text, bytes, message or packed list is stored there: the field 2 of 1 stored event is not read"}},
		{"no such type", tallyOf(email("a")), file("message Other {}"), false,
			[]string{"no .proto file has the message customer.Created: 1 stored event of this type cannot be read"}},
		{"garbage", tallyOf([]byte("\xff")), event("string email = 2;"), false,
			[]string{"1 of 1 stored Created that were looked into are no customer.Created: 1 stored event cannot be read: cannot parse invalid wire-format data"}},
		{"no text", tallyOf(email("\xff")), event("string email = 2;"), false,
			[]string{"1 of 1 stored Created that were looked into are no customer.Created: 1 stored event cannot be read: field customer.Created.email contains invalid UTF-8"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			stored, findings := c.tally.Check(compile(t, c.schema), nil)
			if len(stored) != 1 || stored[0].Reads != c.reads || stored[0].Type != "customer.Created" {
				t.Errorf("%+v", stored)
			}
			var messages []string
			for _, f := range findings {
				messages = append(messages, f.Summary())
			}
			if !cmp.Equal(c.message, messages, spaces) {
				t.Error(cmp.Diff(c.message, messages, spaces))
			}
		})
	}
}

// spaces are varied by protobuf, so that nobody relies on its words.
var spaces = cmp.Transformer("spaces", func(text string) string {
	var kept []rune
	for _, r := range text {
		if r == '\u00a0' {
			r = ' '
		}
		kept = append(kept, r)
	}
	return string(kept)
})

// Of many events only the oldest and the newest are looked into, and how many are
// concerned is told from those.
func TestManyEventsAreSampled(t *testing.T) {
	t.Parallel()
	tally := &protocheck.Tally{}
	for i := range 10000 {
		if i < 5000 {
			tally.Add(storedType, email("a"))
		} else {
			tally.Add(storedType, nil)
		}
	}
	tally.AddState("type.googleapis.com/customer.Created", nil)
	stored, findings := tally.Check(compile(t, event("int32 email = 2;")), nil)
	want := []protocheck.Stored{{Type: "customer.Created", Events: 10000, States: 1, Looked: 40}}
	if !cmp.Equal(want, stored) {
		t.Error(cmp.Diff(want, stored))
	}
	if len(findings) != 1 || findings[0].Effect != "the email of about 5001 of 10001 stored events cannot be read" {
		t.Error(findings)
	}
}

// What the comparison of schemas has said is not said again.
func TestFindingsAreSaidOnce(t *testing.T) {
	t.Parallel()
	tally := tallyOf(email("a"))
	after := compile(t, event("int32 email = 2;"))
	findings := protocheck.Compare(compile(t, event("string email = 2;")), after, protocheck.Options{Stored: tally})
	if stored, all := tally.Check(after, findings); len(all) != 1 || stored[0].Reads {
		t.Error(stored, all)
	}
}

func FuzzCheck(f *testing.F) {
	f.Add([]byte("\x12\x01a"))
	f.Add([]byte("\x1a\x03\x12\x01a"))
	f.Add([]byte("\x0b\x0c"))
	schema := compile(f, event("string a = 1; map<string, Created> b = 2; repeated Created c = 3; bytes d = 4;"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		stored, findings := tallyOf(payload).Check(schema, nil)
		if len(stored) != 1 || stored[0].Reads != (len(findings) == 0) {
			t.Error(stored, findings)
		}
		for _, finding := range findings {
			_ = fmt.Sprint(finding)
		}
	})
}
