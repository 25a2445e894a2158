package watch

import "time"

const (
	mostSpread   = 3               // doublings of the wait while changes keep coming
	ownWrites    = 2 * time.Second // after its start, in which a service writes what it writes by itself
	freeRounds   = 8               // of a service that restarts itself, before it has to wait
	firstMute    = time.Second
	longestMute  = 10 * time.Second
	mostOwnFiles = 1000 // remembered of a service that restarts itself
)

// pace decides when the changes of a rule are told. It knows two kinds of
// calm: files that are saved again and again are told less and less often, and
// a service whose own start writes what it watches has to wait longer and longer.
type pace struct {
	debounce, longest time.Duration

	first, last time.Time // of the touches that are not told yet
	spread      int       // changes told without calm between them
	lastTold    time.Time // the last touch of the newest change

	told, started time.Time
	rounds        int // restarts that were followed at once by a change
	mutedUntil    time.Time
	held          bool // a change waits for mutedUntil
}

// touch notes that a file may have changed.
func (p *pace) touch(now time.Time) {
	if p.first.IsZero() {
		p.first = now
		if now.Sub(p.lastTold) > p.longest {
			p.spread = 0
		}
	}
	p.last = now
}

// due returns when the touches are to be judged; false means that there are none.
func (p *pace) due() (time.Time, bool) {
	if p.first.IsZero() {
		return p.mutedUntil, p.held
	}
	end := p.last.Add(p.debounce << p.spread)
	if latest := p.first.Add(p.longest << p.spread); end.After(latest) {
		end = latest
	}
	return end, true
}

// nothing forgets touches that have changed nothing.
func (p *pace) nothing() { p.first = time.Time{} }

// tell decides about a change, of which it is known whether the service's own
// start may have made all of it: it is told, and the service is muted for the
// time that is returned, or it is held back.
func (p *pace) tell(now time.Time, own bool) (muted time.Duration, ok bool) {
	if own && now.Before(p.mutedUntil) {
		p.held, p.first = true, time.Time{}
		return 0, false
	}
	if p.started.After(p.told) {
		if p.held || p.first.Before(p.started.Add(ownWrites)) {
			p.rounds++
		} else {
			p.rounds = 0
		}
	}
	if p.rounds >= freeRounds {
		muted = min(firstMute<<min(p.rounds-freeRounds, 10), longestMute)
	}
	if !p.first.IsZero() {
		p.lastTold = p.last
	}
	p.told, p.mutedUntil, p.held, p.first = now, now.Add(muted), false, time.Time{}
	p.spread = min(p.spread+1, mostSpread)
	return muted, true
}
