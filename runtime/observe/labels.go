package observe

import (
	"sync"
	"sync/atomic"
)

const (
	// mostLabels is how many values all labels of a process may have. A value is
	// a domain, a component or a method, of which a project has dozens; whoever
	// reaches this has put into a name what does not belong there.
	mostLabels = 500
	// otherLabel stands for a value that came after those, and for no value.
	otherLabel = "other"
)

// labels keeps the values of labels few, whatever callers give.
type labels struct {
	known sync.Map // of strings
	count atomic.Int64
}

// bounded returns the value, or otherLabel if there are too many of them.
func (l *labels) bounded(value string) string {
	if value == "" {
		return otherLabel
	}
	if _, ok := l.known.Load(value); ok {
		return value
	}
	if l.count.Load() >= mostLabels {
		return otherLabel
	}
	if _, ok := l.known.LoadOrStore(value, nil); !ok {
		l.count.Add(1)
	}
	return value
}
