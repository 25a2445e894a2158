package journal

import "time"

// Parse is parse for tests outside.
func Parse(name string, at time.Time, line []byte) Entry { return parse(name, at, line) }
