package watch

import (
	"context"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"
)

// folder is one that is watched.
type folder struct {
	path     string          // the real one
	patterns []*pattern      // that reach it, in their order; shared between folders
	files    map[string]file // that a rule covers, by name
	pass     int             // of the newest walk that came by
	explicit bool            // the fixed part of a pattern leads here
}

// deciding calls a function with the pattern of each rule that decides about a
// name, until it returns false.
func (f *folder) deciding(name string, yield func(*pattern) bool) {
	if ignoredFile(name) {
		return
	}
	var decided *rule
	for _, p := range f.patterns { // the last one of a rule comes first
		if p.rule == decided || p.rule.gone || !p.matches(f.path, name) {
			continue
		}
		if decided = p.rule; !yield(p) {
			return
		}
	}
}

// covering returns the rules whose files a name in the folder is among.
func (f *folder) covering(name string) (rules []*rule) {
	f.deciding(name, func(p *pattern) bool {
		if !p.not {
			rules = append(rules, p.rule)
		}
		return true
	})
	return rules
}

// covers reports whether there is such a rule.
func (f *folder) covers(name string) bool {
	covered, _ := f.knows(name)
	return covered
}

// knows reports whether a rule covers a name, and whether a file of that name
// would be known by now if it had existed.
func (f *folder) knows(name string) (covered, sought bool) {
	f.deciding(name, func(p *pattern) bool {
		covered = covered || !p.not
		sought = sought || !p.not && p.sought
		return !sought
	})
	return covered, sought
}

func (f *folder) set(name string, now file) {
	if f.files == nil {
		f.files = map[string]file{}
	}
	f.files[name] = now
}

// walk watches all folders that can hold files of the rules, ends the watches of
// all others, and notes what has changed without an event. Files of patterns that
// are looked for the first time are taken as they are. An error is about the
// limit of watches.
func (w *Watcher) walk() error {
	w.pass++
	seeds := w.seeds()
	for _, dir := range slices.Sorted(maps.Keys(seeds)) {
		if w.visited(dir) {
			continue // from one above
		}
		if err := w.visit(dir, nil, seeds); err != nil {
			return err
		}
		if !w.visited(dir) && !isDir(dir) {
			// It was there a moment ago. The next one above it is to be watched.
			w.rescanAt = time.Now().Add(w.options.Debounce)
		}
	}
	for path, f := range w.folders {
		if w.visited(path) {
			continue
		}
		if !isDir(path) {
			w.touchAll(f)
		}
		w.unwatch(path)
	}
	for _, r := range w.rules {
		for _, p := range r.patterns {
			p.sought = true
		}
	}
	return nil
}

// visited reports whether the newest walk has come by a folder.
func (w *Watcher) visited(path string) bool {
	f := w.folders[path]
	return f != nil && f.pass == w.pass
}

// seeds returns for each pattern the folder from which on it is looked for: that
// of its fixed part or, while that is missing, the nearest one above it. Those
// from the rule's folder down to there are with it, since a folder that is given
// another name tells only those who watch itself.
func (w *Watcher) seeds() map[string][]*pattern {
	seeds := map[string][]*pattern{}
	resolved := map[string][2]string{}
	known := func(path string) (real, nearest string) {
		found, ok := resolved[path]
		if !ok {
			found[0], found[1] = resolve(path)
			resolved[path] = found
		}
		return found[0], found[1]
	}
	for _, r := range w.rules {
		for _, p := range r.patterns {
			real, nearest := known(p.base)
			p.real = real
			if p.not {
				continue
			}
			seeds[nearest] = append(seeds[nearest], p)
			for top, _ := known(r.Dir); nearest != top && within(nearest, top); {
				nearest = filepath.Dir(nearest)
				seeds[nearest] = append(seeds[nearest], p)
			}
		}
	}
	return seeds
}

// resolve returns the real path of what may not exist, and the nearest existing
// folder at or above it.
func resolve(path string) (real, nearest string) {
	if found, err := filepath.EvalSymlinks(path); err == nil {
		if info, err := os.Stat(found); err == nil && info.IsDir() {
			return found, found
		}
	}
	above := filepath.Dir(path)
	if above == path {
		return path, path
	}
	real, nearest = resolve(above)
	return filepath.Join(real, filepath.Base(path)), nearest
}

func realPath(path string) string {
	real, _ := resolve(path)
	return real
}

