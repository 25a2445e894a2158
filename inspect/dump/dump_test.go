package dump_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"

	"github.com/angz-dev/angz/inspect/dump"
	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/archive"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/eventstore/sqlite"
	"github.com/angz-dev/angz/runtime/payload"
	"github.com/angz-dev/angz/runtime/transport"
)

const schemaText = `syntax = "proto3";
package shop.order;
import "google/protobuf/any.proto";
import "google/protobuf/timestamp.proto";
message Line { string sku = 1; uint32 quantity = 2; }
enum Tier { NONE = 0; GOLD = 1; }
message Placed {
  string customer = 1; int64 cents = 2; uint64 huge = 3; double rate = 4; bytes token = 5; repeated Line lines = 6;
  map<string, uint64> counts = 7; Tier tier = 8; google.protobuf.Any extra = 9; google.protobuf.Timestamp at = 10;
  optional string note = 11; oneof by { string phone = 12; string post = 13; }
}
`

func schema(t testing.TB) *payload.Schema {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "order.proto"), []byte(schemaText), 0o600); err != nil {
		t.Fatal(err)
	}
	loaded, err := payload.Load(context.Background(), []string{dir}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}

// served is a store in memory behind its archive.
type served struct {
	store *sqlite.Store
	conn  *transport.Memory
}

func serve(t interface {
	Context() context.Context
	Fatal(...any)
}, path string) *served {
	store, err := sqlite.Open(t.Context(), sqlite.Options{Path: path, CorrelationIndex: true})
	if err != nil {
		t.Fatal(err)
	}
	conn := transport.NewMemory()
	pb.RegisterArchiveServer(conn, archive.New(archive.Options{Store: store}))
	return &served{store, conn}
}

func (s *served) close() {
	s.conn.Wait()
	_ = s.store.Close()
}

func (s *served) export(ctx context.Context, types dump.Types) ([]byte, error) {
	var out bytes.Buffer
	_, err := dump.Export(ctx, s.conn, types, dump.ExportRequest{}, &out)
	return out.Bytes(), err
}

func (s *served) imported(ctx context.Context, types dump.Types, text []byte, edit func(*dump.ImportRequest)) (dump.Imported, error) {
	request := dump.ImportRequest{Name: "test.jsonl", Types: types, From: bytes.NewReader(text)}
	if edit != nil {
		edit(&request)
	}
	return dump.Import(ctx, s.conn, request)
}

// payloads are what services may store: good messages, messages written in
// unusual ways, with unknown fields, with text that is not text, and anything.
func payloads(types *payload.Schema) *rapid.Generator[eventstore.NewEvent] {
	return rapid.Custom(func(t *rapid.T) eventstore.NewEvent {
		event := eventstore.NewEvent{
			TypeURL: rapid.SampledFrom([]string{"type.googleapis.com/shop.order.Placed", "shop.order.Placed", "x/none.Such", "", "google.protobuf.Any"}).Draw(t, "type"),
			// What fits into nanoseconds since 1970.
			CreatedAt: time.Unix(0, rapid.Int64().Draw(t, "nanos")).UTC(),
		}
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			event.Payload = rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")
		case 1:
			json := fmt.Sprintf(`{"customer":%q,"cents":"%d","huge":"%d","tier":%d,"lines":[{"sku":"a"},{}],"counts":{"b":"1","a":"%d"},"phone":""}`,
				rapid.StringMatching(`[a-zé ]{0,8}`).Draw(t, "customer"), rapid.Int64().Draw(t, "cents"), rapid.Uint64().Draw(t, "huge"),
				rapid.Int32().Draw(t, "tier"), uint64(math.MaxUint64))
			made, err := types.Encode("order", "shop.order.Placed", []byte(json))
			if err != nil {
				t.Fatal(err)
			}
			event.Payload = made.Value
		default:
			for range rapid.IntRange(0, 6).Draw(t, "fields") {
				number := protowire.Number(rapid.IntRange(1, 15).Draw(t, "field"))
				switch rapid.IntRange(0, 3).Draw(t, "wire") {
				case 0:
					event.Payload = protowire.AppendVarint(protowire.AppendTag(event.Payload, number, protowire.VarintType), rapid.Uint64().Draw(t, "varint"))
				case 1:
					event.Payload = protowire.AppendFixed64(protowire.AppendTag(event.Payload, number, protowire.Fixed64Type), rapid.Uint64().Draw(t, "fixed"))
				default:
					event.Payload = protowire.AppendBytes(protowire.AppendTag(event.Payload, number, protowire.BytesType), rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, "value"))
				}
			}
		}
		return event
	})
}

