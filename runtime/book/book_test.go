package book_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
)

var root = []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}

// createCustomer is the first vector of the wire contract, encoded by hand so
// that it needs no example's schema.
func createCustomer() *pb.CommandBook {
	var payload []byte
	for number, text := range []string{1: "Alice", 2: "alice@example.com"} {
		if number > 0 {
			payload = protowire.AppendString(protowire.AppendTag(payload, protowire.Number(number), protowire.BytesType), text)
		}
	}
	return &pb.CommandBook{
		Cover: &pb.Cover{Domain: "customer", Root: &pb.UUID{Value: root}},
		Pages: []*pb.CommandPage{{Command: &anypb.Any{TypeUrl: "type.googleapis.com/examples.CreateCustomer", Value: payload}}},
	}
}

func TestCorrelationIDsAreThoseOfTheContract(t *testing.T) {
	t.Parallel()
	flagged := createCustomer()
	flagged.AutoResequence, flagged.Fact = true, true
	given := createCustomer()
	given.CorrelationId = "mine"
	for _, c := range []struct {
		name    string
		command *pb.CommandBook
		want    string
	}{
		{"a command", createCustomer(), "382b20ee-b5ef-5c15-9046-278e030912f8"},
		{"with flags", flagged, "78410e43-fcf1-557c-9753-dae97b9a4b9f"},
		{"without pages", &pb.CommandBook{Cover: &pb.Cover{Domain: "orders", Root: &pb.UUID{Value: []byte(strings.Repeat("\x01", 16))}}},
			"9f4c7ce4-1a1b-5c0c-a286-db56a66c76ef"},
		{"one given", given, "mine"},
	} {
		if got, err := book.CorrelationID(c.command); got != c.want || err != nil {
			t.Errorf("%s: got %q, %v, want %q", c.name, got, err, c.want)
		}
	}
}

func TestCorrelationIDsDoNotDependOnHowTheBookTravelled(t *testing.T) {
	t.Parallel()
	field := func(number protowire.Number, value ...byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), value)
	}
	command := createCustomer().Pages[0].Command
	typeURL, value := field(1, []byte(command.TypeUrl)...), field(2, command.Value...)
	domain, named := field(2, []byte("customer")...), field(1, field(1, root...)...)
	page := field(2, field(3, slices.Concat(value, typeURL)...)...)
	zeros := []byte{5 << 3, 0, 6 << 3, 0, 3<<3 | 2, 0}
	for shape, data := range map[string][]byte{
		"domain before root":   slices.Concat(field(1, slices.Concat(domain, named)...), page),
		"pages before cover":   slices.Concat(page, field(1, slices.Concat(named, domain)...)),
		"cover in two parts":   slices.Concat(field(1, domain...), page, field(1, named...)),
		"defaults written out": slices.Concat(zeros, field(1, slices.Concat(named, domain)...), page),
	} {
		travelled := &pb.CommandBook{}
		if err := proto.Unmarshal(data, travelled); err != nil {
			t.Fatalf("%s: %v", shape, err)
		}
		if got, err := book.CorrelationID(travelled); got != "382b20ee-b5ef-5c15-9046-278e030912f8" || err != nil {
			t.Errorf("%s: got %s, %v", shape, got, err)
		}
	}
}

func TestCorrelationIDOfWhatCannotBeEncodedFails(t *testing.T) {
	t.Parallel()
	if got, err := book.CorrelationID(&pb.CommandBook{Cover: &pb.Cover{Domain: "\xff"}}); err == nil {
		t.Errorf("got %q for a book that cannot be encoded", got)
	}
}

