package dump

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
)

// Writer writes an archive as lines. It is for one goroutine.
type Writer struct {
	to     io.Writer
	types  Types // nil writes payloads as base64 only
	counts Counts
}

// NewWriter begins with the first line.
func NewWriter(to io.Writer, types Types) (*Writer, error) {
	_, err := fmt.Fprintf(to, `{"kind":%q,"format":%q,"version":%d}`+"\n", kindHeader, format, version)
	return &Writer{to: to, types: types}, err
}

// Write writes a batch.
func (w *Writer) Write(batch *pb.ArchiveBatch) error {
	books, snapshots := batch.GetBooks(), batch.GetSnapshots()
	texts := make([][]byte, len(books)+len(snapshots))
	errs := make([]error, len(texts))
	share(len(texts), func(from, to int) {
		for i := from; i < to; i++ {
			if i < len(books) {
				texts[i], errs[i] = w.book(books[i])
			} else {
				texts[i], errs[i] = w.snapshot(snapshots[i-len(books)])
			}
		}
	})
	for i, text := range texts {
		if errs[i] != nil {
			return errs[i]
		}
		if _, err := w.to.Write(text); err != nil {
			return err
		}
	}
	w.counts.Books += uint64(len(books))
	w.counts.Snapshots += uint64(len(snapshots))
	for _, book := range books {
		w.counts.Events += uint64(len(book.GetEvents().GetPages()))
	}
	return nil
}

// Close writes the last line, by which a reader knows that nothing was cut off,
// and returns what there was.
func (w *Writer) Close() (Counts, error) {
	_, err := fmt.Fprintf(w.to, `{"kind":%q,"books":%d,"events":%d,"snapshots":%d}`+"\n", kindEnd, w.counts.Books, w.counts.Events, w.counts.Snapshots)
	return w.counts, err
}

// text is a line that is being written.
type text struct {
	out []byte
	err error
}

// member writes `,"name":`, without the comma at the beginning of an object.
func (t *text) member(name string) {
	if last := t.out[len(t.out)-1]; last != '{' {
		t.out = append(t.out, ',')
	}
	t.out = append(append(append(t.out, '"'), name...), '"', ':')
}

// string writes a member, unless it is empty.
func (t *text) string(name, value string) {
	if value == "" {
		return
	}
	t.member(name)
	if !utf8.ValidString(value) && t.err == nil {
		t.err = fmt.Errorf("its %s %q is not UTF-8, so it cannot be written as JSON", name, value)
	}
	t.out = appendString(t.out, value)
}

func (t *text) number(name string, value uint64) {
	t.member(name)
	t.out = strconv.AppendUint(t.out, value, 10)
}

func (t *text) bytes(name string, value []byte) {
	t.member(name)
	t.out = append(base64.StdEncoding.AppendEncode(append(t.out, '"'), value), '"')
}

func (t *text) time(name string, value *timestamppb.Timestamp) {
	t.member(name)
	t.out = append(value.AsTime().AppendFormat(append(t.out, '"'), time.RFC3339Nano), '"')
}

func (t *text) cover(cover *pb.Cover) {
	t.string("domain", cover.GetDomain())
	t.string("aggregate_id", cover.GetAggregateId())
	t.string("root", idText(cover.GetRoot().GetValue()))
}

// payload writes a payload as JSON and, where that is not all there is, as base64,
// which then counts.
func (t *text) payload(types Types, message *anypb.Any) {
	t.string("type_url", message.GetTypeUrl())
	if types == nil {
		t.bytes("payload_base64", message.GetValue())
		return
	}
	json, known, exact := types.Exact(message)
	if known {
		t.member("payload")
		t.out = append(t.out, json...)
	}
	if !exact {
		t.bytes("payload_base64", message.GetValue())
	}
}

func (w *Writer) book(archived *pb.ArchivedBook) ([]byte, error) {
	events := archived.GetEvents()
	t := &text{out: append(make([]byte, 0, 512), '{')}
	t.string("kind", kindBook)
	t.cover(events.GetCover())
	if len(events.Pages) > 0 {
		t.number("sequence", uint64(events.Pages[0].GetNum()))
	}
	t.string("command_id", idText(archived.CommandId))
	t.string("correlation_id", events.CorrelationId)
	t.string("causation", archived.Causation)
	t.string("trace_context", events.TraceContext)
	t.number("position", events.Position)
	t.string("checksum", sumOf(events.Pages))
	t.refusals(archived.Refusals)
	t.member("events")
	t.out = append(t.out, '[')
	for i, page := range events.Pages {
		if i > 0 {
			t.out = append(t.out, ',')
		}
		t.out = append(t.out, '{')
		t.time("created_at", page.CreatedAt)
		t.payload(w.types, page.Event)
		t.out = append(t.out, '}')
	}
	t.out = append(t.out, "]}\n"...)
	if t.err != nil {
		return nil, fmt.Errorf("the book at position %d: %w", events.Position, t.err)
	}
	return t.out, nil
}

func (t *text) refusals(refusals []*pb.ArchivedRefusal) {
	if len(refusals) == 0 {
		return
	}
	t.member("refused")
	t.out = append(t.out, '[')
	for i, refused := range refusals {
		if i > 0 {
			t.out = append(t.out, ',')
		}
		t.out = append(t.out, '{')
		t.string("saga", refused.Saga)
		t.string("reason", refused.Reason)
		t.time("first_at", refused.FirstAt)
		t.time("last_at", refused.LastAt)
		t.out = append(t.out, '}')
	}
	t.out = append(t.out, ']')
}

func (w *Writer) snapshot(archived *pb.ArchivedSnapshot) ([]byte, error) {
	t := &text{out: append(make([]byte, 0, 512), '{')}
	t.string("kind", kindSnapshot)
	t.cover(archived.GetCover())
	t.number("sequence", uint64(archived.GetSequence()))
	t.string("checksum", checksum(archived.GetState().GetValue()))
	t.payload(w.types, archived.GetState())
	t.out = append(t.out, "}\n"...)
	if t.err != nil {
		return nil, fmt.Errorf("the snapshot of %s %s: %w", archived.GetCover().GetDomain(), idText(archived.GetCover().GetRoot().GetValue()), t.err)
	}
	return t.out, nil
}

// appendString writes a string as JSON.
func appendString(out []byte, value string) []byte {
	for i := range len(value) {
		if c := value[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			var quoted bytes.Buffer
			encoder := json.NewEncoder(&quoted)
			encoder.SetEscapeHTML(false)
			_ = encoder.Encode(value) // strings always have a JSON form
			return append(out, bytes.TrimSuffix(quoted.Bytes(), []byte("\n"))...)
		}
	}
	return append(append(append(out, '"'), value...), '"')
}

// idText returns an id as UUID text, nothing if it is none.
func idText(value []byte) string {
	id, err := uuid.FromBytes(value)
	if err != nil {
		return ""
	}
	return id.String()
}
