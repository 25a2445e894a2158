package transport

import (
	"time"
)

// ValidUntil returns until when the process's own certificate, with those between
// it and the authority, is good; false when it has none.
func (t *TLS) ValidUntil() (until time.Time, ok bool) {
	own := t.current().own
	if own == nil {
		return time.Time{}, false
	}
	return own.Leaf.NotAfter, true
}
