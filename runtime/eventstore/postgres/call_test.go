package postgres

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
)

// What is written here by hand must be what pgx reads.
func TestArraysAreInTheFormOfTheServer(t *testing.T) {
	var a arguments
	id, root := uuid.New(), uuid.New()
	batch := []*request{
		{Append: eventstore.Append{
			CommandID: id, Key: book.Key{Domain: "order", Root: root}, Name: "n\u00e4me", Next: 0, CorrelationID: "c", Causation: "", Trace: "00-1",
			Events: []eventstore.NewEvent{
				{TypeURL: "t/a", Payload: []byte{0, 255}, CreatedAt: time.Unix(0, -5)},
				{TypeURL: "t/b", CreatedAt: time.Unix(1, 0)},
			},
			Snapshot: &eventstore.Snapshot{Sequence: 1, TypeURL: "t/s", State: []byte("state")},
		}},
		{resent: true, Append: eventstore.Append{Next: 1 << 31, Events: []eventstore.NewEvent{{Payload: bytes.Repeat([]byte{1}, 3*keptArray)}}}},
	}
	for range 2 { // the second time with what is left of the first
		a.set(batch, func(r *request) string { return r.Name })
		expect(t, "commands", &a.commands, pgtype.UUIDArrayOID, []uuid.UUID{id, {}})
		expect(t, "looks", &a.looks, pgtype.BoolArrayOID, []bool{false, true})
		expect(t, "domains", &a.domains, pgtype.TextArrayOID, []string{"order", ""})
		expect(t, "roots", &a.roots, pgtype.UUIDArrayOID, []uuid.UUID{root, {}})
		expect(t, "nexts", &a.nexts, pgtype.Int8ArrayOID, []int64{0, 1 << 31})
		expect(t, "counts", &a.counts, pgtype.Int4ArrayOID, []int32{2, 1})
		expect(t, "traces", &a.traces, pgtype.TextArrayOID, []string{"00-1", ""})
		expect(t, "owners", &a.owners, pgtype.Int4ArrayOID, []int32{1, 1, 2})
		expect(t, "parts", &a.parts, pgtype.Int4ArrayOID, []int32{0, 1, 0})
		expect(t, "payloads", &a.payloads, pgtype.ByteaArrayOID, [][]byte{{0, 255}, nil, batch[1].Events[0].Payload})
		expect(t, "named", &a.named, pgtype.Int4ArrayOID, []int32{1})
		expect(t, "names", &a.names, pgtype.TextArrayOID, []string{"n\u00e4me"})
		expect(t, "states", &a.snapshotStates, pgtype.ByteaArrayOID, [][]byte{[]byte("state")})
	}
	a.set([]*request{{Append: eventstore.Append{Next: 7}}}, func(*request) string { return "" })
	for i, value := range a.values() {
		if empty := i == 1 || i >= 8; empty != (value == nil) {
			t.Errorf("argument %d of a request with nothing: %v", i+1, value)
		}
	}
	if cap(a.payloads.buffer) > keptArray {
		t.Errorf("%d bytes are kept", cap(a.payloads.buffer))
	}
}

func expect[T any](t *testing.T, name string, a *array, kind uint32, want T) {
	t.Helper()
	var got T
	if err := pgtype.NewMap().Scan(kind, pgx.BinaryFormatCode, a.value(), &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got %v, %v, want %v", name, got, err, want)
	}
}

func TestAnswerOfAnotherLengthIsAnError(t *testing.T) {
	batch := []*request{{}, {}}
	for _, answer := range []answer{
		{statuses: []int32{0}, heads: []int64{0, 0}, lasts: []int64{0, 0}},
		{statuses: []int32{0, 0}, heads: []int64{0}, lasts: []int64{0, 0}},
		{statuses: []int32{0, 0}, heads: []int64{0, 0}},
	} {
		if outcomes, err := answer.outcomes(batch); err == nil || !strings.Contains(err.Error(), "of 2 requests") {
			t.Errorf("got %v, %v", outcomes, err)
		}
	}
}

func TestNewsAreToldOnceByOneProcess(t *testing.T) {
	n := news{changed: make(chan struct{}, 1)}
	n.grown(5)
	if head, wait := n.due(); head != 5 || wait > 0 {
		t.Errorf("of the first: %d in %s", head, wait)
	}
	n.heard(5)
	if head, _ := n.due(); head != 0 {
		t.Errorf("it is told again: %d", head)
	}
	n.grown(9)
	n.heard(12) // another process was faster
	if head, _ := n.due(); head != 0 {
		t.Errorf("what another has told is told again: %d", head)
	}
	n.heard(1 << 40)
	n.grown(1<<40 + 1)
	if head, wait := n.due(); head != 1<<40+1 || wait > 2*longestRest {
		t.Errorf("after many events: %d in %s", head, wait)
	}
}