func TestWhatIsExportedComesBackToTheByte(t *testing.T) {
	t.Parallel()
	types := schema(t)
	texts := rapid.SampledFrom([]string{"", "a", "ünï\"\\\n\u2028<b>", "\x00", "\U0001f600"})
	rapid.Check(t, func(rt *rapid.T) {
		from, to := serve(rt, ""), serve(rt, "")
		defer from.close()
		defer to.close()
		next := map[book.Key]uint32{}
		for i := range rapid.IntRange(0, 12).Draw(rt, "commands") {
			key := book.Key{Domain: rapid.SampledFrom([]string{"order", "customer", "ä b/c"}).Draw(rt, "domain"), Root: uuid.UUID{byte(rapid.IntRange(0, 2).Draw(rt, "root"))}}
			request := eventstore.Append{
				CommandID: uuid.UUID{1, byte(i)}, Key: key, Next: next[key], Name: texts.Draw(rt, "name"), CorrelationID: texts.Draw(rt, "correlation"),
				Causation: texts.Draw(rt, "cause"), Trace: texts.Draw(rt, "trace"), Events: rapid.SliceOfN(payloads(types), 1, 4).Draw(rt, "events"),
			}
			if rapid.Bool().Draw(rt, "snapshot") {
				state := payloads(types).Draw(rt, "state")
				request.Snapshot = &eventstore.Snapshot{Key: key, Sequence: next[key], TypeURL: state.TypeURL, State: state.Payload}
			}
			if _, err := from.store.Append(rt.Context(), request); err != nil {
				rt.Fatal(err)
			}
			next[key] += uint32(len(request.Events))
		}
		writing := dump.Types(types)
		if rapid.Bool().Draw(rt, "raw") {
			writing = nil
		}
		first, err := from.export(rt.Context(), writing)
		if err != nil {
			rt.Fatal(err)
		}
		if _, err := to.imported(rt.Context(), types, first, nil); err != nil {
			rt.Fatalf("%v\n%s", err, first)
		}
		second, err := to.export(rt.Context(), writing)
		if err != nil || !bytes.Equal(first, second) {
			rt.Fatalf("%v, exported\n%s\nthen\n%s", err, first, second)
		}
		want, _ := from.store.ReadLog(rt.Context(), 0, 1000)
		got, _ := to.store.ReadLog(rt.Context(), 0, 1000)
		if len(want) != len(got) {
			rt.Fatalf("%d events became %d", len(want), len(got))
		}
		for i := range want {
			if !bytes.Equal(want[i].Payload, got[i].Payload) || !want[i].CreatedAt.Equal(got[i].CreatedAt) || want[i].CommandID != got[i].CommandID || want[i].Position != got[i].Position {
				rt.Fatalf("event %d was %+v and became %+v", i, want[i], got[i])
			}
		}
		// Once more is nothing more.
		merged, err := to.imported(rt.Context(), types, first, func(r *dump.ImportRequest) { r.Merge = true })
		if err != nil || merged.Events != 0 {
			rt.Fatalf("merged %+v, %v", merged, err)
		}
	})
}

