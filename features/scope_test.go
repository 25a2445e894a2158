package features_test

import (
	"fmt"
	"sync"
	"testing"
)

// scope is the testing.TB of one scenario: what is made in it goes with it, not
// with the whole run. A fatal failure panics, which the runner counts as a
// failure of the step.
type scope struct {
	testing.TB

	mu       sync.Mutex
	cleanups []func()
}

func (s *scope) Cleanup(cleanup func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cleanups = append(s.cleanups, cleanup)
}

func (s *scope) Fatal(words ...any) { panic(fmt.Sprint(words...)) }

func (s *scope) Fatalf(format string, words ...any) { panic(fmt.Sprintf(format, words...)) }

func (s *scope) FailNow() { panic("the step cannot go on") }

// close undoes everything, the newest first.
func (s *scope) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.cleanups) - 1; i >= 0; i-- {
		s.cleanups[i]()
	}
	s.cleanups = nil
}