func TestRootsAreThoseOfTheContract(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ domain, id, root, name string }{
		{"customer", "alice@example.com", "b1019e12-b184-5695-b4bd-4fdab04e7322", "alice@example.com"},
		{"inventory", "prod-1", "a4575765-6ab1-5553-9525-c4963861c0d9", "prod-1"},
		{"customer", "a4575765-6ab1-5553-9525-c4963861c0d9", "a4575765-6ab1-5553-9525-c4963861c0d9", ""},
		{"customer", "A4575765-6AB1-5553-9525-C4963861C0D9", "a4575765-6ab1-5553-9525-c4963861c0d9", ""},
	} {
		if got := book.Root(c.domain, c.id).String(); got != c.root {
			t.Errorf("Root(%q, %q) = %s, want %s", c.domain, c.id, got, c.root)
		}
		if got := book.Name(c.id); got != c.name {
			t.Errorf("Name(%q) = %q, want %q", c.id, got, c.name)
		}
	}
	// Other ways to write a UUID are names like any other.
	for _, id := range []string{"{a4575765-6ab1-5553-9525-c4963861c0d9}", "a45757656ab155539525c4963861c0d9", "urn:uuid:a4575765-6ab1-5553-9525-c4963861c0d9", strings.Repeat("x", 36)} {
		if book.Name(id) != id || book.Root("d", id).String() == "a4575765-6ab1-5553-9525-c4963861c0d9" {
			t.Errorf("%q was taken for a UUID", id)
		}
	}
}

func TestKeyOfACover(t *testing.T) {
	t.Parallel()
	plain := book.Key{Domain: "customer", Root: uuid.UUID(root)}
	for _, c := range []struct {
		name  string
		cover *pb.Cover
		want  book.Key
		err   error
	}{
		{name: "root", cover: &pb.Cover{Domain: "customer", Root: &pb.UUID{Value: root}}, want: plain},
		{name: "root and name", cover: &pb.Cover{Domain: "customer", Root: &pb.UUID{Value: root}, AggregateId: "alice"}, want: plain},
		{name: "name", cover: &pb.Cover{Domain: "customer", AggregateId: "alice"}, want: book.Key{Domain: "customer", Root: book.Root("customer", "alice")}},
		{name: "name and an empty root", cover: &pb.Cover{Domain: "customer", Root: &pb.UUID{}, AggregateId: "alice"}, want: book.Key{Domain: "customer", Root: book.Root("customer", "alice")}},
		{name: "nothing", err: &book.Invalid{Field: "cover", Found: "nothing", Want: "the aggregate's domain and root"}},
		{name: "no domain", cover: &pb.Cover{Root: &pb.UUID{Value: root}}, err: &book.Invalid{Field: "cover.domain", Found: "nothing", Want: `the name of a domain, such as "customer"`}},
		{name: "no root", cover: &pb.Cover{Domain: "customer"}, err: &book.Invalid{Field: "cover.root", Found: "nothing", Want: "16 bytes, or an aggregate_id instead"}},
		{name: "short root", cover: &pb.Cover{Domain: "customer", Root: &pb.UUID{Value: root[:15]}, AggregateId: "alice"},
			err: &book.Invalid{Field: "cover.root.value", Found: "15 bytes", Want: "exactly 16 bytes"}},
		{name: "long root", cover: &pb.Cover{Domain: "customer", Root: &pb.UUID{Value: append(root[:16:16], 0)}}, err: &book.Invalid{Field: "cover.root.value", Found: "17 bytes", Want: "exactly 16 bytes"}},
	} {
		key, err := book.KeyOf(c.cover)
		if diff := cmp.Diff(c.err, err); diff != "" {
			t.Errorf("KeyOf %s: %s", c.name, diff)
		}
		if err == nil && key != c.want {
			t.Errorf("KeyOf %s = %s, want %s", c.name, key, c.want)
		}
		if c.cover == nil {
			continue
		}
		from, err := book.KeyFrom(c.cover.Domain, c.cover.Root, c.cover.AggregateId)
		want := c.err
		if invalid := (*book.Invalid)(nil); errors.As(c.err, &invalid) {
			want = &book.Invalid{Field: strings.TrimPrefix(invalid.Field, "cover."), Found: invalid.Found, Want: invalid.Want}
		}
		if diff := cmp.Diff(want, err); diff != "" {
			t.Errorf("KeyFrom %s: %s", c.name, diff)
		}
		if err == nil && from != c.want {
			t.Errorf("KeyFrom %s = %s, want %s", c.name, from, c.want)
		}
	}
	if _, err := book.KeyOf(nil); err.Error() != "cover: found nothing, expected the aggregate's domain and root" {
		t.Errorf("a person reads %q", err)
	}
}

