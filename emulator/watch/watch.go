// Package watch tells whose files have changed, so that a saved file restarts the
// services that are made of it, once, and no others. It knows how editors,
// formatters and version control write: many events of the file system become
// one change, and files that are written again as they were become none.
package watch

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Rule names files.
type Rule struct {
	Name string // whose files they are; rules may cover the same files
	// Dir is the absolute path of the folder from which the patterns are seen.
	// It need not exist yet.
	Dir string
	// Patterns are globs with / between their parts: * and ? stay within a part,
	// ** is any number of parts, {a,b} and [ab] are alternatives. A name without
	// wildcards is that file, or everything below that folder. A pattern may be
	// absolute or begin with ../. One that begins with ! takes files away from
	// those before it; one after it may add them again.
	//
	// Folders that hold nothing of people's, such as .git, node_modules or a
	// virtual environment, are never entered, unless the part of a pattern
	// before its first wildcard leads into them. Links to folders are followed
	// in that part only.
	Patterns []string
}

// Change says that files of a rule have other contents than before, are new or
// are gone.
type Change struct {
	Name  string
	Files []string // the first of them in alphabetical order, at most 100, as absolute paths
	Count int      // of all of them
	// Muted is above 0 when the service restarts itself: its own start has
	// changed these files again and again. Changes that it may have made are not
	// told before this time has passed.
	Muted time.Duration
}

const mostFiles = 100 // in a Change

// Options describe a watcher. Zero values mean the defaults.
type Options struct {
	// Debounce is how long a rule's files have to be quiet before a change is
	// told; 50 ms. It bridges the steps in which an editor saves a file. While
	// changes come one after the other it grows to eight times that.
	Debounce time.Duration
	// LongestWait is after how much time a change is told although there is no
	// quiet; 1 s. It grows in the same way, so that a tool which saves for ten
	// seconds without a pause causes a handful of changes.
	LongestWait time.Duration
	// OnChange gets the changes of each rule one at a time, those of different
	// rules at the same time. What changes while it runs is told when it has
	// returned. It may call SetRules and Started.
	OnChange func(Change)
	Logger   *slog.Logger
	// Ignore names more folders that are never entered, by their names, which
	// may be globs, or by their absolute paths.
	Ignore []string
}

