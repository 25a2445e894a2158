package book_test

import (
	"encoding/hex"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
)

// counting is the root 000102…0f.
var counting = uuid.MustParse("00010203-0405-0607-0809-0a0b0c0d0e0f")

// names are the published vectors for roots derived from names.
var names = []struct{ domain, name, root string }{
	{"customer", "alice@example.com", "b1019e12-b184-5695-b4bd-4fdab04e7322"},
	{"inventory", "prod-1", "a4575765-6ab1-5553-9525-c4963861c0d9"},
	{"customer", "b1019e12-b184-5695-b4bd-4fdab04e7322", "b1019e12-b184-5695-b4bd-4fdab04e7322"},
}

func TestANameLeadsToItsRootInEveryShape(t *testing.T) {
	t.Parallel()
	for _, name := range names {
		want := book.Key{Domain: name.domain, Root: uuid.MustParse(name.root)}
		if got := book.Root(name.domain, name.name); got != want.Root {
			t.Errorf("Root(%q, %q) = %s, want %s", name.domain, name.name, got, want.Root)
		}
		covers := map[string]*pb.Cover{
			"name only":          {Domain: name.domain, AggregateId: name.name},
			"name, empty root":   {Domain: name.domain, AggregateId: name.name, Root: &pb.UUID{}},
			"root only":          {Domain: name.domain, Root: &pb.UUID{Value: want.Root[:]}},
			"root as text":       {Domain: name.domain, AggregateId: name.root},
			"root before a name": {Domain: name.domain, Root: &pb.UUID{Value: want.Root[:]}, AggregateId: "another"},
		}
		for shape, cover := range covers {
			if got, err := book.KeyOf(cover); err != nil || got != want {
				t.Errorf("%s: KeyOf(%v) = %v, %v, want %v", shape, cover, got, err, want)
			}
			if got, err := book.KeyFrom(cover.Domain, cover.Root, cover.AggregateId); err != nil || got != want {
				t.Errorf("%s: KeyFrom(%v) = %v, %v, want %v", shape, cover, got, err, want)
			}
		}
	}
}

func TestAKeyNamesItsFaults(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		what  string
		cover *pb.Cover
		want  book.Invalid
	}{
		{"no cover", nil, book.Invalid{Field: "cover", Found: "nothing", Want: "the aggregate's domain and root"}},
		{"no domain", &pb.Cover{Root: &pb.UUID{Value: counting[:]}},
			book.Invalid{Field: "cover.domain", Found: "nothing", Want: `the name of a domain, such as "customer"`}},
		{"no root", &pb.Cover{Domain: "customer"},
			book.Invalid{Field: "cover.root", Found: "nothing", Want: "16 bytes, or an aggregate_id instead"}},
		{"an empty root", &pb.Cover{Domain: "customer", Root: &pb.UUID{}},
			book.Invalid{Field: "cover.root", Found: "nothing", Want: "16 bytes, or an aggregate_id instead"}},
		{"a short root", &pb.Cover{Domain: "customer", Root: &pb.UUID{Value: counting[:15]}},
			book.Invalid{Field: "cover.root.value", Found: "15 bytes", Want: "exactly 16 bytes"}},
		{"a root in text, beside a name", &pb.Cover{Domain: "customer", Root: &pb.UUID{Value: []byte(counting.String())}, AggregateId: "a"},
			book.Invalid{Field: "cover.root.value", Found: "36 bytes", Want: "exactly 16 bytes"}},
	} {
		_, err := book.KeyOf(test.cover)
		same(t, test.what, &test.want, invalid(t, err))
		if test.cover == nil {
			continue
		}
		_, err = book.KeyFrom(test.cover.Domain, test.cover.Root, test.cover.AggregateId)
		test.want.Field = test.want.Field[len("cover."):]
		same(t, test.what+", without a cover", &test.want, invalid(t, err))
	}
}

func TestAFaultReadsAsASentence(t *testing.T) {
	t.Parallel()
	_, err := book.KeyOf(&pb.Cover{Domain: "customer", Root: &pb.UUID{Value: []byte{1}}})
	same(t, "message", "cover.root.value: found 1 bytes, expected exactly 16 bytes", err.Error())
}

