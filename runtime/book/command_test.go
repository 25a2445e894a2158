package book_test

import (
	"slices"
	"testing"

	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"pgregory.net/rapid"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
)

// createCustomer is examples.CreateCustomer{1: "Alice", 2: "alice@example.com"}.
func createCustomer() []byte {
	return slices.Concat(field(1, []byte("Alice")), field(2, []byte("alice@example.com")))
}

// field returns one field of a message as it travels.
func field(number protowire.Number, value []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), value)
}

func vectorCommand() *pb.CommandBook {
	return &pb.CommandBook{
		Cover: &pb.Cover{Domain: "customer", Root: &pb.UUID{Value: counting[:]}},
		Pages: []*pb.CommandPage{{Command: &anypb.Any{TypeUrl: "type.googleapis.com/examples.CreateCustomer", Value: createCustomer()}}},
	}
}

func TestCorrelationIDsAreThoseOfTheContract(t *testing.T) {
	t.Parallel()
	flagged := vectorCommand()
	flagged.AutoResequence, flagged.Fact = true, true
	orders := &pb.CommandBook{Cover: &pb.Cover{Domain: "orders", Root: &pb.UUID{Value: slices.Repeat([]byte{1}, 16)}}}
	named := vectorCommand()
	named.CorrelationId = "mine"
	for _, test := range []struct {
		what    string
		command *pb.CommandBook
		want    string
	}{
		{"one page", vectorCommand(), "382b20ee-b5ef-5c15-9046-278e030912f8"},
		{"flags", flagged, "78410e43-fcf1-557c-9753-dae97b9a4b9f"},
		{"no pages", orders, "9f4c7ce4-1a1b-5c0c-a286-db56a66c76ef"},
		{"one that is given", named, "mine"},
	} {
		before := proto.Clone(test.command)
		if got, err := book.CorrelationID(test.command); err != nil || got != test.want {
			t.Errorf("%s: got %q, %v, want %q", test.what, got, err, test.want)
		}
		same(t, test.what+": the command afterwards", before, test.command)
	}
}

// Other implementations may order and shape what they send as the encoding
// allows. The id is that of the canonical encoding.
func TestCorrelationIDsDoNotDependOnHowTheBookTravelled(t *testing.T) {
	t.Parallel()
	root, domain := field(1, field(1, counting[:])), field(2, []byte("customer"))
	typeURL, value := field(1, []byte("type.googleapis.com/examples.CreateCustomer")), field(2, createCustomer())
	zero := func(number protowire.Number) []byte {
		return protowire.AppendVarint(protowire.AppendTag(nil, number, protowire.VarintType), 0)
	}
	page := field(2, field(3, slices.Concat(typeURL, value)))
	shapes := map[string][]byte{
		"canonical":               slices.Concat(field(1, slices.Concat(root, domain)), page),
		"domain before root":      slices.Concat(field(1, slices.Concat(domain, root)), page),
		"pages before cover":      slices.Concat(page, field(1, slices.Concat(root, domain))),
		"cover in two parts":      slices.Concat(field(1, domain), page, field(1, root)),
		"value before type":       slices.Concat(field(1, slices.Concat(root, domain)), field(2, field(3, slices.Concat(value, typeURL)))),
		"defaults written out":    slices.Concat(field(1, slices.Concat(root, domain)), field(2, slices.Concat(zero(1), field(3, slices.Concat(typeURL, value)))), field(3, nil), zero(5), zero(6)),
		"a domain that is undone": slices.Concat(field(1, slices.Concat(field(2, []byte("other")), root, domain)), page),
		"a tag longer than need":  slices.Concat([]byte{0x8a, 0x00}, protowire.AppendBytes(nil, slices.Concat(root, domain)), page),
	}
	for shape, data := range shapes {
		command := &pb.CommandBook{}
		if err := proto.Unmarshal(data, command); err != nil {
			t.Fatalf("%s: %v", shape, err)
		}
		if got, err := book.CorrelationID(command); err != nil || got != "382b20ee-b5ef-5c15-9046-278e030912f8" {
			t.Errorf("%s: got %s, %v", shape, got, err)
		}
	}
}