func (o *Options) setDefaults() {
	if o.Debounce <= 0 {
		o.Debounce = 50 * time.Millisecond
	}
	if o.LongestWait <= 0 {
		o.LongestWait = time.Second
	}
	if o.OnChange == nil {
		o.OnChange = func(Change) {}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

// rule is a Rule and what is known of its files.
type rule struct {
	Rule
	patterns []*pattern // the last one first
	pace     pace
	changed  map[string]bool // files that are not told yet, and whether they are new
	own      map[string]bool // files that changed whenever the service had started
	busy     bool            // OnChange runs
	gone     bool            // it is no rule of the watcher any more
}

// Watcher watches the files of rules. It is safe for concurrent use.
type Watcher struct {
	options Options
	ignored *ignoring
	wake    chan struct{} // has one element when the loop is to look at the clock again
	filled  chan struct{} // has one element when there are files to read

	mu       sync.Mutex
	queue    *queue
	limit    int                       // of the queue
	add      func(folder string) error // watches a folder
	rules    []*rule
	folders  map[string]*folder  // all that are watched, by their real paths
	pass     int                 // counts the walks over everything
	touched  map[string]*touched // files that may have changed
	unread   []*folder           // whose files have not been read yet
	rescanAt time.Time           // when everything is looked at anew, or zero
	full     bool                // the limit of watches was reached, and that was said
	closed   bool
}

// touched is a file that may have changed, what it was before, and whose it is.
type touched struct {
	before file
	rules  []*rule
}

// New watches the files of the rules from now on: whatever changes after it has
// returned is told by Run. A watcher that is not run has to be closed.
//
// The error says what is wrong with all rules, or is ErrLimit with what to do
// about it; a developer can work without watching. It takes a few milliseconds
// in a usual project, and a second where there are some 100,000 files.
func New(rules []Rule, options Options) (*Watcher, error) {
	options.setDefaults()
	w := &Watcher{
		options: options, ignored: newIgnoring(options.Ignore), limit: mostEvents,
		wake: make(chan struct{}, 1), filled: make(chan struct{}, 1),
		folders: map[string]*folder{}, touched: map[string]*touched{},
	}
	w.add = func(folder string) error { return w.queue.notify.Add(folder) }
	compiled, err := compile(rules)
	if err != nil {
		return nil, err
	}
	if w.queue, err = newQueue(w.limit, options.Logger); err != nil {
		return nil, err
	}
	w.adopt(compiled)
	if err := w.walk(); err != nil {
		w.queue.close()
		return nil, err
	}
	return w, nil
}

// SetRules replaces the rules, also while the watcher runs. Of a rule that stays,
// by its name, no change is lost and nothing is forgotten; files that are new to
// a rule are not changed by that. The error says what is wrong with all rules,
// which then stay as they were, or that more folders cannot be watched.
func (w *Watcher) SetRules(rules []Rule) error {
	compiled, err := compile(rules)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || slices.EqualFunc(w.rules, compiled, func(a, b *rule) bool {
		return a.Name == b.Name && a.Dir == b.Dir && slices.Equal(a.Patterns, b.Patterns)
	}) {
		return nil
	}
	w.adopt(compiled)
	defer signal(w.wake)
	return w.walk()
}

// adopt takes over rules, and what is known of those that stay.
func (w *Watcher) adopt(compiled []*rule) {
	old := map[string]*rule{}
	for _, r := range w.rules {
		old[r.Name] = r
		r.gone = true
	}
	w.rules = nil
	place := 0
	for _, r := range compiled {
		r.pace = pace{debounce: w.options.Debounce, longest: w.options.LongestWait}
		r.changed, r.own = map[string]bool{}, map[string]bool{}
		if kept := old[r.Name]; kept != nil {
			r.takesOver(kept)
			kept.Rule, kept.patterns = r.Rule, r.patterns
			r, kept.gone = kept, false
		}
		for _, p := range r.patterns {
			p.rule, p.place = r, place
			place++
		}
		w.rules = append(w.rules, r)
	}
	maps.DeleteFunc(w.touched, func(_ string, t *touched) bool { return all(t.rules, isGone) })
}

func isGone(r *rule) bool { return r.gone }

// Started says that the service of a rule has just been started. When that is
// followed by a change of its files again and again, the changes are told less
// and less often.
func (w *Watcher) Started(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.rules {
		if r.Name == name {
			r.pace.started = time.Now()
		}
	}
}

// Run tells the changes until the context ends, and returns when OnChange has
// returned everywhere. It is called once. An error means that nothing is watched
// any more; it is ErrLimit when the system is the reason.
func (w *Watcher) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	defer w.Close()
	defer work.Wait()
	defer cancel()
	work.Go(func() { w.readAhead(ctx) })
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.ready():
		case <-w.wake:
		case <-timer.C:
		}
		next, err := w.step(ctx, &work)
		if err != nil {
			return err
		}
		timer.Reset(next)
	}
}

// Close ends all watches. After Run it does nothing.
func (w *Watcher) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		w.closed = true
		w.queue.close()
	}
}

func (w *Watcher) ready() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.queue.ready
}

// signal makes sure that a channel with room for one element has one.
func signal(channel chan<- struct{}) {
	select {
	case channel <- struct{}{}:
	default:
	}
}

const noTimer = time.Hour

// step looks at what has happened, tells what is due, and returns when there is
// something to do next.
func (w *Watcher) step(ctx context.Context, work *sync.WaitGroup) (time.Duration, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.takeEvents(); err != nil {
		return 0, err
	}
	for _, change := range w.due(time.Now()) {
		work.Go(func() { w.tell(ctx, change) })
	}
	next, now := noTimer, time.Now()
	for _, r := range w.rules {
		if at, ok := r.pace.due(); ok && !r.busy {
			next = min(next, at.Sub(now))
		}
	}
	if !w.rescanAt.IsZero() {
		next = min(next, w.rescanAt.Sub(now))
	}
	return max(next, 0), nil
}