func TestCoverOfAKeyIsItsOwn(t *testing.T) {
	t.Parallel()
	key := book.Key{Domain: "customer", Root: uuid.UUID(root)}
	cover := key.Cover("alice")
	want := &pb.Cover{Domain: "customer", Root: &pb.UUID{Value: root}, AggregateId: "alice"}
	if diff := cmp.Diff(want, cover, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	cover.Root.Value[0] = 99
	if key.Root[0] != 0 {
		t.Error("the cover shares the key's bytes")
	}
}

func TestCheckCommand(t *testing.T) {
	t.Parallel()
	noPages, noCommand := createCustomer(), createCustomer()
	noPages.Pages = nil
	noCommand.Pages = append(noCommand.Pages, &pb.CommandPage{Sequence: 3})
	for _, c := range []struct {
		name    string
		command *pb.CommandBook
		err     error
	}{
		{"a good one", createCustomer(), nil},
		{"none", nil, &book.Invalid{Field: "cover", Found: "nothing", Want: "the aggregate's domain and root"}},
		{"no pages", noPages, &book.Invalid{Field: "pages", Found: "no pages", Want: "at least one command page"}},
		{"a page without a command", noCommand, &book.Invalid{Field: "pages[1].command", Found: "nothing", Want: "a command in a google.protobuf.Any"}},
	} {
		key, err := book.CheckCommand(c.command)
		if diff := cmp.Diff(c.err, err); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
		if c.err == nil && key.String() != "customer/00010203-0405-0607-0809-0a0b0c0d0e0f" {
			t.Errorf("%s: got %s", c.name, key)
		}
	}
}

func page(sequence any) *pb.EventPage {
	made := &pb.EventPage{Event: &anypb.Any{TypeUrl: "type.googleapis.com/Done"}}
	switch sequence := sequence.(type) {
	case int:
		made.Sequence = &pb.EventPage_Num{Num: uint32(sequence)}
	case bool:
		made.Sequence = &pb.EventPage_Force{Force: sequence}
	}
	return made
}

func pages(sequences ...any) (made []*pb.EventPage) {
	for _, sequence := range sequences {
		made = append(made, page(sequence))
	}
	return made
}

func TestCheckNew(t *testing.T) {
	t.Parallel()
	key := book.Key{Domain: "customer", Root: uuid.UUID(root)}
	own := key.Cover("")
	for _, c := range []struct {
		name   string
		next   uint32
		answer *pb.EventBook
		fault  string
	}{
		{"nothing", 3, nil, ""},
		{"no pages", 3, &pb.EventBook{Cover: own}, ""},
		{"numbers", 3, &pb.EventBook{Cover: own, Pages: pages(3, 4, 5)}, ""},
		{"no numbers", 3, &pb.EventBook{Cover: own, Pages: pages(nil, nil)}, ""},
		{"force", 3, &pb.EventBook{Cover: own, Pages: pages(true, true)}, ""},
		{"a mixture", 3, &pb.EventBook{Cover: own, Pages: pages(true, 4, nil, 6)}, ""},
		{"no cover", 3, &pb.EventBook{Pages: pages(3)}, ""},
		{"half a cover", 3, &pb.EventBook{Cover: &pb.Cover{Domain: "customer"}, Pages: pages(3)}, ""},
		{"the other half", 3, &pb.EventBook{Cover: &pb.Cover{Root: own.Root}, Pages: pages(3)}, ""},
		{"up to the last number", math.MaxUint32 - 1, &pb.EventBook{Pages: pages(nil)}, ""},
		{"gap", 3, &pb.EventBook{Pages: pages(4)}, "pages[0] has number 4, expected 3"},
		{"gap between", 3, &pb.EventBook{Pages: pages(3, 5)}, "pages[1] has number 5, expected 4"},
		{"history again", 3, &pb.EventBook{Pages: pages(0, 1, 2, 3)}, "pages[0] has number 0, expected 3"},
		{"no event", 3, &pb.EventBook{Pages: []*pb.EventPage{page(3), {}}}, "pages[1] carries no event"},
		{"no page", 3, &pb.EventBook{Pages: []*pb.EventPage{nil}}, "pages[0] carries no event"},
		{"another domain", 3, &pb.EventBook{Cover: &pb.Cover{Domain: "order"}, Pages: pages(3)}, `the answer is for domain "order", the command was for "customer"`},
		{"another root", 3, &pb.EventBook{Cover: &pb.Cover{Root: &pb.UUID{Value: []byte{0xab}}}},
			"the answer is for root ab, the command was for 000102030405060708090a0b0c0d0e0f"},
		{"too many", math.MaxUint32 - 1, &pb.EventBook{Pages: pages(nil, nil)}, "2 more events after number 4294967294 do not fit into 32 bits"},
	} {
		err := book.CheckNew(key, c.next, c.answer)
		var fault *book.Fault
		if got := fmt.Sprint(err); c.fault == "" && err != nil || c.fault != "" && (got != c.fault || !errors.As(err, &fault)) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.fault)
		}
	}
}

