package dump

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
)

// Bounds of what is read at once: one line, and what becomes a batch.
const (
	longestLine = 128 << 20
	batchLines  = 1000
	batchBytes  = 1 << 20
)

// Reader reads lines back into an archive. It is for one goroutine.
type Reader struct {
	from   *bufio.Reader
	file   string
	types  Types
	line   uint64
	counts Counts
	header bool
	ended  bool
	eof    bool
}

// NewReader reads from a file of this name.
func NewReader(from io.Reader, file string, types Types) *Reader {
	return &Reader{from: bufio.NewReaderSize(from, 64<<10), file: file, types: types}
}

// Counts returns how much has been read.
func (r *Reader) Counts() Counts { return r.counts }

// numbered is one line.
type numbered struct {
	number uint64
	text   []byte
}

// Next returns the next batch and what is wrong with lines of it, which are left
// out; io.EOF when there is nothing more. Any other error ends the reading.
func (r *Reader) Next() (*pb.ArchiveBatch, []*Problem, error) {
	lines, err := r.lines()
	if err != nil {
		return nil, nil, err
	}
	records, problems := make([]record, len(lines)), make([]*Problem, len(lines))
	share(len(lines), func(from, to int) {
		for i := from; i < to; i++ {
			var err error
			if records[i], err = r.parse(lines[i].text); err != nil {
				problems[i] = &Problem{r.file, lines[i].number, err.Error()}
			}
		}
	})
	batch := &pb.ArchiveBatch{}
	var wrong []*Problem
	for i := range records {
		number := lines[i].number
		if problems[i] == nil {
			if misplaced := r.place(records[i], batch, number); misplaced != "" {
				problems[i] = &Problem{r.file, number, misplaced}
			}
		}
		if problems[i] != nil {
			wrong = append(wrong, problems[i])
		}
		if number == 1 && !r.header {
			return nil, nil, problems[i] // then all others would be wrong, too
		}
	}
	return batch, wrong, nil
}

// lines reads about a batch of lines.
func (r *Reader) lines() (lines []numbered, err error) {
	if r.eof {
		return nil, io.EOF
	}
	for size := 0; len(lines) < batchLines && size < batchBytes; {
		text, err := r.readLine()
		if errors.Is(err, io.EOF) {
			r.eof = true
			if r.line == 0 {
				return nil, &Problem{r.file, 1, "the file is empty, expected what angz export writes"}
			}
			break
		}
		if err != nil {
			return nil, err
		}
		if len(text) > 0 {
			lines = append(lines, numbered{r.line, text})
			size += len(text)
		}
	}
	return lines, nil
}

// readLine returns the next line without the space around it.
func (r *Reader) readLine() ([]byte, error) {
	var long []byte
	for {
		part, err := r.from.ReadSlice('\n')
		if len(long)+len(part) > longestLine {
			return nil, &Problem{r.file, r.line + 1, fmt.Sprintf("the line is longer than %d bytes", longestLine)}
		}
		if err == nil || errors.Is(err, io.EOF) && len(long)+len(part) > 0 {
			r.line++
			// The reader's own memory is used again.
			return bytes.TrimSpace(append(long, part...)), nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			if errors.Is(err, io.EOF) {
				return nil, io.EOF
			}
			return nil, fmt.Errorf("read %s: %w", r.file, err)
		}
		long = append(long, part...)
	}
}

// record is what one line says: one of these.
type record struct {
	header   bool
	book     *pb.ArchivedBook
	snapshot *pb.ArchivedSnapshot
	end      *Counts
}

// place puts a record where it belongs, or says why it is out of place.
func (r *Reader) place(read record, batch *pb.ArchiveBatch, number uint64) string {
	switch {
	case read.header && number == 1:
		r.header = true
		return ""
	case read.header:
		return "found a second header: put one export into each file"
	case number == 1:
		return `the header is missing: expected a first line {"kind":"header","format":"angz export","version":1}`
	case r.ended:
		return "found more after the last line of an export"
	case read.book != nil:
		read.book.Line = number
		batch.Books = append(batch.Books, read.book)
		r.counts.Books++
		r.counts.Events += uint64(len(read.book.Events.Pages))
	case read.snapshot != nil:
		read.snapshot.Line = number
		batch.Snapshots = append(batch.Snapshots, read.snapshot)
		r.counts.Snapshots++
	case read.end != nil:
		r.ended = true
	}
	return ""
}

// Ended reports whether the last line was there. Without it something may have
// been cut off.
func (r *Reader) Ended() bool { return r.ended }

// Lines are the structs that lines of an export are read into, for those who
// describe what an export looks like. Where nothing is written for a field, its
// tag has "omitempty".
var Lines = []reflect.Type{reflect.TypeFor[headerLine](), reflect.TypeFor[bookLine](), reflect.TypeFor[snapshotLine](), reflect.TypeFor[endLine]()}

type headerLine struct {
	Kind    string `json:"kind" doc:"that this is the first line" enum:"header"`
	Format  string `json:"format" doc:"always angz export"`
	Version int    `json:"version" doc:"of the format, from 1"`
}