// visit watches a folder and those in it that the patterns reach. The watch comes
// first, so that nothing is lost between it and the list of files.
func (w *Watcher) visit(path string, inherited []*pattern, seeds map[string][]*pattern) error {
	if err := w.add(path); err != nil {
		if adviceFor(err, runtime.GOOS) != "" {
			return limitError(err, path)
		}
		return nil // it is gone again, or nobody may read it
	}
	entries, err := readFolder(path)
	explicit := len(seeds[path]) > 0
	if err != nil || !explicit && slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return isMarker(e.Name()) }) {
		w.unwatch(path)
		return nil
	}
	f := w.folders[path]
	if f == nil {
		f = &folder{path: path}
		w.folders[path] = f
	}
	f.pass, f.explicit, f.patterns = w.pass, explicit, withSeeds(inherited, seeds[path], path)
	w.compare(f, entries)
	return w.visitBelow(f, entries, seeds)
}

// visitBelow visits the folders in a folder.
func (w *Watcher) visitBelow(f *folder, entries []fs.DirEntry, seeds map[string][]*pattern) error {
	beside := func(pattern string) bool {
		return slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return matchesAny([]string{pattern}, e.Name()) })
	}
	for _, entry := range entries {
		if !entry.IsDir() {
			continue
		}
		child := filepath.Join(f.path, entry.Name())
		patterns := w.passOn(f, child, beside)
		if len(patterns) == 0 && len(seeds[child]) == 0 {
			continue
		}
		if err := w.visit(child, patterns, seeds); err != nil {
			return err
		}
	}
	return nil
}

// passOn returns the patterns of a folder that reach into one in it.
func (w *Watcher) passOn(f *folder, child string, beside func(string) bool) []*pattern {
	if w.ignored.folder(child, filepath.Base(child), beside) {
		return nil
	}
	reaching := func(p *pattern) bool { return p.reaches(child) }
	patterns := f.patterns
	if !all(patterns, reaching) {
		patterns = slices.DeleteFunc(slices.Clone(patterns), func(p *pattern) bool { return !reaching(p) })
	}
	for _, p := range patterns {
		if !p.not && !takenAway(p, patterns, child) {
			return patterns
		}
	}
	return nil
}

func all[T any](list []T, is func(T) bool) bool {
	return !slices.ContainsFunc(list, func(each T) bool { return !is(each) })
}

// takenAway reports whether a later pattern takes away all that a pattern finds
// in a folder.
func takenAway(p *pattern, patterns []*pattern, folder string) bool {
	return slices.ContainsFunc(patterns, func(later *pattern) bool {
		return later.not && later.rule == p.rule && later.place < p.place && later.takesAll(folder)
	})
}

// withSeeds adds the patterns that begin in a folder, and what their rules take
// away from them.
func withSeeds(inherited, seeds []*pattern, path string) []*pattern {
	if len(seeds) == 0 {
		return inherited
	}
	patterns := slices.Concat(inherited, seeds)
	for _, seed := range seeds {
		for _, p := range seed.rule.patterns {
			if p.not && p.reaches(path) {
				patterns = append(patterns, p)
			}
		}
	}
	slices.SortFunc(patterns, func(a, b *pattern) int { return a.place - b.place })
	return slices.Compact(patterns)
}

// compare notes how the files of a folder differ from what is known of them.
func (w *Watcher) compare(f *folder, entries []fs.DirEntry) {
	there := make(map[string]bool, len(f.files))
	unread := false
	for _, entry := range entries {
		name := entry.Name()
		if entry.IsDir() {
			continue
		}
		covered, sought := f.knows(name)
		if !covered {
			continue
		}
		info, err := entry.Info()
		if err != nil {
			continue // it is gone again, which is an event of its own
		}
		there[name] = true
		known, isKnown := f.files[name]
		switch {
		case isKnown && known.surely(info):
		case isKnown || sought:
			w.touch(filepath.Join(f.path, name))
		default:
			now := glance(filepath.Join(f.path, name), info)
			f.set(name, now)
			unread = unread || now.readable()
		}
	}
	for name := range f.files {
		switch {
		case !f.covers(name):
			delete(f.files, name)
		case !there[name]:
			w.touch(filepath.Join(f.path, name))
		}
	}
	if unread {
		w.unread = append(w.unread, f)
		signal(w.filled)
	}
}

// touch notes that a file may have changed.
func (w *Watcher) touch(path string) {
	f := w.folders[filepath.Dir(path)]
	if f == nil {
		return
	}
	name := filepath.Base(path)
	rules := f.covering(name)
	if len(rules) == 0 {
		return
	}
	t := w.touched[path]
	if t == nil {
		t = &touched{before: f.files[name], rules: rules}
		w.touched[path] = t
	}
	now := time.Now()
	for _, r := range rules {
		r.pace.touch(now)
		if !slices.Contains(t.rules, r) {
			t.rules = append(t.rules, r)
		}
	}
}

