package eventstore

import (
	"context"
	"encoding/hex"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/angz-dev/angz/runtime/book"
)

// Survey tells people what there is. None of it reads the whole log or all
// aggregates, however many there are.
type Survey interface {
	// Domains lists the domains that have events, by name. Their counts are exact:
	// those of all events up to the newest one there is.
	Domains(ctx context.Context) ([]Domain, error)
	// Summary tells what there is to see of one aggregate, the zero Summary for an
	// unknown one.
	Summary(ctx context.Context, key book.Key) (Summary, error)
	// Summaries returns up to query.Limit aggregates of a domain, in order.
	Summaries(ctx context.Context, query SummaryQuery) ([]Summary, error)
	// Latest returns aggregates in the order of their newest events, the newest
	// first. It walks the log backwards and so may end with fewer than query.Limit,
	// or none: whoever wants more asks again from next on. Next is 0 when there is
	// nothing left.
	Latest(ctx context.Context, query LatestQuery) (found []Summary, next uint64, err error)
}

// Domain is one domain's share of the log.
type Domain struct {
	Name       string
	Aggregates uint64
	Events     uint64
	Position   uint64    // of its newest event
	At         time.Time // when its newest event happened
}

// Summary is one aggregate at a glance.
type Summary struct {
	Root
	Next     uint32    // number of the next event, and so how many there are
	Position uint64    // of its newest event
	TypeURL  string    // of its newest event
	At       time.Time // when its newest event happened
	Snapshot bool      // whether a snapshot is kept
}

// NameOrder is how many characters of a name count for the order of names, and
// for what a name begins with. Nothing bounds names, but an index bounds its keys.
// A zero byte ends what counts, since SQLite's texts end there.
const NameOrder = 200

// SummaryQuery selects aggregates of one domain.
type SummaryQuery struct {
	Domain string
	// Prefix is what their names begin with, or with ByRoot the texts of their
	// roots; empty for all. Not longer than NameOrder characters.
	Prefix string
	// ByRoot orders by root. Without it the order is that of the first NameOrder
	// characters of the name, byte by byte, then of the root: those without a name
	// come first.
	ByRoot bool
	// After is the last one of the page before, nil for the first page.
	After *Root
	Limit int // at least 1
}

// LatestQuery asks for aggregates by their newest events.
type LatestQuery struct {
	Domain string // empty for all
	Before uint64 // only events below this position
	Look   int    // how many events of the log to look at, at most
	Limit  int    // at least 1
}

// NameKey returns the part of a name that counts for the order of names.
func NameKey(name string) string {
	count := 0
	for i, char := range name {
		if count == NameOrder || char == 0 {
			return name[:i]
		}
		count++
	}
	return name
}

// RootRange returns the lowest and the highest root whose text begins with the
// prefix, in lower case with its dashes; not ok when there can be none.
func RootRange(prefix string) (lowest, highest uuid.UUID, ok bool) {
	const form = "00000000-0000-0000-0000-000000000000"
	if len(prefix) > len(form) {
		return lowest, highest, false
	}
	for i := range len(prefix) {
		isDash := form[i] == '-'
		if isDash != (prefix[i] == '-') || !isDash && !strings.ContainsRune("0123456789abcdef", rune(prefix[i])) {
			return lowest, highest, false
		}
	}
	digits := strings.ReplaceAll(prefix, "-", "")
	fill := func(with string) (root uuid.UUID) {
		_, _ = hex.Decode(root[:], []byte(digits+strings.Repeat(with, 32-len(digits))))
		return root
	}
	return fill("0"), fill("f"), true
}

// Has reports whether a name begins with the query's prefix, as far as names
// count for their order.
func (q *SummaryQuery) Has(name string) bool { return strings.HasPrefix(NameKey(name), q.Prefix) }