func TestCheckStored(t *testing.T) {
	t.Parallel()
	cover := &pb.Cover{Domain: "customer", AggregateId: "alice"}
	for _, c := range []struct {
		name   string
		events *pb.EventBook
		err    error
	}{
		{"from the middle", &pb.EventBook{Cover: cover, Pages: pages(3, 4)}, nil},
		{"no pages", &pb.EventBook{Cover: cover}, nil},
		{"none", nil, &book.Invalid{Field: "cover", Found: "nothing", Want: "the aggregate's domain and root"}},
		{"no event", &pb.EventBook{Cover: cover, Pages: []*pb.EventPage{{}}}, &book.Invalid{Field: "pages[0].event", Found: "nothing", Want: "an event in a google.protobuf.Any"}},
		{"no number", &pb.EventBook{Cover: cover, Pages: pages(0, nil)}, &book.Invalid{Field: "pages[1].num", Found: "no number", Want: "the number under which the event is stored"}},
		{"force", &pb.EventBook{Cover: cover, Pages: pages(true)}, &book.Invalid{Field: "pages[0].num", Found: "no number", Want: "the number under which the event is stored"}},
		{"a gap", &pb.EventBook{Cover: cover, Pages: pages(3, 5)}, &book.Invalid{Field: "pages[1].num", Found: "5", Want: "4, the number after the page before"}},
		{"a number that ends all", &pb.EventBook{Cover: cover, Pages: pages(math.MaxUint32)},
			&book.Invalid{Field: "pages[0].num", Found: "4294967295", Want: "a lower number, one that another can follow"}},
	} {
		key, err := book.CheckStored(c.events)
		if diff := cmp.Diff(c.err, err); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
		if want := (book.Key{Domain: "customer", Root: book.Root("customer", "alice")}); c.err == nil && key != want {
			t.Errorf("%s: got %s", c.name, key)
		}
	}
}

func TestAfterLeavesTheRest(t *testing.T) {
	t.Parallel()
	events := &pb.EventBook{Cover: &pb.Cover{Domain: "customer"}, Pages: pages(3, 4, 5), CorrelationId: "c", Position: 9}
	for next, left := range map[uint32][]any{0: {3, 4, 5}, 3: {3, 4, 5}, 4: {4, 5}, 5: {5}, 6: nil, math.MaxUint32: nil} {
		want := &pb.EventBook{Cover: events.Cover, Pages: pages(left...), CorrelationId: "c", Position: 9}
		if diff := cmp.Diff(want, book.After(events, next), protocmp.Transform()); diff != "" {
			t.Errorf("after %d: %s", next, diff)
		}
	}
	empty := &pb.EventBook{}
	if book.After(empty, 3) != empty || book.After(events, 2) != events {
		t.Error("a book that starts there is not handed back itself")
	}
	if book.First(events) != 3 || book.Last(events) != 5 {
		t.Errorf("got %d to %d", book.First(events), book.Last(events))
	}
}

