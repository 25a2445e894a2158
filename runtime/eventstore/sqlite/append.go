package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
)

const (
	insertStream = `INSERT INTO streams (id, domain, root, name) VALUES (?, ?, ?, ?)`

	insertEvent = `INSERT INTO events
		(position, stream, seq, part, parts, created_at, command_id, correlation_id, causation, type_url, payload, trace)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

	upsertSnapshot = `INSERT INTO snapshots (stream, seq, type_url, state, checksum) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (stream) DO UPDATE SET
			seq = excluded.seq, type_url = excluded.type_url, state = excluded.state, checksum = excluded.checksum
		WHERE excluded.seq >= snapshots.seq`

	selectStream = `SELECT s.id, s.name, (SELECT max(seq) FROM events WHERE stream = s.id)
		FROM streams s WHERE s.domain = ? AND s.root = ?`
)

// Append stores the events of one command; see eventstore.Writer.
func (s *Store) Append(ctx context.Context, request eventstore.Append) (eventstore.Appended, error) {
	outcome, err := s.AppendAhead(ctx, request, uuid.Nil)
	if err != nil {
		return eventstore.Appended{}, err
	}
	return outcome()
}

// AppendAhead hands an append over; see eventstore.Ahead.
func (s *Store) AppendAhead(ctx context.Context, request eventstore.Append, follows uuid.UUID) (func() (eventstore.Appended, error), error) {
	if err := request.Check(); err != nil {
		return nil, fmt.Errorf("append to %s: %w", request.Key, err)
	}
	var answer eventstore.Appended
	wait, err := s.writer.hand(ctx, request.Bytes(), func(ctx context.Context, t *transaction) (err error) {
		answer, err = t.append(ctx, &request, follows)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("append to %s: %w", request.Key, err)
	}
	return func() (eventstore.Appended, error) {
		err := wait()
		var conflict *eventstore.Conflict
		if errors.As(err, &conflict) {
			return eventstore.Appended{}, conflict
		}
		if err != nil {
			return eventstore.Appended{}, fmt.Errorf("append to %s: %w", request.Key, err)
		}
		return answer, nil
	}, nil
}

// SaveSnapshot keeps a snapshot; see eventstore.Writer.
func (s *Store) SaveSnapshot(ctx context.Context, snapshot eventstore.Snapshot) error {
	err := s.writer.submit(ctx, len(snapshot.State), func(ctx context.Context, t *transaction) error {
		stream, err := t.stream(ctx, snapshot.Key)
		if err != nil {
			return err
		}
		if snapshot.Sequence >= stream.next {
			return fmt.Errorf("it contains event %d, the aggregate has only %d", snapshot.Sequence, stream.next)
		}
		return t.snapshot(ctx, stream, &snapshot)
	})
	if err != nil {
		return fmt.Errorf("save the snapshot of %s: %w", snapshot.Key, err)
	}
	return nil
}

// append decides what becomes of a request and, if all is well, stores it.
func (t *transaction) append(ctx context.Context, request *eventstore.Append, follows uuid.UUID) (eventstore.Appended, error) {
	stream, err := t.streamFor(ctx, request)
	if err != nil {
		return eventstore.Appended{}, err
	}
	if request.Repeatable || t.careful {
		stored, err := eventsOfCommand(ctx, t.conn, request.CommandID)
		if err != nil {
			return eventstore.Appended{}, err
		}
		if len(stored) > 0 {
			return repeated(request, stream, stored)
		}
	}
	if request.Next != stream.next || follows != uuid.Nil && follows != stream.last {
		return eventstore.Appended{}, &eventstore.Conflict{Key: request.Key, Want: request.Next, Next: stream.next}
	}
	if err := t.settle(ctx, request, stream); err != nil {
		return eventstore.Appended{}, err
	}
	for i := range request.Events {
		if err := t.event(ctx, request, stream, i); err != nil {
			return eventstore.Appended{}, err
		}
	}
	stream.next, stream.last = stream.next+uint32(len(request.Events)), request.CommandID
	if request.Snapshot != nil {
		if err := t.snapshot(ctx, stream, request.Snapshot); err != nil {
			return eventstore.Appended{}, err
		}
	}
	return eventstore.Appended{Next: stream.next, Last: t.head}, nil
}

// repeated answers a command that has been stored before.
func repeated(request *eventstore.Append, s *stream, stored []eventstore.Event) (eventstore.Appended, error) {
	if owner := stored[0].Key; owner != request.Key {
		return eventstore.Appended{}, fmt.Errorf("command id %s belongs to a command for %s", request.CommandID, owner)
	}
	return eventstore.Appended{
		Next: s.next, Last: stored[len(stored)-1].Position, Duplicate: true, Events: stored,
	}, nil
}

// streamFor returns the aggregate of a request. What a reader saw of it will do
// if the request agrees: should it be old, then the aggregate has an event under
// the request's number already, and the unique key refuses the request.
func (t *transaction) streamFor(ctx context.Context, request *eventstore.Append) (*stream, error) {
	key := request.Key
	if request.Repeatable || t.careful || t.writer.known.get(key) != nil {
		return t.stream(ctx, key)
	}
	seen := t.writer.hints.get(key)
	if seen == nil || seen.next != request.Next {
		return t.stream(ctx, key)
	}
	found := &stream{id: seen.id, next: seen.next, name: seen.name}
	t.writer.known.put(key, found)
	return found, nil
}

// stream returns what is known of an aggregate. Its id is 0 if there is none.
func (t *transaction) stream(ctx context.Context, key book.Key) (*stream, error) {
	if found := t.writer.known.get(key); found != nil {
		return found, nil
	}
	found := &stream{}
	err := t.conn.query(ctx, selectStream, func(row []driver.Value) error {
		*found = stream{id: integer(row[0]), name: text(row[1]), next: uint32(integer(row[2]) + 1)}
		return errStop
	}, key.Domain, key.Root[:])
	if err == nil && found.id != 0 {
		t.writer.known.put(key, found)
	}
	return found, err
}

// settle makes sure that the aggregate has its row, and its name if one is
// given for the first time.
func (t *transaction) settle(ctx context.Context, request *eventstore.Append, s *stream) error {
	key := request.Key
	switch {
	case s.id == 0:
		t.writer.streams++
		s.id, s.name = t.writer.streams, request.Name
		t.writer.known.put(key, s)
		_, err := t.conn.exec(ctx, insertStream, s.id, key.Domain, key.Root[:], s.name)
		return err
	case s.name == "" && request.Name != "":
		s.name = request.Name
		for i := range t.events {
			if t.events[i].Key == key {
				t.events[i].Name = s.name
			}
		}
		t.renamed = append(t.renamed, eventstore.Root{Key: key, Name: s.name})
		_, err := t.conn.exec(ctx, `UPDATE streams SET name = ? WHERE domain = ? AND root = ?`, s.name, key.Domain, key.Root[:])
		return err
	}
	return nil
}

// event stores the i-th event of a request.
func (t *transaction) event(ctx context.Context, request *eventstore.Append, s *stream, i int) error {
	event, created := &request.Events[i], eventstore.Nanos(request.Events[i].CreatedAt)
	t.head++
	sequence := s.next + uint32(i)
	_, err := t.conn.exec(ctx, insertEvent,
		int64(t.head), s.id, int64(sequence), int64(i), int64(len(request.Events)), created,
		request.CommandID[:], request.CorrelationID, request.Causation, event.TypeURL, bytesOrNull(event.Payload), textOrNull(request.Trace))
	t.events = append(t.events, eventstore.Event{
		Position: t.head, Key: request.Key, Name: s.name, Sequence: sequence,
		TypeURL: event.TypeURL, Payload: event.Payload, CreatedAt: time.Unix(0, created).UTC(),
		CommandID: request.CommandID, CorrelationID: request.CorrelationID, Causation: request.Causation, Trace: request.Trace,
		Offset: i, Count: len(request.Events),
	})
	return err
}

func (t *transaction) snapshot(ctx context.Context, s *stream, snapshot *eventstore.Snapshot) error {
	_, err := t.conn.exec(ctx, upsertSnapshot, s.id, int64(snapshot.Sequence), snapshot.TypeURL,
		bytesOrNull(snapshot.State), snapshot.Checksum())
	return err
}
