package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/mattn/go-isatty"
)

// progressBar shows on a terminal how far something is, elsewhere nothing. It is
// safe for concurrent use.
//
// It is drawn by hand: the libraries for it bring tables of characters whose
// making costs 27 ms at every start of angz.
type progressBar struct {
	doing string
	out   io.Writer // nil for nowhere
	paint painter

	mu    sync.Mutex
	next  time.Time // when it is drawn again
	drawn bool
}

// redraw is the shortest time between two drawings.
const redraw = 100 * time.Millisecond

// newProgressBar returns a bar on standard error.
func newProgressBar(s streams, doing string) *progressBar {
	file, isFile := s.err.(*os.File)
	if !isFile || !isatty.IsTerminal(file.Fd()) {
		return &progressBar{}
	}
	// What is done before one sees it needs no bar.
	return &progressBar{doing: doing, out: s.err, paint: newPainter(s.err, s.environ), next: time.Now().Add(3 * redraw)}
}

// show shows that so much of the total is done.
func (p *progressBar) show(done, total uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.out == nil || total == 0 || time.Now().Before(p.next) {
		return
	}
	p.next, p.drawn = time.Now().Add(redraw), true
	fmt.Fprint(p.out, "\r\x1b[K"+p.doing+" "+p.bar(float64(min(done, total))/float64(total)))
}

// bar returns the bar for a fraction of the whole.
func (p *progressBar) bar(fraction float64) string {
	const width = 40
	full := int(fraction * width)
	return p.paint.paint("36", strings.Repeat("█", full)) + p.paint.dim(strings.Repeat("░", width-full)) + fmt.Sprintf(" %3.0f%%", fraction*100)
}

// done takes the bar away. It may be called twice.
func (p *progressBar) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.drawn {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
	p.out, p.drawn = nil, false
}