func TestEverythingInACommandChangesItsCorrelationID(t *testing.T) {
	t.Parallel()
	changes := map[string]func(*pb.CommandBook){
		"domain":          func(c *pb.CommandBook) { c.Cover.Domain = "customers" },
		"root":            func(c *pb.CommandBook) { c.Cover.Root.Value = slices.Repeat([]byte{9}, 16) },
		"aggregate_id":    func(c *pb.CommandBook) { c.Cover.AggregateId = "alice" },
		"sequence":        func(c *pb.CommandBook) { c.Pages[0].Sequence = 1 },
		"type":            func(c *pb.CommandBook) { c.Pages[0].Command.TypeUrl = "examples.CreateCustomer" },
		"value":           func(c *pb.CommandBook) { c.Pages[0].Command.Value = nil },
		"another page":    func(c *pb.CommandBook) { c.Pages = append(c.Pages, c.Pages[0]) },
		"auto_resequence": func(c *pb.CommandBook) { c.AutoResequence = true },
		"fact":            func(c *pb.CommandBook) { c.Fact = true },
		"idempotency_key": func(c *pb.CommandBook) { c.IdempotencyKey = "k" },
		"saga_origin":     func(c *pb.CommandBook) { c.SagaOrigin = &pb.SagaCommandOrigin{} },
		"unknown field":   func(c *pb.CommandBook) { c.ProtoReflect().SetUnknown(field(77, []byte("x"))) },
	}
	seen := map[string]string{"382b20ee-b5ef-5c15-9046-278e030912f8": "nothing"}
	for what, change := range changes {
		command := vectorCommand()
		change(command)
		id, err := book.CorrelationID(command)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if other, taken := seen[id]; taken {
			t.Errorf("changing %s gives the same id as changing %s", what, other)
		}
		seen[id] = what
	}
}

func TestACommandNamesItsFaults(t *testing.T) {
	t.Parallel()
	want, err := book.CheckCommand(vectorCommand())
	if err != nil {
		t.Fatal(err)
	}
	same(t, "key", book.Key{Domain: "customer", Root: counting}, want)
	for _, test := range []struct {
		what   string
		change func(*pb.CommandBook)
		want   book.Invalid
	}{
		{"no cover", func(c *pb.CommandBook) { c.Cover = nil }, book.Invalid{Field: "cover", Found: "nothing", Want: "the aggregate's domain and root"}},
		{"no root", func(c *pb.CommandBook) { c.Cover.Root = nil }, book.Invalid{Field: "cover.root", Found: "nothing", Want: "16 bytes, or an aggregate_id instead"}},
		{"no pages", func(c *pb.CommandBook) { c.Pages = nil }, book.Invalid{Field: "pages", Found: "no pages", Want: "at least one command page"}},
		{"no command in a page", func(c *pb.CommandBook) { c.Pages = append(c.Pages, &pb.CommandPage{}) },
			book.Invalid{Field: "pages[1].command", Found: "nothing", Want: "a command in a google.protobuf.Any"}},
		{"a nil page", func(c *pb.CommandBook) { c.Pages = []*pb.CommandPage{nil} },
			book.Invalid{Field: "pages[0].command", Found: "nothing", Want: "a command in a google.protobuf.Any"}},
	} {
		command := vectorCommand()
		test.change(command)
		_, err := book.CheckCommand(command)
		same(t, test.what, &test.want, invalid(t, err))
	}
	_, err = book.CheckCommand(nil)
	same(t, "nothing at all", "cover", invalid(t, err).Field)
}

// origin is the provenance of the command that the saga "s" sends because of
// number 7 of customer 00010203….
func origin() *pb.SagaCommandOrigin {
	return &pb.SagaCommandOrigin{
		SagaName: "s", TriggeringAggregate: &pb.Cover{Domain: "customer", Root: &pb.UUID{Value: counting[:]}}, TriggeringEventSequence: 7,
	}
}

func TestARepeatedRequestHasTheSameID(t *testing.T) {
	t.Parallel()
	key := book.Key{Domain: "orders", Root: counting}
	for what, command := range map[string]*pb.CommandBook{
		"idempotency key": {IdempotencyKey: "k"},
		"saga":            {SagaOrigin: origin()},
	} {
		first, repeatable := book.CommandID(key, command)
		if !repeatable {
			t.Errorf("%s: not repeatable", what)
		}
		// What else the command says does not matter: a saga may word its
		// command anew after a restart.
		command.Pages, command.CorrelationId = vectorCommand().Pages, "c"
		if second, _ := book.CommandID(key, command); second != first {
			t.Errorf("%s: %s, then %s", what, first, second)
		}
	}
	first, repeatable := book.CommandID(key, &pb.CommandBook{})
	second, _ := book.CommandID(key, &pb.CommandBook{})
	if repeatable || first == second {
		t.Errorf("two commands that say nothing of being repeated have the ids %s and %s", first, second)
	}
}

func TestDifferentRequestsHaveDifferentIDs(t *testing.T) {
	t.Parallel()
	key := book.Key{Domain: "orders", Root: counting}
	changed := func(change func(*pb.SagaCommandOrigin)) *pb.CommandBook {
		changed := origin()
		change(changed)
		return &pb.CommandBook{SagaOrigin: changed}
	}
	requests := map[string]*pb.CommandBook{
		"key k":          {IdempotencyKey: "k"},
		"key l":          {IdempotencyKey: "l"},
		"saga":           {SagaOrigin: origin()},
		"another saga":   changed(func(o *pb.SagaCommandOrigin) { o.SagaName = "t" }),
		"another event":  changed(func(o *pb.SagaCommandOrigin) { o.TriggeringEventSequence = 8 }),
		"another index":  changed(func(o *pb.SagaCommandOrigin) { o.CommandIndex = 1 }),
		"another domain": changed(func(o *pb.SagaCommandOrigin) { o.TriggeringAggregate.Domain = "order" }),
		"another root":   changed(func(o *pb.SagaCommandOrigin) { o.TriggeringAggregate.Root.Value = slices.Repeat([]byte{1}, 16) }),
		"a named source": changed(func(o *pb.SagaCommandOrigin) { o.TriggeringAggregate = &pb.Cover{Domain: "customer", AggregateId: "a"} }),
		"another name":   changed(func(o *pb.SagaCommandOrigin) { o.TriggeringAggregate = &pb.Cover{Domain: "customer", AggregateId: "b"} }),
	}
	seen := map[uuid.UUID]string{}
	for what, command := range requests {
		id, repeatable := book.CommandID(key, command)
		elsewhere, _ := book.CommandID(book.Key{Domain: "order", Root: counting}, command)
		if other, taken := seen[id]; taken || !repeatable || elsewhere == id {
			t.Errorf("%s: id %s, repeatable %t, taken by %q, elsewhere %s", what, id, repeatable, other, elsewhere)
		}
		seen[id] = what
	}
}

