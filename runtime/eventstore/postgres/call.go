package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/angz-dev/angz/runtime/eventstore"
)

// outcome is what became of one request.
type outcome struct {
	status     int32
	next, last int64
}

// The statuses of an outcome.
const (
	stored = iota
	conflicting
	known
)

const (
	appendSQL  = `SELECT head, statuses, heads, lasts FROM angz_append_batch($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17,$18,$19,$20,$21)`
	appendName = "angz_append"
	// Shared, so that those who step aside do not wait for each other.
	stepAsideSQL = `SELECT pg_advisory_xact_lock_shared(1634625402, 0)`
)

// prepareAppend makes the append known to a connection, unless the URI says that
// nothing is to be prepared, as it does for connections through a pooler.
func prepareAppend(ctx context.Context, conn *pgx.Conn) error {
	if !prepares(conn) {
		return nil
	}
	_, err := conn.Prepare(ctx, appendName, appendSQL)
	return err
}

func prepares(conn *pgx.Conn) bool {
	return conn.Config().DefaultQueryExecMode == pgx.QueryExecModeCacheStatement
}

// call makes one call of the append function and returns an outcome for each
// request. The arguments are written in the server's own form: pgx looks at each
// value of an array on its own, which was a third of what this process spent.
func call(ctx context.Context, conn *pgx.Conn, batch []*request, a *arguments) ([]outcome, error) {
	values := a.values()
	binaryForm := []int16{pgx.BinaryFormatCode}
	var result *pgconn.ResultReader
	if prepares(conn) {
		result = conn.PgConn().ExecPrepared(ctx, appendName, values, binaryForm, binaryForm)
	} else {
		result = conn.PgConn().ExecParams(ctx, appendSQL, values, nil, binaryForm, binaryForm)
	}
	var answer answer
	var unreadable error
	rows := 0
	for result.NextRow() {
		rows++
		unreadable = errors.Join(unreadable, answer.read(conn.TypeMap(), result.Values()))
	}
	if _, err := result.Close(); err != nil {
		return nil, err
	}
	if unreadable == nil && rows != 1 {
		unreadable = fmt.Errorf("it gave %d rows", rows)
	}
	if unreadable != nil {
		return nil, fmt.Errorf("read the answer of the append function: %w", unreadable)
	}
	return answer.outcomes(batch)
}

// answer is the row that the append function gives.
type answer struct {
	head int64 // position of the newest event before the batch
	// The rest is nil if all requests were stored.
	statuses []int32
	heads    []int64 // next number of each stream before the batch
	lasts    []int64 // position of the last event of a command that is known
}

func (a *answer) read(types *pgtype.Map, columns [][]byte) error {
	if len(columns) != 4 {
		return fmt.Errorf("it has %d columns", len(columns))
	}
	return errors.Join(
		types.Scan(pgtype.Int8OID, pgx.BinaryFormatCode, columns[0], &a.head),
		types.Scan(pgtype.Int4ArrayOID, pgx.BinaryFormatCode, columns[1], &a.statuses),
		types.Scan(pgtype.Int8ArrayOID, pgx.BinaryFormatCode, columns[2], &a.heads),
		types.Scan(pgtype.Int8ArrayOID, pgx.BinaryFormatCode, columns[3], &a.lasts))
}

// outcomes works out what became of each request.
func (a *answer) outcomes(batch []*request) ([]outcome, error) {
	if n := len(a.statuses); a.statuses != nil && (n != len(batch) || len(a.heads) != n || len(a.lasts) != n) {
		return nil, fmt.Errorf("the append function answered %d, %d and %d of %d requests", n, len(a.heads), len(a.lasts), len(batch))
	}
	outcomes := make([]outcome, len(batch))
	head := a.head
	for i, r := range batch {
		if a.statuses != nil && a.statuses[i] != stored {
			outcomes[i] = outcome{status: a.statuses[i], next: a.heads[i], last: a.lasts[i]}
			continue
		}
		head += int64(len(r.Events))
		outcomes[i] = outcome{status: stored, next: int64(r.Next) + int64(len(r.Events)), last: head}
	}
	return outcomes, nil
}

// arguments are the arrays that the append function takes, in its order. They are
// kept from call to call.
type arguments struct {
	// Of each request.
	commands, looks, domains, roots, nexts, counts, correlations, causations, traces array
	// Of each event: the number of its request, its place there.
	owners, parts, created, types, payloads array
	// Of each request whose stream may have no row yet, or no name.
	named, names array
	// Of each request with a snapshot.
	snapshotOf, snapshotSeqs, snapshotTypes, snapshotStates, snapshotSums array
}

func (a *arguments) all() [21]*array {
	return [...]*array{
		&a.commands, &a.looks, &a.domains, &a.roots, &a.nexts, &a.counts, &a.correlations, &a.causations, &a.traces,
		&a.owners, &a.parts, &a.created, &a.types, &a.payloads, &a.named, &a.names,
		&a.snapshotOf, &a.snapshotSeqs, &a.snapshotTypes, &a.snapshotStates, &a.snapshotSums,
	}
}