type endLine struct {
	Kind string `json:"kind" doc:"that this is the last line: nothing was cut off" enum:"end"`
	Counts
}

type payloadLine struct {
	TypeURL string          `json:"type_url" doc:"the type's URL"`
	Payload json.RawMessage `json:"payload,omitempty" doc:"what it says, as protobuf's JSON; absent when the type is not known, and with --raw"`
	Base64  *string         `json:"payload_base64,omitempty" doc:"its bytes in base64, which count where they are there; absent when payload gives back the very same"`
}

type coverLine struct {
	Domain      string `json:"domain" doc:"the domain of the aggregate"`
	AggregateID string `json:"aggregate_id,omitempty" doc:"what people call the aggregate; absent where angz knows only its root"`
	Root        string `json:"root" doc:"the aggregate's root, a UUID"`
}

type bookLine struct {
	Kind string `json:"kind" doc:"that this is what one command stored" enum:"book"`
	coverLine
	Sequence      *uint32       `json:"sequence" doc:"the number of the first event in its aggregate, from 0"`
	CommandID     string        `json:"command_id" doc:"the id of the command, a UUID, by which a repetition is recognised"`
	CorrelationID string        `json:"correlation_id,omitempty" doc:"what joins everything that one request caused; absent where there is none"`
	Causation     string        `json:"causation,omitempty" doc:"the event because of which a saga sent the command; absent for a client's command"`
	TraceContext  string        `json:"trace_context,omitempty" doc:"the W3C trace context that the command was part of; absent where there was none"`
	Position      uint64        `json:"position" doc:"the place of the last event in the log that it was exported from"`
	Checksum      string        `json:"checksum" doc:"CRC-32C of the payloads, in hexadecimal"`
	Refused       []refusedLine `json:"refused,omitempty" doc:"commands of sagas that were sent because of these events and refused; absent when there were none"`
	Events        []eventLine   `json:"events" doc:"the events, in order"`
}

type eventLine struct {
	CreatedAt string `json:"created_at" doc:"when the event was stored, RFC 3339 in UTC" format:"date-time"`
	payloadLine
}

type refusedLine struct {
	Saga    string `json:"saga" doc:"the saga that sent the command"`
	Reason  string `json:"reason" doc:"why it was refused"`
	FirstAt string `json:"first_at" doc:"when it was first refused, RFC 3339 in UTC" format:"date-time"`
	LastAt  string `json:"last_at" doc:"when it was last refused, RFC 3339 in UTC" format:"date-time"`
}

type snapshotLine struct {
	Kind string `json:"kind" doc:"that this is a snapshot of a state" enum:"snapshot"`
	coverLine
	Sequence *uint32 `json:"sequence" doc:"the number of the last event in the state, from 0"`
	Checksum string  `json:"checksum" doc:"CRC-32C of the state, in hexadecimal"`
	payloadLine
}

var bookPrefix = []byte(`{"kind":"book",`)

// parse reads one line.
func (r *Reader) parse(text []byte) (record, error) {
	kind := kindBook
	if !bytes.HasPrefix(text, bookPrefix) {
		var any struct {
			Kind string `json:"kind"`
		}
		if err := json.Unmarshal(text, &any); err != nil {
			return record{}, notJSON(err)
		}
		kind = any.Kind
	}
	switch kind {
	case kindBook:
		var line bookLine
		if err := strictly(text, &line); err != nil {
			return record{}, err
		}
		book, err := r.book(&line)
		return record{book: book}, err
	case kindSnapshot:
		var line snapshotLine
		if err := strictly(text, &line); err != nil {
			return record{}, err
		}
		snapshot, err := r.snapshot(&line)
		return record{snapshot: snapshot}, err
	case kindHeader:
		return r.readHeader(text)
	case kindEnd:
		var line endLine
		err := strictly(text, &line)
		return record{end: &line.Counts}, err
	}
	return record{}, fmt.Errorf(`kind: found %q, expected "book", "snapshot", "header" or "end"; is this what angz export writes?`, kind)
}

func (r *Reader) readHeader(text []byte) (record, error) {
	var line headerLine
	// What a newer version adds to its header is no reason not to understand it.
	if err := json.Unmarshal(text, &line); err != nil {
		return record{}, notJSON(err)
	}
	if line.Format != format {
		return record{}, fmt.Errorf("format: found %q, expected %q", line.Format, format)
	}
	if line.Version < 1 || line.Version > version {
		return record{}, fmt.Errorf("version: found %d, expected %d: import it with the angz that wrote it, or a newer one", line.Version, version)
	}
	return record{header: true}, nil
}

func strictly(text []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return notJSON(err)
	}
	if decoder.More() {
		return errors.New("found more text after the JSON object, expected one object on each line")
	}
	return nil
}

func notJSON(err error) error {
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		return fmt.Errorf("%s: found a JSON %s, expected a %s", kind.Field, kind.Value, kind.Type)
	}
	return fmt.Errorf("not a line of an export: %s", strings.TrimPrefix(err.Error(), "json: "))
}