func TestBounds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		query    *pb.Query
		from, to uint32
	}{
		{&pb.Query{}, 0, math.MaxUint32},
		{&pb.Query{LowerBound: 2, UpperBound: 5}, 2, 5},
		{&pb.Query{UpperBound: math.MaxUint32}, 0, math.MaxUint32},
		{&pb.Query{LowerBound: 2, FromSequence: 4}, 4, math.MaxUint32},
		{&pb.Query{LowerBound: 4, FromSequence: 2}, 4, math.MaxUint32},
		{&pb.Query{AsOfSequence: proto.Uint32(0)}, 0, 0},
		{&pb.Query{AsOfSequence: proto.Uint32(7), UpperBound: 5}, 0, 5},
		{&pb.Query{AsOfSequence: proto.Uint32(3), UpperBound: 5}, 0, 3},
	} {
		if from, to := book.Bounds(c.query); from != c.from || to != c.to {
			t.Errorf("%v: got %d to %d, want %d to %d", c.query, from, to, c.from, c.to)
		}
	}
}

func TestNamesOfTypes(t *testing.T) {
	t.Parallel()
	for typeURL, want := range map[string][2]string{
		"type.googleapis.com/examples.CreateCustomer": {"examples.CreateCustomer", "CreateCustomer"},
		"type.examples/CreateCustomer":                {"CreateCustomer", "CreateCustomer"},
		"examples.v1.CreateCustomer":                  {"examples.v1.CreateCustomer", "CreateCustomer"},
		"a/b/c.D":                                     {"c.D", "D"},
		"a/":                                          {"", ""},
		"":                                            {"", ""},
	} {
		if got := [2]string{book.TypeName(typeURL), book.ShortName(typeURL)}; got != want {
			t.Errorf("%q: got %q, want %q", typeURL, got, want)
		}
	}
}

func TestCommandIDs(t *testing.T) {
	t.Parallel()
	key := book.Key{Domain: "stock", Root: uuid.UUID(root)}
	origin := func() *pb.CommandBook {
		return &pb.CommandBook{SagaOrigin: &pb.SagaCommandOrigin{
			SagaName: "reserve", TriggeringAggregate: &pb.Cover{Domain: "order", Root: &pb.UUID{Value: root}}, TriggeringEventSequence: 3, CommandIndex: 1,
		}}
	}
	seen := map[uuid.UUID]string{}
	for _, c := range []struct {
		name string
		edit func(*pb.CommandBook)
	}{
		{"as it is", func(*pb.CommandBook) {}},
		{"another saga", func(c *pb.CommandBook) { c.SagaOrigin.SagaName = "other" }},
		{"another event", func(c *pb.CommandBook) { c.SagaOrigin.TriggeringEventSequence++ }},
		{"another index", func(c *pb.CommandBook) { c.SagaOrigin.CommandIndex++ }},
		{"another source domain", func(c *pb.CommandBook) { c.SagaOrigin.TriggeringAggregate.Domain = "x" }},
		{"another source root", func(c *pb.CommandBook) { c.SagaOrigin.TriggeringAggregate.Root.Value = make([]byte, 16) }},
		{"a source by name", func(c *pb.CommandBook) {
			c.SagaOrigin.TriggeringAggregate = &pb.Cover{Domain: "order", AggregateId: "o1"}
		}},
		{"a key", func(c *pb.CommandBook) { c.IdempotencyKey = "k" }},
		{"another key", func(c *pb.CommandBook) { c.IdempotencyKey = "l" }},
	} {
		command := origin()
		c.edit(command)
		id, repeatable := book.CommandID(key, command)
		again, _ := book.CommandID(key, proto.CloneOf(command))
		elsewhere, _ := book.CommandID(book.Key{Domain: "stock2", Root: key.Root}, command)
		if !repeatable || id != again || id == elsewhere {
			t.Errorf("%s: %s (repeatable %v), again %s, elsewhere %s", c.name, id, repeatable, again, elsewhere)
		}
		if other, ok := seen[id]; ok {
			t.Errorf("%s has the id of %s", c.name, other)
		}
		seen[id] = c.name
	}
	// What names nothing cannot be recognised.
	for name, command := range map[string]*pb.CommandBook{
		"nothing": {}, "no source": {SagaOrigin: &pb.SagaCommandOrigin{SagaName: "s"}},
		"no saga":     {SagaOrigin: &pb.SagaCommandOrigin{TriggeringAggregate: &pb.Cover{Domain: "order", AggregateId: "o1"}}},
		"half a root": {SagaOrigin: &pb.SagaCommandOrigin{SagaName: "s", TriggeringAggregate: &pb.Cover{Domain: "order", Root: &pb.UUID{Value: root[:8]}}}},
	} {
		first, repeatable := book.CommandID(key, command)
		if second, _ := book.CommandID(key, command); repeatable || first == second {
			t.Errorf("%s: %s and %s, repeatable %v", name, first, second, repeatable)
		}
	}
}

