package observe

import (
	"sync"
	"time"
)

// Relayed says that everything up to a position has been handed to the bus, and
// how many books that was since the last time.
func (m *Metrics) Relayed(position uint64, books int) {
	if m == nil {
		return
	}
	m.relayed.Add(float64(books))
	m.relay.moved(position)
}

// RelayFailed counts an attempt to hand books to the bus that failed.
func (m *Metrics) RelayFailed() {
	if m == nil {
		return
	}
	m.relayFailures.Inc()
}

// Relaying says whether this process is the one that hands books to the bus, and
// from which position on.
func (m *Metrics) Relaying(active bool, from uint64) {
	if m == nil {
		return
	}
	m.relaying.Set(number(active))
	m.relay.run(active, from)
}

// progress knows how far behind the head of the log somebody is. It is told when
// he moves and looks at the head when it is asked, so it costs the log nothing.
type progress struct {
	mu       sync.Mutex
	now      func() time.Time
	head     func() uint64
	active   bool
	position uint64
	// level is when he was last known to have nothing before him, or to have
	// moved: no event that waits for him has waited longer.
	level time.Time
}

func (p *progress) watchHead(head func() uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.head = head
}

func (p *progress) run(active bool, from uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if active && !p.active {
		p.level = p.now()
	}
	p.active, p.position = active, from
}

func (p *progress) moved(to uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.position, p.level = to, p.now()
}

// lag returns how many positions and how long he is behind; known is false where
// somebody else does the work.
func (p *progress) lag() (positions uint64, since time.Duration, known bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.active || p.head == nil {
		return 0, 0, false
	}
	head := p.head()
	if head <= p.position {
		p.level = p.now()
		return 0, 0, true
	}
	return head - p.position, p.now().Sub(p.level), true
}