// book makes a book of a line.
func (r *Reader) book(line *bookLine) (*pb.ArchivedBook, error) {
	cover, err := line.cover()
	if err != nil {
		return nil, err
	}
	command, err := uuid.Parse(line.CommandID)
	if err != nil {
		return nil, fmt.Errorf("command_id: found %q, expected a UUID", line.CommandID)
	}
	if line.Sequence == nil {
		return nil, errors.New("sequence: found nothing, expected the number of the first event")
	}
	if len(line.Events) == 0 {
		return nil, errors.New("events: found none, expected at least one")
	}
	made := &pb.ArchivedBook{CommandId: command[:], Causation: line.Causation, Events: &pb.EventBook{
		Cover: cover, CorrelationId: line.CorrelationID, TraceContext: line.TraceContext, Position: line.Position, Pages: make([]*pb.EventPage, len(line.Events)),
	}}
	for i := range line.Events {
		page, err := r.page(&line.Events[i], *line.Sequence+uint32(i))
		if err != nil {
			return nil, fmt.Errorf("events[%d]: %w", i, err)
		}
		made.Events.Pages[i] = page
	}
	if err := checkSum(line.Checksum, sumOf(made.Events.Pages)); err != nil {
		return nil, err
	}
	for i := range line.Refused {
		refused, err := line.Refused[i].refusal()
		if err != nil {
			return nil, fmt.Errorf("refused[%d]: %w", i, err)
		}
		made.Refusals = append(made.Refusals, refused)
	}
	return made, nil
}

func (r *Reader) page(line *eventLine, number uint32) (*pb.EventPage, error) {
	created, err := readTime("created_at", line.CreatedAt)
	if err != nil {
		return nil, err
	}
	event, err := r.payload(&line.payloadLine)
	return &pb.EventPage{Sequence: &pb.EventPage_Num{Num: number}, CreatedAt: created, Event: event}, err
}

func (r *Reader) snapshot(line *snapshotLine) (*pb.ArchivedSnapshot, error) {
	cover, err := line.cover()
	if err != nil {
		return nil, err
	}
	if line.Sequence == nil {
		return nil, errors.New("sequence: found nothing, expected the number of the last event in the state")
	}
	state, err := r.payload(&line.payloadLine)
	if err != nil {
		return nil, err
	}
	return &pb.ArchivedSnapshot{Cover: cover, Sequence: *line.Sequence, State: state}, checkSum(line.Checksum, checksum(state.Value))
}

func (l *coverLine) cover() (*pb.Cover, error) {
	if l.Domain == "" {
		return nil, errors.New("domain: found nothing, expected the name of a domain")
	}
	if l.Root == "" {
		if l.AggregateID == "" {
			return nil, errors.New("root: found nothing, expected a UUID, or an aggregate_id instead")
		}
		return book.Key{Domain: l.Domain, Root: book.Root(l.Domain, l.AggregateID)}.Cover(l.AggregateID), nil
	}
	root, err := uuid.Parse(l.Root)
	if err != nil {
		return nil, fmt.Errorf("root: found %q, expected a UUID", l.Root)
	}
	return book.Key{Domain: l.Domain, Root: root}.Cover(l.AggregateID), nil
}

// payload returns the bytes that a line stands for: those in base64 if they are
// there, else what its JSON says by the schema.
func (r *Reader) payload(line *payloadLine) (*anypb.Any, error) {
	message := &anypb.Any{TypeUrl: line.TypeURL}
	var err error
	switch {
	case line.Base64 != nil:
		if message.Value, err = base64.StdEncoding.DecodeString(*line.Base64); err != nil {
			return nil, fmt.Errorf("payload_base64: not base64: %w", err)
		}
	case line.Payload == nil:
		return nil, errors.New("payload: found nothing, expected the fields as JSON, or payload_base64 instead")
	case r.types == nil:
		return nil, fmt.Errorf("payload: the type %q is not known here: run this where its .proto files are, or export with --raw", line.TypeURL)
	default:
		if message.Value, err = r.types.Bytes(line.TypeURL, line.Payload); err != nil {
			return nil, r.explain(line.TypeURL, err)
		}
	}
	return message, nil
}

func readTime(field, text string) (*timestamppb.Timestamp, error) {
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return nil, fmt.Errorf("%s: found %q, expected a time such as 2026-01-31T12:00:00.5Z", field, text)
	}
	return timestamppb.New(at), nil
}

func (l *refusedLine) refusal() (*pb.ArchivedRefusal, error) {
	if l.Saga == "" || strings.Contains(l.Saga, "/") {
		return nil, fmt.Errorf("saga: found %q, expected the name of a saga", l.Saga)
	}
	first, err := readTime("first_at", l.FirstAt)
	if err != nil {
		return nil, err
	}
	last, err := readTime("last_at", l.LastAt)
	return &pb.ArchivedRefusal{Saga: l.Saga, Reason: l.Reason, FirstAt: first, LastAt: last}, err
}

// checkSum refuses payloads that are not those that were exported.
func checkSum(written, found string) error {
	if written == "" || written == found {
		return nil
	}
	return fmt.Errorf("checksum: found %q, the payloads give %q: the schema here is not the one of the export, or the line was edited; take the checksum out to import it as it is", written, found)
}
