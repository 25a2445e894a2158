package emulator

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/angz-dev/angz/emulator/watch"
	"github.com/angz-dev/angz/generate"
)

// codeMemory knows which code was generated for which start of a service, so that
// what was generated before a restart does not cause another one. The zero value
// knows nothing.
type codeMemory struct {
	mu      sync.Mutex // also held while code is generated
	told    string     // the newest mistake, as it was told
	runs    int        // how often code was written
	written map[string]writing
	started map[string]int // after how many runs each service was last started
	all     int            // after how many runs all were last started together
}

// writing is a generated file as a run left it.
type writing struct {
	run  int
	mark string
}

// remember takes note of what a run has changed. The lock is held.
func (m *codeMemory) remember(dir string, result *generate.Result) {
	if m.written == nil {
		m.written = map[string]writing{}
	}
	m.runs++
	for _, step := range result.Changed() {
		place := filepath.Join(dir, filepath.FromSlash(step.File.Path))
		m.written[place] = writing{m.runs, markOf(place)}
	}
}

// generated takes note of what a run has changed, of which all services are about
// to be built.
func (m *codeMemory) generated(dir string, result *generate.Result) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.remember(dir, result)
	m.all = m.runs
}

// isNew reports whether a mistake is another one than that which was told last.
// The lock is held.
func (m *codeMemory) isNew(err error) bool {
	before := m.told
	m.told = err.Error()
	return m.told != before
}

// starting notes that services are about to be built of the code as it is now; no
// names mean all.
func (m *codeMemory) starting(names ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(names) == 0 || m.started == nil {
		m.started, m.written = map[string]int{}, nil
	}
	for _, name := range names {
		m.started[name] = m.runs
	}
}

// isKnown reports whether a change of a service's files is nothing but generated
// code, of which the service was started already, and isCode whether it is nothing
// but generated code at all.
func (m *codeMemory) isKnown(change watch.Change) (isKnown, isCode bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if change.Count == 0 || change.Count != len(change.Files) {
		return false, false // not all of them are told
	}
	since := max(m.started[change.Name], m.all)
	isKnown = true
	for _, place := range change.Files {
		written, generated := m.written[place]
		if !generated || written.mark != markOf(place) {
			return false, false
		}
		isKnown = isKnown && written.run <= since
	}
	return isKnown, true
}

// markOf changes when a file does; empty when it is not there.
func markOf(place string) string {
	info, err := os.Stat(place)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%d %d", info.Size(), info.ModTime().UnixNano())
}