func (w *Watcher) touchAll(f *folder) {
	for name := range f.files {
		w.touch(filepath.Join(f.path, name))
	}
}

// remember keeps what a file is now.
func (w *Watcher) remember(path string, now file) {
	f, name := w.folders[filepath.Dir(path)], filepath.Base(path)
	switch {
	case f == nil:
	case now.there && f.covers(name):
		f.set(name, now)
	default:
		delete(f.files, name)
	}
}

// unwatch forgets a folder.
func (w *Watcher) unwatch(path string) {
	_ = w.queue.notify.Remove(path) // the watch may have ended by itself
	delete(w.folders, path)
}

// appeared handles what is new, or was renamed over something else.
func (w *Watcher) appeared(path string) {
	parent, name := w.folders[filepath.Dir(path)], filepath.Base(path)
	if parent == nil {
		return
	}
	w.touch(path)
	info, err := os.Lstat(path)
	isFolder := err == nil && (info.IsDir() || info.Mode()&fs.ModeSymlink != 0 && isDir(path))
	switch {
	case err != nil:
	case isMarker(name) && !parent.explicit:
		w.forget(parent.path)
	case isFolder && w.leads(path):
		w.try(w.walk())
	case info.IsDir():
		beside := func(pattern string) bool {
			entries, _ := readFolder(parent.path) // what cannot be read holds nothing
			return slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return matchesAny([]string{pattern}, e.Name()) })
		}
		if patterns := w.passOn(parent, path, beside); len(patterns) > 0 {
			w.try(w.visit(path, patterns, nil))
		}
	}
}

// leads reports whether a pattern begins at or below a path.
func (w *Watcher) leads(path string) bool {
	for _, r := range w.rules {
		for _, p := range r.patterns {
			if within(p.real, path) || within(p.base, path) {
				return true
			}
		}
	}
	return false
}

// vanished handles what is gone, or has another name now.
func (w *Watcher) vanished(path string) {
	if w.folders[path] == nil {
		w.touch(path)
		return
	}
	for below, f := range w.folders {
		if within(below, path) {
			w.touchAll(f)
			w.unwatch(below)
		}
	}
	if w.leads(path) {
		w.try(w.walk())
	} else if isDir(path) {
		w.appeared(path) // it is there again, and that event may be older than the watch
	}
}

// forget ends the watches of a folder that turns out to hold nothing of people's,
// and what was seen in it.
func (w *Watcher) forget(path string) {
	for below := range w.folders {
		if within(below, path) {
			w.unwatch(below)
		}
	}
	maps.DeleteFunc(w.touched, func(file string, _ *touched) bool { return within(file, path) })
	for _, r := range w.rules {
		maps.DeleteFunc(r.changed, func(file string, _ bool) bool { return within(file, path) })
	}
}

// try reports a folder that cannot be watched, once.
func (w *Watcher) try(err error) {
	if err != nil && !w.full {
		w.full = true
		w.options.Logger.Error("some changes of files will not be seen", "error", err)
	}
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// readFolder lists a folder in no order.
func readFolder(path string) ([]fs.DirEntry, error) {
	opened, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer opened.Close() // it was only read
	return opened.ReadDir(-1)
}

// readAhead reads the files that are known by size and time only, so that later
// it can be told whether their content has changed.
func (w *Watcher) readAhead(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.filled:
		}
		for f, files := w.nextUnread(); f != nil && ctx.Err() == nil; f, files = w.nextUnread() {
			for name, known := range files {
				w.fill(f, name, known)
			}
		}
	}
}

// nextUnread returns a folder and which of its files are to be read.
func (w *Watcher) nextUnread() (*folder, map[string]file) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(w.unread) - 1
	if n < 0 {
		w.unread = nil
		return nil, nil
	}
	f := w.unread[n]
	w.unread[n], w.unread = nil, w.unread[:n]
	files := maps.Clone(f.files)
	maps.DeleteFunc(files, func(_ string, known file) bool { return !known.readable() })
	return f, files
}

// fill reads a file and keeps its hash, unless it is no longer what was known of
// it: then what it was before stays unknown.
func (w *Watcher) fill(f *folder, name string, known file) {
	path := filepath.Join(f.path, name)
	is := func() bool {
		info, err := os.Stat(path)
		return err == nil && known.surely(info)
	}
	if !is() {
		return
	}
	hash := hashOf(path)
	if !is() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.folders[f.path] == f && f.files[name] == known && w.touched[path] == nil {
		known.hash = hash
		f.files[name] = known
	}
}
