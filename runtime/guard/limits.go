package guard

import (
	"fmt"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// mostCallers bounds each of the tables: who is forgotten begins anew.
const mostCallers = 10_000

// limits counts the calls of each caller.
type limits struct {
	rate           rate.Limit
	burst          int
	known, unknown table // apart, so that a flood of addresses makes nobody forgotten who has a name
}

// bucket is what one caller may still do now.
type bucket struct{ limiter *rate.Limiter }

func newLimits(perSecond float64, burst int) *limits {
	if perSecond == 0 {
		return nil
	}
	if burst == 0 {
		burst = int(math.Ceil(min(2*perSecond, math.MaxInt32)))
	}
	return &limits{rate: rate.Limit(perSecond), burst: burst}
}

func (l *limits) of(who string, known bool) *bucket {
	in := &l.unknown
	if known {
		in = &l.known
	}
	return in.get(who, func() *bucket { return &bucket{rate.NewLimiter(l.rate, l.burst)} })
}

// take counts a call and refuses it when it is one too many.
func (b *bucket) take(l *limits, who string) error {
	now := time.Now()
	reserved := b.limiter.ReserveN(now, 1)
	delay := reserved.DelayFrom(now)
	if reserved.OK() && delay == 0 {
		return nil
	}
	reserved.CancelAt(now)
	said := status.New(codes.ResourceExhausted, fmt.Sprintf("%q makes more calls than limits.requests_per_second (%g) and limits.burst (%d) allow: try again in %s",
		who, float64(l.rate), l.burst, max(delay.Round(time.Millisecond), time.Millisecond)))
	if detailed, err := said.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(delay)}); err == nil {
		said = detailed
	}
	return said.Err()
}

// table holds the newest callers, at least mostCallers of them and at most twice
// as many.
type table struct {
	mu          sync.Mutex
	newer, past map[string]*bucket
}

func (t *table) get(who string, create func() *bucket) *bucket {
	t.mu.Lock()
	defer t.mu.Unlock()
	if found, ok := t.newer[who]; ok {
		return found
	}
	found, ok := t.past[who]
	if !ok {
		found = create()
	}
	if t.newer == nil || len(t.newer) >= mostCallers {
		t.past, t.newer = t.newer, map[string]*bucket{}
	}
	t.newer[who] = found
	return found
}