func (a *arguments) values() [][]byte {
	arrays := a.all()
	values := make([][]byte, len(arrays))
	for i, array := range arrays {
		values[i] = array.value()
	}
	return values
}

// set fills the arrays with a batch. newName gives the name that a request gives
// its aggregate.
func (a *arguments) set(batch []*request, newName func(*request) string) {
	for _, array := range a.all() {
		array.reset()
	}
	looks, traces := false, false
	for i, r := range batch {
		looks = looks || r.looked()
		traces = traces || r.Trace != ""
		a.commands.uuid(r.CommandID)
		a.looks.boolean(r.looked())
		a.domains.text(r.Key.Domain)
		a.roots.uuid(r.Key.Root)
		a.nexts.int8(int64(r.Next))
		a.counts.int4(int32(len(r.Events)))
		a.correlations.text(r.CorrelationID)
		a.causations.text(r.Causation)
		a.traces.text(r.Trace)
		number := int32(i + 1)
		a.setEvents(number, r.Events)
		if name := newName(r); r.Next == 0 || name != "" {
			a.named.int4(number)
			a.names.text(name)
		}
		if r.Snapshot != nil {
			a.setSnapshot(number, r.Snapshot)
		}
	}
	if !looks {
		a.looks.reset()
	}
	if !traces {
		a.traces.reset()
	}
}

func (a *arguments) setEvents(owner int32, events []eventstore.NewEvent) {
	for part := range events {
		event := &events[part]
		a.owners.int4(owner)
		a.parts.int4(int32(part))
		a.created.int8(eventstore.Nanos(event.CreatedAt))
		a.types.text(event.TypeURL)
		a.payloads.bytea(event.Payload)
	}
}

func (a *arguments) setSnapshot(owner int32, s *eventstore.Snapshot) {
	a.snapshotOf.int4(owner)
	a.snapshotSeqs.int8(int64(s.Sequence))
	a.snapshotTypes.text(s.TypeURL)
	a.snapshotStates.bytea(s.State)
	a.snapshotSums.int8(s.Checksum())
}

// keptArray is how large an array may be, in bytes, to be kept for the next call.
const keptArray = 2 << 20

// array is a one-dimensional array as PostgreSQL sends and receives it: how many
// dimensions, whether it has NULLs, the elements' type, how many, the number of the
// first; then each with its length before it. One without elements is NULL.
type array struct {
	buffer []byte
	count  uint32
	nulls  uint32
}

const arrayHeader = 20

func (a *array) reset() {
	if cap(a.buffer) > keptArray {
		a.buffer = nil
	}
	a.buffer, a.count, a.nulls = a.buffer[:0], 0, 0
}

// element begins an element of so many bytes.
func (a *array) element(kind, size uint32) {
	if a.count == 0 {
		a.buffer = append(a.buffer, make([]byte, arrayHeader)...)
		binary.BigEndian.PutUint32(a.buffer[8:], kind)
	}
	a.count++
	a.buffer = binary.BigEndian.AppendUint32(a.buffer, size)
}

func (a *array) uuid(v uuid.UUID) {
	a.element(pgtype.UUIDOID, 16)
	a.buffer = append(a.buffer, v[:]...)
}

func (a *array) text(v string) {
	a.element(pgtype.TextOID, uint32(len(v)))
	a.buffer = append(a.buffer, v...)
}

func (a *array) int4(v int32) {
	a.element(pgtype.Int4OID, 4)
	a.buffer = binary.BigEndian.AppendUint32(a.buffer, uint32(v))
}

func (a *array) int8(v int64) {
	a.element(pgtype.Int8OID, 8)
	a.buffer = binary.BigEndian.AppendUint64(a.buffer, uint64(v))
}

func (a *array) boolean(v bool) {
	a.element(pgtype.BoolOID, 1)
	b := byte(0)
	if v {
		b = 1
	}
	a.buffer = append(a.buffer, b)
}

// bytea keeps nothing as NULL.
func (a *array) bytea(v []byte) {
	if len(v) == 0 {
		a.element(pgtype.ByteaOID, 1<<32-1)
		a.nulls = 1
		return
	}
	a.element(pgtype.ByteaOID, uint32(len(v)))
	a.buffer = append(a.buffer, v...)
}

// value is what is sent, nil for NULL. It is valid until the array is changed.
func (a *array) value() []byte {
	if a.count == 0 {
		return nil
	}
	binary.BigEndian.PutUint32(a.buffer, 1)
	binary.BigEndian.PutUint32(a.buffer[4:], a.nulls)
	binary.BigEndian.PutUint32(a.buffer[12:], a.count)
	binary.BigEndian.PutUint32(a.buffer[16:], 1)
	return a.buffer
}
