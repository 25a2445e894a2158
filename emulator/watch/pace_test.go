package watch

import (
	"testing"
	"time"
)

// clock is a pace in a world of its own time.
type clock struct {
	pace
	now  time.Time
	told []time.Duration // since the beginning
	mute []time.Duration
}

var beginning = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func newClock() *clock {
	return &clock{pace: pace{debounce: 50 * time.Millisecond, longest: time.Second}, now: beginning}
}

// until lets time pass, and tells what is due in it.
func (c *clock) until(at time.Duration, own bool) {
	for end := beginning.Add(at); ; {
		due, ok := c.due()
		if !ok || due.After(end) {
			c.now = end
			return
		}
		c.now = due
		if muted, ok := c.tell(due, own); ok {
			c.told, c.mute = append(c.told, due.Sub(beginning)), append(c.mute, muted)
		}
	}
}

func TestManySavesCauseAHandfulOfChanges(t *testing.T) {
	t.Parallel()
	for _, every := range []time.Duration{time.Millisecond, 49 * time.Millisecond, 50 * time.Millisecond, 51 * time.Millisecond, 70 * time.Millisecond} {
		c := newClock()
		last := time.Duration(0)
		for at := time.Duration(0); at < 10*time.Second; at += every {
			c.until(at, false)
			c.touch(c.now)
			last = at
		}
		c.until(time.Minute, false)
		if n := len(c.told); n > 5 {
			t.Errorf("every %s: %d changes, at %s", every, n, c.told)
		}
		if latest := c.told[len(c.told)-1]; latest < last || latest > last+400*time.Millisecond {
			t.Errorf("every %s: the last save was at %s, the last change at %s", every, last, latest)
		}
	}
}

func TestASaveNowAndThenIsToldAtOnce(t *testing.T) {
	t.Parallel()
	c := newClock()
	for i := range 20 {
		at := time.Duration(i) * 1500 * time.Millisecond
		c.until(at, false)
		c.touch(c.now)
		c.until(at+50*time.Millisecond, false)
		if len(c.told) != i+1 {
			t.Fatalf("after %d saves: %s", i+1, c.told)
		}
	}
}

// A service that writes what it watches, 100 ms after each start.
func TestAServiceThatRestartsItselfHasToWait(t *testing.T) {
	t.Parallel()
	c := newClock()
	c.touch(c.now)
	for at := time.Duration(0); at < 10*time.Minute; at += 10 * time.Millisecond {
		before := len(c.told)
		c.until(at, true)
		if len(c.told) > before {
			c.started = c.now.Add(time.Millisecond)
			c.touch(c.now.Add(100 * time.Millisecond))
		}
	}
	if n, most := len(c.told), freeRounds+8+int(10*time.Minute/longestMute); n > most {
		t.Errorf("%d restarts in ten minutes, more than %d: %s", n, most, c.told)
	}
	for i, muted := range c.mute {
		if want := i >= freeRounds; (muted > 0) != want {
			t.Errorf("change %d: muted %s", i, muted)
		}
	}
	if last := c.mute[len(c.mute)-1]; last != longestMute {
		t.Errorf("muted %s in the end", last)
	}
	// A person's change is told although the service has to wait.
	c.touch(c.now)
	before := len(c.told)
	c.until(c.now.Sub(beginning)+time.Second, false)
	if len(c.told) != before+1 {
		t.Error("a change of others was held back")
	}
	// When the service has become quiet, all is as before.
	c.started = c.now
	c.until(c.now.Sub(beginning)+time.Hour, true)
	for range 2 {
		c.touch(c.now)
		c.until(c.now.Sub(beginning)+50*time.Millisecond, true)
		c.started = c.now
		c.until(c.now.Sub(beginning)+time.Minute, true)
	}
	if last := c.mute[len(c.mute)-2:]; last[0] != 0 || last[1] != 0 {
		t.Errorf("muted %s after calm", last)
	}
}

// A person who mends a broken build, which starts nothing.
func TestSavesWithoutAStartAreNotHeldBack(t *testing.T) {
	t.Parallel()
	c := newClock()
	c.started = c.now
	for range 50 {
		c.touch(c.now)
		c.until(c.now.Sub(beginning)+1500*time.Millisecond, true)
	}
	if len(c.told) != 50 || c.mute[49] != 0 {
		t.Errorf("%d changes, muted %s", len(c.told), c.mute)
	}
}
