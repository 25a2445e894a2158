package eventstore

import (
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"time"

	"github.com/google/uuid"

	"github.com/angz-dev/angz/runtime/book"
)

// Check refuses what no state of a log could make right.
func (a *Append) Check() error {
	if a.Key.Domain == "" {
		return errors.New("no domain")
	}
	if a.CommandID == uuid.Nil {
		return errors.New("no command id")
	}
	if len(a.Events) == 0 {
		return errors.New("no events")
	}
	next := uint64(a.Next) + uint64(len(a.Events))
	if next > math.MaxUint32 {
		return fmt.Errorf("%d more events after number %d do not fit into 32 bits", len(a.Events), a.Next)
	}
	snapshot := a.Snapshot
	if snapshot == nil {
		return nil
	}
	if snapshot.Key != a.Key && snapshot.Key != (book.Key{}) {
		return fmt.Errorf("the snapshot is of %s", snapshot.Key)
	}
	if uint64(snapshot.Sequence) >= next {
		return fmt.Errorf("the snapshot contains event %d, the last one is %d", snapshot.Sequence, next-1)
	}
	return nil
}

// Bytes estimates what an append adds to a batch.
func (a *Append) Bytes() int {
	bytes := 0
	for i := range a.Events {
		bytes += len(a.Events[i].Payload) + len(a.Events[i].TypeURL)
	}
	if a.Snapshot != nil {
		bytes += len(a.Snapshot.State)
	}
	return bytes
}

// Check refuses what no state of a subscription could make right.
func (s *Share) Check() error {
	switch {
	case s.Member == uuid.Nil:
		return errors.New("no member")
	case s.Slices < 1:
		return fmt.Errorf("%d slices", s.Slices)
	case s.Lease <= 0 && !s.Leave:
		return fmt.Errorf("a lease of %s", s.Lease)
	}
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Checksum tells an intact snapshot from a damaged one. A snapshot that lies is
// worse than none, because nothing else would notice.
func (s *Snapshot) Checksum() int64 {
	sum := crc32.Update(0, castagnoli, fmt.Appendf(nil, "%d %d ", s.Sequence, len(s.TypeURL)))
	sum = crc32.Update(sum, castagnoli, []byte(s.TypeURL))
	return int64(crc32.Update(sum, castagnoli, s.State))
}

// The span of time that fits into nanoseconds since 1970.
var (
	earliest = time.Unix(0, math.MinInt64)
	latest   = time.Unix(0, math.MaxInt64)
)

// Nanos returns a time as drivers store it, in nanoseconds since 1970. One outside
// 1677-2262, which only a service with a broken clock gives, becomes the nearest
// that fits.
func Nanos(t time.Time) int64 {
	if t.Before(earliest) {
		return math.MinInt64
	}
	if t.After(latest) {
		return math.MaxInt64
	}
	return t.UnixNano()
}
