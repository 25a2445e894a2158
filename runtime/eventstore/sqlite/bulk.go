package sqlite

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/angz-dev/angz/runtime/eventstore"
)

// AppendAll stores the outcomes of several commands; see eventstore.Bulk. All of
// them go in one transaction.
func (s *Store) AppendAll(ctx context.Context, requests []eventstore.Append) []eventstore.Result {
	results := make([]eventstore.Result, len(requests))
	bytes := 0
	for i := range requests {
		results[i].Err = requests[i].Check()
		bytes += requests[i].Bytes()
	}
	refused := make([]bool, len(requests))
	for i := range results {
		refused[i] = results[i].Err != nil
	}
	err := s.writer.submit(ctx, bytes, func(ctx context.Context, t *transaction) error {
		for i := range requests {
			if refused[i] {
				continue
			}
			// A second round after a rollback decides everything anew.
			results[i].Appended, results[i].Err = t.append(ctx, &requests[i], uuid.Nil)
			if errors.Is(results[i].Err, eventstore.ErrUnavailable) {
				return results[i].Err
			}
		}
		return nil
	})
	for i := range results {
		if err != nil && !refused[i] {
			results[i] = eventstore.Result{Err: err}
		}
		if conflict := (*eventstore.Conflict)(nil); results[i].Err != nil && !errors.As(results[i].Err, &conflict) {
			results[i].Err = fmt.Errorf("append to %s: %w", requests[i].Key, results[i].Err)
		}
	}
	return results
}