func TestACoverDoesNotShareItsRoot(t *testing.T) {
	t.Parallel()
	key := book.Key{Domain: "customer", Root: counting}
	cover := key.Cover("alice")
	same(t, "cover", &pb.Cover{Domain: "customer", Root: &pb.UUID{Value: counting[:]}, AggregateId: "alice"}, cover)
	cover.Root.Value[0] = 0xff
	same(t, "key", book.Key{Domain: "customer", Root: counting}, key)
	same(t, "text", "customer/00010203-0405-0607-0809-0a0b0c0d0e0f", key.String())
}

func TestOnlyNamesThatSayMoreThanTheRootAreKept(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"":                               "",
		"alice@example.com":              "alice@example.com",
		counting.String():                "",
		hex.EncodeToString(counting[:]):  hex.EncodeToString(counting[:]),
		"{" + counting.String() + "}":    "{" + counting.String() + "}",
		"urn:uuid:" + counting.String():  "urn:uuid:" + counting.String(),
		"00010203x0405x0607x0809x0a0b0c": "00010203x0405x0607x0809x0a0b0c",
	} {
		if got := book.Name(name); got != want {
			t.Errorf("Name(%q) = %q, want %q", name, got, want)
		}
		if isRoot := book.Root("d", name) == counting; isRoot != (name == counting.String()) {
			t.Errorf("Root(%q) is the root itself: %t", name, isRoot)
		}
	}
}

func TestATypeIsTheTextAfterTheLastSlash(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ url, full, short string }{
		{"type.googleapis.com/examples.CreateCustomer", "examples.CreateCustomer", "CreateCustomer"},
		{"type.examples/examples.CreateCustomer", "examples.CreateCustomer", "CreateCustomer"},
		{"type.angzarr/CreateCustomer", "CreateCustomer", "CreateCustomer"},
		{"examples.v1.CreateCustomer", "examples.v1.CreateCustomer", "CreateCustomer"},
		{"https://a.b/c/examples.CreateCustomer", "examples.CreateCustomer", "CreateCustomer"},
		{"CreateCustomer", "CreateCustomer", "CreateCustomer"},
		{"type.googleapis.com/", "", ""},
		{"", "", ""},
	} {
		if got := book.TypeName(test.url); got != test.full {
			t.Errorf("TypeName(%q) = %q, want %q", test.url, got, test.full)
		}
		if got := book.ShortName(test.url); got != test.short {
			t.Errorf("ShortName(%q) = %q, want %q", test.url, got, test.short)
		}
	}
}

func FuzzKeyOf(f *testing.F) {
	for _, name := range names {
		f.Add(encoded(f, &pb.Cover{Domain: name.domain, AggregateId: name.name}))
	}
	f.Add(encoded(f, book.Key{Domain: "customer", Root: counting}.Cover("alice")))
	f.Add(encoded(f, &pb.Cover{Domain: "customer", Root: &pb.UUID{Value: counting[:3]}}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		cover := &pb.Cover{}
		if proto.Unmarshal(data, cover) != nil {
			return
		}
		key, err := book.KeyOf(cover)
		if err != nil {
			invalid(t, err)
			return
		}
		if key.Domain == "" || key.Domain != cover.Domain {
			t.Errorf("the domain of %v is %q", cover, key.Domain)
		}
		// What angz sends out must lead back to the same aggregate.
		if back, err := book.KeyOf(key.Cover(cover.AggregateId)); err != nil || back != key {
			t.Errorf("%v leads to %v, %v", key, back, err)
		}
		if back, err := book.KeyOf(&pb.Cover{Domain: key.Domain, AggregateId: key.Root.String()}); err != nil || back != key {
			t.Errorf("the text of %v leads to %v, %v", key, back, err)
		}
		if separate, err := book.KeyFrom(cover.Domain, cover.Root, cover.AggregateId); err != nil || separate != key {
			t.Errorf("KeyFrom gives %v, %v where KeyOf gives %v", separate, err, key)
		}
	})
}

// invalid returns the error as the *book.Invalid that it has to be.
func invalid(t *testing.T, err error) *book.Invalid {
	t.Helper()
	var found *book.Invalid
	if !errors.As(err, &found) {
		t.Fatalf("got %v, want an *Invalid", err)
	}
	return found
}

func encoded(t testing.TB, message proto.Message) []byte {
	t.Helper()
	data, err := proto.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func same(t *testing.T, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}