func TestASourceIsTheSameByNameAndByRoot(t *testing.T) {
	t.Parallel()
	source := book.Key{Domain: "order", Root: book.Root("order", "o1")}
	id := func(cover *pb.Cover) uuid.UUID {
		id, _ := book.CommandID(book.Key{Domain: "stock"}, &pb.CommandBook{SagaOrigin: &pb.SagaCommandOrigin{SagaName: "s", TriggeringAggregate: cover}})
		return id
	}
	if byRoot, byName := id(source.Cover("")), id(&pb.Cover{Domain: "order", AggregateId: "o1"}); byRoot != byName || byRoot != id(source.Cover("o1")) {
		t.Errorf("%s by root, %s by name", byRoot, byName)
	}
}

func TestDerivedIDsAreTheSameForTheSameWordsOnly(t *testing.T) {
	t.Parallel()
	words := rapid.SliceOfN(rapid.StringOfN(rapid.RuneFrom([]rune("ab:01\x00")), 0, 4, -1), 0, 4)
	kind := rapid.SampledFrom([]string{"a", "b", "ab"})
	rapid.Check(t, func(t *rapid.T) {
		kind1, kind2, words1, words2 := kind.Draw(t, "kind1"), kind.Draw(t, "kind2"), words.Draw(t, "words1"), words.Draw(t, "words2")
		same := kind1 == kind2 && cmp.Equal(append([]string{}, words1...), append([]string{}, words2...))
		if (book.DerivedID(kind1, words1...) == book.DerivedID(kind2, words2...)) != same {
			t.Fatalf("%q %q and %q %q", kind1, words1, kind2, words2)
		}
	})
}

func TestDerivedIDsStayWhatTheyWere(t *testing.T) {
	t.Parallel()
	// They are stored: another id for the same words would repeat effects.
	if got := book.DerivedID("saga-command", "a", "b").String(); got != "7b5a658f-66a5-5b6e-8295-a938ee08d3a1" {
		t.Errorf("got %s", got)
	}
}

func FuzzBooksFromOutside(f *testing.F) {
	seed := func(m proto.Message) {
		body, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	seed(createCustomer())
	seed(&pb.EventBook{Cover: &pb.Cover{Domain: "d", AggregateId: "x"}, Pages: pages(0, true, nil), Position: 3})
	seed(&pb.EventBook{Cover: &pb.Cover{Domain: "d", Root: &pb.UUID{Value: root}}, Pages: []*pb.EventPage{{CreatedAt: timestamppb.Now()}, {}}})
	key := book.Key{Domain: "d", Root: uuid.UUID(root)}
	f.Fuzz(func(t *testing.T, body []byte) {
		var command pb.CommandBook
		if proto.Unmarshal(body, &command) == nil {
			fuzzCommand(t, &command)
		}
		var events pb.EventBook
		if proto.Unmarshal(body, &events) != nil {
			return
		}
		_ = book.CheckNew(key, 3, &events)
		if _, err := book.CheckStored(&events); err != nil || len(events.Pages) == 0 {
			return
		}
		if rest := book.After(&events, book.Last(&events)); len(rest.Pages) != 1 {
			t.Errorf("%d pages after the last but one", len(rest.Pages))
		}
	})
}

func fuzzCommand(t *testing.T, command *pb.CommandBook) {
	first, err := book.CorrelationID(command)
	if err != nil {
		t.Errorf("a book that was decoded cannot be encoded: %v", err)
	}
	if again, _ := book.CorrelationID(proto.CloneOf(command)); again != first {
		t.Errorf("%s and %s for the same book", first, again)
	}
	if key, err := book.CheckCommand(command); err == nil {
		book.CommandID(key, command)
	}
}