// lines returns an export of one order, line by line.
func lines(t *testing.T, types *payload.Schema, json string) []string {
	t.Helper()
	from := serve(t, "")
	defer from.close()
	made, err := types.Encode("order", "shop.order.Placed", []byte(json))
	if err != nil {
		t.Fatal(err)
	}
	key := book.Key{Domain: "order", Root: book.Root("order", "order-1")}
	for i := range uint32(2) {
		_, err := from.store.Append(t.Context(), eventstore.Append{
			CommandID: uuid.UUID{byte(i + 1)}, Key: key, Name: "order-1", Next: i, CorrelationID: "c",
			Events: []eventstore.NewEvent{{TypeURL: made.TypeUrl, Payload: made.Value, CreatedAt: time.Date(2026, 1, 2, 3, 4, 5, 600, time.UTC)}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	text, err := from.export(t.Context(), types)
	if err != nil {
		t.Fatal(err)
	}
	return strings.SplitAfter(strings.TrimSuffix(string(text), "\n"), "\n")
}

func TestLinesStayAsTheyAre(t *testing.T) {
	t.Parallel()
	got := strings.Join(lines(t, schema(t), `{"customer":"Ål","cents":"9007199254740993"}`), "")
	want := `{"kind":"header","format":"angz export","version":1}
{"kind":"book","domain":"order","aggregate_id":"order-1","root":"4e9a5c0c-4fee-5a87-a0d4-b2ea3f1d2b2b","sequence":0,"command_id":"01000000-0000-0000-0000-000000000000","correlation_id":"c","position":1,"checksum":"00000000","events":[{"created_at":"2026-01-02T03:04:05.0000006Z","type_url":"type.googleapis.com/shop.order.Placed","payload":{"customer":"Ål","cents":"9007199254740993"}}]}
{"kind":"book","domain":"order","aggregate_id":"order-1","root":"4e9a5c0c-4fee-5a87-a0d4-b2ea3f1d2b2b","sequence":1,"command_id":"02000000-0000-0000-0000-000000000000","correlation_id":"c","position":2,"checksum":"00000000","events":[{"created_at":"2026-01-02T03:04:05.0000006Z","type_url":"type.googleapis.com/shop.order.Placed","payload":{"customer":"Ål","cents":"9007199254740993"}}]}
{"kind":"end","books":2,"events":2,"snapshots":0}`
	root := book.Root("order", "order-1").String()
	want = strings.ReplaceAll(want, "4e9a5c0c-4fee-5a87-a0d4-b2ea3f1d2b2b", root)
	want = strings.ReplaceAll(want, "00000000\",\"events", "696b1a43\",\"events")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestMistakesAreToldWithTheirPlace(t *testing.T) {
	t.Parallel()
	types := schema(t)
	good := lines(t, types, `{"customer":"Alice"}`)
	edit := func(line int, from, to string) string {
		changed := append([]string(nil), good...)
		if !strings.Contains(changed[line], from) {
			t.Fatalf("line %d has no %q", line+1, from)
		}
		changed[line] = strings.Replace(changed[line], from, to, 1)
		return strings.Join(changed, "")
	}
	for name, c := range map[string]struct{ text, want string }{
		"nothing":            {"", "test.jsonl:1: the file is empty"},
		"something else":     {"hello\n", "test.jsonl:1: not a line of an export"},
		"no header":          {strings.Join(good[1:], ""), "test.jsonl:1: the header is missing"},
		"a newer version":    {edit(0, `"version":1`, `"version":2`), "test.jsonl:1: version: found 2, expected 1"},
		"another format":     {edit(0, "angz export", "other"), `test.jsonl:1: format: found "other"`},
		"two headers":        {edit(1, good[1], good[0]+good[1]), "test.jsonl:2: found a second header"},
		"an unknown member":  {edit(2, `"position"`, `"positoin"`), `test.jsonl:3: not a line of an export: unknown field "positoin"`},
		"a kind":             {edit(1, `"book"`, `"bok"`), `test.jsonl:2: kind: found "bok", expected "book"`},
		"a wrong member":     {edit(1, `"sequence":0`, `"sequence":"0"`), "test.jsonl:2: sequence: found a JSON string, expected a uint32"},
		"an id":              {edit(2, `02000000-`, `x`), "test.jsonl:3: command_id: found"},
		"a time":             {edit(1, "2026-01-02T03", "yesterday"), "test.jsonl:2: events[0]: created_at: found"},
		"a type":             {edit(1, "shop.order.Placed", "shop.order.Plcaed"), `test.jsonl:2: events[0]: payload: the type "type.googleapis.com/shop.order.Plcaed" is not known here`},
		"a field":            {edit(1, `"customer":"Alice"`, `"custmer":"Alice"`), `test.jsonl:2: events[0]: payload: not a shop.order.Placed: custmer: found the unknown field "custmer", expected a field of shop.order.Placed such as "customer"`},
		"an edited payload":  {edit(1, "Alice", "Bob"), "test.jsonl:2: checksum: found"},
		"base64":             {edit(1, `"payload":{"customer":"Alice"}`, `"payload_base64":"%"`), "test.jsonl:2: events[0]: payload_base64: not base64"},
		"no payload":         {edit(1, `,"payload":{"customer":"Alice"}`, ``), "test.jsonl:2: events[0]: payload: found nothing"},
		"no events":          {edit(2, good[2][strings.Index(good[2], `,"events"`):], "}\n"), "test.jsonl:3: events: found none"},
		"more on a line":     {edit(1, "}]}\n", "}]} {}\n"), "test.jsonl:2: found more text after the JSON object"},
		"a cut line":         {strings.Join(good[:2], "") + good[2][:40], "test.jsonl:3: not a line of an export: unexpected EOF"},
		"a cut file":         {strings.Join(good[:3], ""), `test.jsonl:3: the last line {"kind":"end",…} is missing`},
		"more after the end": {strings.Join(good, "") + "\n" + good[2], "test.jsonl:5: found more after the last line"},
		"a missing line":     {good[0] + good[2] + good[3], "test.jsonl:2: order order-1: it begins with event 1, and none"},
		"a line twice":       {good[0] + good[1] + good[1] + good[3], "test.jsonl:3: order order-1: event 0 of this aggregate is here already"},
	} {
		to := serve(t, "")
		_, err := to.imported(t.Context(), types, []byte(c.text), nil)
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s…", name, err, c.want)
		}
		if to.store.Head() != 0 {
			t.Errorf("%s: something was stored", name)
		}
		to.close()
	}
}

func TestAllMistakesAreToldAtOnce(t *testing.T) {
	t.Parallel()
	types := schema(t)
	good := lines(t, types, `{"customer":"Alice"}`)
	spoilt := strings.ReplaceAll(strings.Join(good, ""), `"customer":"Alice"`, `"custmer":"Alice"`)
	to := serve(t, "")
	defer to.close()
	_, err := to.imported(t.Context(), types, []byte(spoilt), nil)
	problems := dump.Problems{}
	if !errors.As(err, &problems) || len(problems) != 2 || problems[0].Line != 2 || problems[1].Line != 3 {
		t.Errorf("got %v", err)
	}
}

func TestWhatAPersonEditsCanBeImported(t *testing.T) {
	t.Parallel()
	types := schema(t)
	text := strings.Join(lines(t, types, `{"customer":"Alice"}`), "")
	text = strings.ReplaceAll(strings.ReplaceAll(text, "Alice", "Bob"), `"checksum"`, `"checksum":"","checksum"`)
	for i := 0; ; i++ { // take the sums out
		at := strings.Index(text, `"checksum":"","checksum":"`)
		if at < 0 {
			break
		}
		text = text[:at] + text[at+len(`"checksum":"","checksum":"`)+len(`00000000",`):]
	}
	text = strings.ReplaceAll(text, "\n", "\r\n\n")
	to := serve(t, "")
	defer to.close()
	imported, err := to.imported(t.Context(), types, []byte(text), nil)
	if err != nil || imported.Events != 2 {
		t.Fatalf("got %+v, %v", imported, err)
	}
}

func TestConflictsStoreNothingUnlessTheyAreLeftOut(t *testing.T) {
	t.Parallel()
	types := schema(t)
	good := lines(t, types, `{"customer":"Alice"}`)
	other := strings.NewReplacer(`"aggregate_id":"order-1",`, "", book.Root("order", "order-1").String(), uuid.UUID{7}.String(), "01000000", "0a000000", "02000000", "0b000000")
	text := []byte(good[0] + good[1] + good[2] + other.Replace(good[1]) + other.Replace(good[2]) + good[3])
	to := serve(t, "")
	defer to.close()
	if _, err := to.imported(t.Context(), types, []byte(good[0]+strings.ReplaceAll(good[1], "01000000", "77000000")+good[3]), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := to.imported(t.Context(), types, text, nil); status.Code(err) != codes.AlreadyExists {
		t.Errorf("got %v, want ALREADY_EXISTS", err)
	}
	merge := func(r *dump.ImportRequest) { r.Merge = true }
	_, err := to.imported(t.Context(), types, text, merge)
	if problems := (dump.Problems)(nil); !errors.As(err, &problems) || len(problems) != 1 || problems[0].Line != 2 || to.store.Head() != 1 {
		t.Errorf("got %v and %d events", err, to.store.Head())
	}
	imported, err := to.imported(t.Context(), types, text, func(r *dump.ImportRequest) { r.Merge, r.SkipConflicts = true, true })
	if err != nil || imported.Events != 2 || imported.LeftOut != 1 || len(imported.Problems) != 1 || to.store.Head() != 3 {
		t.Errorf("got %+v, %v and %d events", imported, err, to.store.Head())
	}
}

func TestACutFileCanBeAccepted(t *testing.T) {
	t.Parallel()
	types := schema(t)
	good := lines(t, types, `{"customer":"Alice"}`)
	to := serve(t, "")
	defer to.close()
	imported, err := to.imported(t.Context(), types, []byte(strings.Join(good[:2], "")), func(r *dump.ImportRequest) { r.Partial = true })
	if err != nil || imported.Events != 1 {
		t.Errorf("got %+v, %v", imported, err)
	}
}

// FuzzLines holds that no line makes the reader panic, and that what it accepts
// is written and read back as the same.
func FuzzLines(f *testing.F) {
	types := schema(f)
	f.Add(`{"kind":"book","domain":"order","aggregate_id":"o","sequence":0,"command_id":"01000000-0000-0000-0000-000000000000","refused":[{"saga":"s","reason":"r","first_at":"2026-01-02T03:04:05Z","last_at":"2026-01-02T03:04:05Z"}],"events":[{"created_at":"2026-01-02T03:04:05.0000006Z","type_url":"x/shop.order.Placed","payload":{"customer":"A","extra":{"@type":"x/shop.order.Line","sku":"s"}}},{"created_at":"0001-01-01T00:00:00Z","payload_base64":"AA=="}]}`)
	f.Add(`{"kind":"snapshot","domain":"order","root":"01000000-0000-0000-0000-000000000000","sequence":4294967295,"type_url":"google.protobuf.Any","payload":{}}`)
	f.Add(`{"kind":"end","books":1}`)
	f.Add(`{"kind":"header","format":"angz export","version":1}`)
	const header = `{"kind":"header","format":"angz export","version":1}` + "\n"
	f.Fuzz(func(t *testing.T, line string) {
		read := func(text string) *pb.ArchiveBatch {
			batch, _, err := dump.NewReader(strings.NewReader(header+text+"\n"), "fuzz", types).Next()
			if err != nil {
				return &pb.ArchiveBatch{}
			}
			return batch
		}
		first := read(line)
		var out bytes.Buffer
		writer, err := dump.NewWriter(&out, types)
		if err != nil {
			t.Fatal(err)
		}
		if err := writer.Write(first); err != nil {
			return // text that is not UTF-8
		}
		second := read(strings.TrimPrefix(out.String(), header))
		for _, batch := range []*pb.ArchiveBatch{first, second} {
			for _, book := range batch.Books {
				book.Line = 0
			}
			for _, snapshot := range batch.Snapshots {
				snapshot.Line = 0
			}
		}
		if diff := cmp.Diff(first, second, protocmp.Transform()); diff != "" {
			t.Fatalf("%s\nread again (-first +second):\n%s", out.String(), diff)
		}
	})
}
