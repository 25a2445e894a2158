package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
)

// AppendAll stores the outcomes of several commands; see eventstore.Bulk. They go
// through the writer's queue in rounds. A round has each aggregate once, since
// the writer lets requests of others pass one that waits for its aggregate.
func (s *Store) AppendAll(ctx context.Context, requests []eventstore.Append) []eventstore.Result {
	results := make([]eventstore.Result, len(requests))
	for first := 0; first < len(requests); {
		end := roundEnd(requests, first)
		s.appendRound(ctx, requests[first:end], results[first:end])
		first = end
	}
	return results
}

// roundEnd returns where the round ends that begins with the first request.
func roundEnd(requests []eventstore.Append, first int) int {
	keys, ids := map[book.Key]struct{}{}, map[uuid.UUID]struct{}{}
	for i := first; i < len(requests); i++ {
		_, sameKey := keys[requests[i].Key]
		_, sameID := ids[requests[i].CommandID]
		if sameKey || sameID || i-first == batchRequests {
			return i
		}
		keys[requests[i].Key], ids[requests[i].CommandID] = struct{}{}, struct{}{}
	}
	return len(requests)
}

// appendRound queues one request after the other, then waits for all.
func (s *Store) appendRound(ctx context.Context, requests []eventstore.Append, results []eventstore.Result) {
	queued := make([]*request, len(requests))
	for i := range requests {
		err := checkAppend(&requests[i])
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			r := &request{Append: requests[i], bytes: requests[i].Bytes(), done: make(chan struct{})}
			if err = s.writer.enqueue(r); err == nil {
				queued[i] = r
				continue
			}
		}
		results[i].Err = fmt.Errorf("append to %s: %w", requests[i].Key, err)
	}
	for i, r := range queued {
		if r != nil {
			<-r.done
			results[i] = s.resultOf(ctx, r)
		}
	}
}

// resultOf reads what became of a request that is done.
func (s *Store) resultOf(ctx context.Context, r *request) (result eventstore.Result) {
	conflict := (*eventstore.Conflict)(nil)
	switch {
	case errors.As(r.err, &conflict):
		result.Err = conflict
	case r.err != nil:
		result.Err = fmt.Errorf("append to %s: %w", r.Key, r.err)
	case r.answered.Duplicate:
		result.Appended, result.Err = s.repeated(ctx, r)
	default:
		result.Appended = r.answered
	}
	return result
}