// takeEvents brings what is known up to date.
func (w *Watcher) takeEvents() error {
	events, lost := w.queue.take()
	if now := time.Now(); lost && w.rescanAt.IsZero() {
		w.options.Logger.Debug("too many files change at once to follow each of them; all are looked at")
		w.rescanAt = now.Add(w.options.Debounce)
	}
	if w.rescanAt.IsZero() {
		for _, event := range events {
			w.handle(event)
		}
		return nil
	}
	if time.Now().Before(w.rescanAt) {
		return nil
	}
	w.rescanAt = time.Time{}
	return w.reopen()
}

// reopen starts all watches anew and looks at all files: of the old ones it is
// not known which folders they are at.
func (w *Watcher) reopen() error {
	fresh, err := newQueue(w.limit, w.options.Logger)
	if err != nil {
		return err
	}
	w.queue.close()
	w.queue = fresh
	return w.walk()
}

// pending is a change that is about to be told.
type pending struct {
	rule   *rule
	change Change
}

// due returns the changes whose time has come.
func (w *Watcher) due(now time.Time) []pending {
	var all []pending
	for _, r := range w.rules {
		if at, ok := r.pace.due(); !ok || r.busy || at.After(now) {
			continue
		}
		w.judge(r)
		if len(r.changed) == 0 {
			r.pace.nothing()
			continue
		}
		if muted, ok := r.pace.tell(now, r.mayBeOwn()); ok {
			r.busy = true
			all = append(all, pending{r, r.take(muted)})
		}
	}
	return all
}

// judge finds out which of the touched files of a rule have changed, for all
// rules that they belong to.
func (w *Watcher) judge(r *rule) {
	for path, t := range w.touched {
		if !slices.Contains(t.rules, r) {
			continue
		}
		delete(w.touched, path)
		now := look(path)
		w.remember(path, now)
		if t.before.same(now) {
			continue
		}
		for _, each := range t.rules {
			each.changed[path] = !t.before.there
		}
	}
}

// mayBeOwn reports whether the service itself may have made all that has
// changed: files that changed after its earlier starts, and new ones.
func (r *rule) mayBeOwn() bool {
	for path, isNew := range r.changed {
		if !isNew && !r.own[path] {
			return false
		}
	}
	return true
}

// take turns what has changed into what is told.
func (r *rule) take(muted time.Duration) Change {
	files := slices.Sorted(maps.Keys(r.changed))
	change := Change{Name: r.Name, Count: len(files), Muted: muted}
	for _, path := range files[:min(len(files), mostFiles)] {
		change.Files = append(change.Files, r.shown(path))
	}
	if r.pace.rounds == 0 {
		clear(r.own)
	} else if len(r.own)+len(files) <= mostOwnFiles {
		maps.Copy(r.own, r.changed)
		for path := range r.changed {
			r.own[path] = true
		}
	}
	clear(r.changed)
	return change
}

// shown returns a real path as it looks from where the rule was written.
func (r *rule) shown(path string) string {
	for _, p := range r.patterns {
		if shown, ok := p.shown(path); ok && !p.not {
			return shown
		}
	}
	return path
}

// tell hands over a change and makes the rule ready for the next one.
func (w *Watcher) tell(ctx context.Context, p pending) {
	if ctx.Err() == nil {
		w.options.OnChange(p.change)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	p.rule.busy = false
	signal(w.wake)
}

// handle notes what an event of the file system means.
func (w *Watcher) handle(event fsnotify.Event) {
	w.options.Logger.Debug("file event", "path", event.Name, "kind", event.Op.String())
	switch {
	case event.Has(fsnotify.Create):
		w.appeared(event.Name)
	case event.Has(fsnotify.Remove) || event.Has(fsnotify.Rename):
		w.vanished(event.Name)
	case event.Has(fsnotify.Write):
		w.touch(event.Name)
	}
}
