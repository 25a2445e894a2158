package emulator

import (
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/angz-dev/angz/emulator/watch"
	"github.com/angz-dev/angz/runtime/config"
)

// featureRule is the rule for the features that are run.
const featureRule = " features"

// Saved says what of a project was saved.
type Saved struct {
	What    string // the files, in a few words
	Project bool   // not only features: configuration, messages or a service's files
}

// Saves tells when files of a project are saved, to those who run its services
// without a runtime around them. It is safe for concurrent use.
type Saves struct {
	watcher *watch.Watcher
	code    *codeMemory
	wake    chan struct{} // has one element when there is something to tell

	mu    sync.Mutex
	what  []string
	saved Saved
}

// NewSaves watches the files of a project's services, its messages, its
// configuration and the features, from now on. Close must be called.
func NewSaves(c *config.Config, features []string, logger *slog.Logger) (*Saves, error) {
	s := &Saves{wake: make(chan struct{}, 1), code: &codeMemory{}}
	rules, err := s.rules(c, features)
	if err != nil {
		return nil, err
	}
	s.watcher, err = watch.New(rules, watch.Options{OnChange: s.note, Logger: logger})
	return s, err
}

// Follow watches what the project is made of now.
func (s *Saves) Follow(c *config.Config, features []string) error {
	rules, err := s.rules(c, features)
	if err != nil {
		return err
	}
	return s.watcher.SetRules(rules)
}

func (s *Saves) rules(c *config.Config, features []string) ([]watch.Rule, error) {
	plan, err := newPlanWith(c, nil, nil, filepath.Join(c.Dir, "nowhere")) // it only says what belongs to whom
	if err != nil {
		return nil, err
	}
	rules := rulesOf(plan, true)
	var patterns []string
	for _, feature := range features {
		place, _, _ := strings.Cut(feature, ".feature:") // a line of it
		if place != feature {
			place += ".feature"
		}
		if place, err = filepath.Abs(place); err != nil {
			return nil, err
		}
		if !strings.HasSuffix(place, ".feature") {
			place = filepath.Join(place, "**/*.feature")
		}
		patterns = append(patterns, place)
	}
	return append(rules, watch.Rule{Name: featureRule, Dir: c.Dir, Patterns: patterns}), nil
}

// Run watches until the context ends.
func (s *Saves) Run(ctx context.Context) error { return s.watcher.Run(ctx) }

// Close ends the watching of one that was not run.
func (s *Saves) Close() { s.watcher.Close() }

// note keeps a change until somebody waits for it. What angz itself has generated
// for the services that run is none.
func (s *Saves) note(change watch.Change) {
	if isKnown, _ := s.code.isKnown(change); isKnown {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saved.Project = s.saved.Project || change.Name != featureRule
	if told := what(change); !slices.Contains(s.what, told) {
		s.what = append(s.what, told)
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Wait returns what was saved since it returned before, as soon as there is
// something, or the context's error.
func (s *Saves) Wait(ctx context.Context) (Saved, error) {
	select {
	case <-ctx.Done():
		return Saved{}, ctx.Err()
	case <-s.wake:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	saved := s.saved
	saved.What = strings.Join(s.what, ", ")
	s.saved, s.what = Saved{}, nil
	return saved, nil
}
