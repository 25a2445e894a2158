package chaos

import (
	"math"
	"testing"
	"time"

	"github.com/google/uuid"
)

// A decision is a function of what it is about, so that two processes, or two
// versions of Go, decide alike.
func FuzzDecisions(f *testing.F) {
	f.Add(uint64(42), "bus", "projector/receipt", "order", "Place", []byte("0123456789abcdef"), uint32(3), 0)
	f.Add(uint64(0), "", "", "", "", []byte{}, uint32(math.MaxUint32), 2)
	f.Fuzz(func(t *testing.T, seed uint64, where, component, domain, command string, root []byte, sequence uint32, attempt int) {
		i := identity{road: road(where), component: component, domain: domain, command: command, sequence: sequence}
		copy(i.root[:], root)
		d := dice{identity: i, hash: i.hash(seed), attempt: attempt}
		again := dice{identity: i, hash: i.hash(seed), attempt: attempt}
		for _, kind := range Kinds {
			if luck := d.luck(string(kind)); luck < 0 || luck >= 1 || luck != again.luck(string(kind)) {
				t.Errorf("luck %v", luck)
			}
			if among := d.among(kind, 4); among < 1 || among > 4 || among != again.among(kind, 4) {
				t.Errorf("%d of 4", among)
			}
			if delay := d.delay(kind, time.Second); delay < 100*time.Millisecond || delay > time.Second || delay != again.delay(kind, time.Second) {
				t.Errorf("a delay of %s", delay)
			}
			if d.hit(kind, -1) || d.hit(kind, 1) != (attempt < mostAttempts) {
				t.Error("never and always are not what they say")
			}
		}
		other := i
		other.component, other.domain = i.component+"x", i.domain
		if other.hash(seed) == i.hash(seed) || i.hash(seed+1) == i.hash(seed) {
			t.Error("different things look the same")
		}
	})
}

// The numbers are written into bug reports: what a seed does must not change with
// a version of Go or of angz.
func TestASeedMeansTheSameForEver(t *testing.T) {
	t.Parallel()
	i := identity{
		road: roadCall, component: "projector/receipt", domain: "order", sequence: 3,
		root: uuid.MustParse("b1019e12-b184-5695-b4bd-4fdab04e7322"),
	}
	if got, want := i.hash(42), uint64(0xbba2cad34ace9979); got != want {
		t.Errorf("hash %#x, expected %#x", got, want)
	}
	d := dice{identity: i, hash: i.hash(42), attempt: 1}
	if got, want := d.luck(string(Repeated)), 0.39608059751219293; got != want {
		t.Errorf("luck %v, expected %v", got, want)
	}
}

func TestProbabilitiesAreWhatTheySay(t *testing.T) {
	t.Parallel()
	const throws = 100_000
	for _, probability := range []float64{0.01, 0.2, 0.5, 0.9} {
		hits := map[Kind]int{}
		for sequence := range uint32(throws) {
			i := identity{road: roadBus, component: "projector/receipt", domain: "order", sequence: sequence}
			d := dice{identity: i, hash: i.hash(1), attempt: int(sequence % mostAttempts)}
			for _, kind := range Kinds {
				if d.hit(kind, probability) {
					hits[kind]++
				}
			}
		}
		for kind, count := range hits {
			if got := float64(count) / throws; math.Abs(got-probability) > 0.01 {
				t.Errorf("%s with %v: %v", kind, probability, got)
			}
		}
		if len(hits) != len(Kinds) {
			t.Errorf("with %v only %v", probability, hits)
		}
	}
}

func TestCountersForgetWhatIsOld(t *testing.T) {
	t.Parallel()
	var c counters
	for hash := range uint64(10 * remembered) {
		if got := c.next(hash); got != 0 {
			t.Fatalf("%d was counted %d times before", hash, got)
		}
		if back := hash - remembered*9/10; hash >= remembered && hash%1000 == 0 {
			if got := c.next(back); got != 1 {
				t.Fatalf("%d, of %d before, was forgotten", back, remembered)
			}
		}
	}
	if kept := len(c.new) + len(c.before); kept > 2*remembered+1 {
		t.Errorf("%d are kept", kept)
	}
	if !c.nextBelow(1, 1) || c.nextBelow(1, 1) {
		t.Error("a limit of one is not one")
	}
}
