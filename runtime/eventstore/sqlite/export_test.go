package sqlite

import "time"

// Pass lets the clock that leases are measured by go on.
func (s *Store) Pass(length time.Duration) { s.clock.ahead.Add(int64(length)) }