// The same source may be named in one delivery and not in the next, once angz
// has learnt its name.
func TestASourceIsTheSameWhateverItsCoverLooksLike(t *testing.T) {
	t.Parallel()
	key := book.Key{Domain: "orders", Root: counting}
	id := func(cover *pb.Cover) uuid.UUID {
		from := origin()
		from.TriggeringAggregate = cover
		id, repeatable := book.CommandID(key, &pb.CommandBook{SagaOrigin: from})
		if !repeatable {
			t.Errorf("%v: not repeatable", cover)
		}
		return id
	}
	root := book.Root("customer", "alice")
	want := id(&pb.Cover{Domain: "customer", Root: &pb.UUID{Value: root[:]}})
	for what, cover := range map[string]*pb.Cover{
		"root and name": {Domain: "customer", Root: &pb.UUID{Value: root[:]}, AggregateId: "alice"},
		"name":          {Domain: "customer", AggregateId: "alice"},
	} {
		if got := id(cover); got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
}

func TestAnUnknownSourceNamesNoRepetition(t *testing.T) {
	t.Parallel()
	for what, cover := range map[string]*pb.Cover{
		"none": nil, "no root": {Domain: "customer"}, "half a root": {Domain: "customer", Root: &pb.UUID{Value: counting[:8]}},
	} {
		from := origin()
		from.TriggeringAggregate = cover
		if _, repeatable := book.CommandID(book.Key{Domain: "orders"}, &pb.CommandBook{SagaOrigin: from}); repeatable {
			t.Errorf("%s: commands of different aggregates would count as one", what)
		}
	}
}

func TestDerivedIDsDifferWhereTheirWordsDo(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.StringMatching(`[ab:0-9]{0,3}`), 0, 4)
		kind := rapid.SampledFrom([]string{"a", "ab"})
		kindA, a := kind.Draw(t, "kind a"), words.Draw(t, "a")
		kindB, b := kind.Draw(t, "kind b"), words.Draw(t, "b")
		alike := kindA == kindB && slices.Equal(a, b)
		if got := book.DerivedID(kindA, a...) == book.DerivedID(kindB, b...); got != alike {
			t.Errorf("%s %q and %s %q have the same id: %t", kindA, a, kindB, b, got)
		}
	})
}

// Ids that are stored must stay what they are in later versions.
func TestDerivedIDsStayWhatTheyAre(t *testing.T) {
	t.Parallel()
	key := book.Key{Domain: "orders", Root: counting}
	byKey, _ := book.CommandID(key, &pb.CommandBook{IdempotencyKey: "k"})
	bySaga, _ := book.CommandID(key, &pb.CommandBook{SagaOrigin: origin()})
	same(t, "ids", []string{"6c8ea5cd-1e78-5c4b-b9a2-26b0f0e39e55", "c4cb8cc8-eca9-5bd4-9db2-1c1b9a4d4a40"}, []string{byKey.String(), bySaga.String()})
}

func FuzzCheckCommand(f *testing.F) {
	f.Add(encoded(f, vectorCommand()))
	f.Add(encoded(f, &pb.CommandBook{Cover: vectorCommand().Cover, SagaOrigin: origin(), IdempotencyKey: "k"}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		command := &pb.CommandBook{}
		if proto.Unmarshal(data, command) != nil {
			return
		}
		key, err := book.CheckCommand(command)
		if err != nil {
			invalid(t, err)
			return
		}
		travelled := &pb.CommandBook{}
		if err := proto.Unmarshal(encoded(t, command), travelled); err != nil {
			t.Fatal(err)
		}
		first, err := book.CorrelationID(command)
		second, errLater := book.CorrelationID(travelled)
		if err != nil || errLater != nil || first == "" || first != second {
			t.Errorf("correlation %q, %v; after another hop %q, %v", first, err, second, errLater)
		}
		id, repeatable := book.CommandID(key, command)
		if again, _ := book.CommandID(key, travelled); repeatable && again != id {
			t.Errorf("id %s; after another hop %s", id, again)
		}
	})
}
