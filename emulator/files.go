package emulator

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/angz-dev/angz/emulator/project"
	"github.com/angz-dev/angz/emulator/supervise"
	"github.com/angz-dev/angz/emulator/watch"
)

// The rules for files that are nobody's in particular. No service is called so.
const (
	configRule = " configuration"
	schemaRule = " schema"
)

// watch acts on changes of files until the context ends. Without it everything
// works, except that one has to restart by hand. It looks at all files first,
// which nobody else waits for.
func (e *emulation) watch(ctx context.Context) {
	watcher, err := watch.New(e.rules(e.current()), watch.Options{OnChange: e.saved, Logger: e.log.angz})
	if err == nil {
		e.mu.Lock()
		e.watcher = watcher
		e.mu.Unlock()
		e.watchPlan(e.current()) // which may be another one by now
		err = watcher.Run(ctx)
	}
	if err != nil && ctx.Err() == nil {
		e.log.angz.Warn("changes of files are not noticed; restart services with r or angz restart", "error", err)
	}
}

func (e *emulation) watching() *watch.Watcher {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.watcher
}

// watchPlan watches what a plan wants watched.
func (e *emulation) watchPlan(p *plan) {
	watcher := e.watching()
	if watcher == nil {
		return
	}
	if err := watcher.SetRules(e.rules(p)); err != nil {
		e.log.angz.Warn("not all changes of files are noticed", "error", err)
	}
}

// rules says which files matter for whom.
func (e *emulation) rules(p *plan) []watch.Rule {
	var rules []watch.Rule
	for _, service := range p.services {
		if patterns := service.watched(); len(patterns) > 0 {
			rules = append(rules, watch.Rule{Name: service.label, Dir: service.dir, Patterns: patterns})
		}
	}
	if file := p.config.File; file != "" && e.options.Reload != nil {
		rules = append(rules, watch.Rule{Name: configRule, Dir: p.config.Dir, Patterns: []string{filepath.Base(file)}})
	}
	var schemas []string
	for _, folder := range p.config.Protos {
		schemas = append(schemas, filepath.Join(folder, "**/*.proto"))
	}
	if len(schemas) > 0 {
		rules = append(rules, watch.Rule{Name: schemaRule, Dir: p.config.Dir, Patterns: schemas})
	}
	return rules
}

// watched returns the patterns of the files whose changes restart the service.
func (s plannedService) watched() []string {
	switch {
	case s.config.Run.IsZero():
		return nil
	case len(s.config.Watch) > 0:
		return s.config.Watch
	}
	return project.Watched(s.language, s.dir, text(s.config.Run), text(s.config.Build))
}

// saved acts on a change of files.
func (e *emulation) saved(change watch.Change) {
	switch {
	case change.Name == configRule:
		e.wantReload()
	case change.Name == schemaRule:
		e.wantSchema()
	case e.board.isPaused(change.Name):
		e.log.angz.Info(what(change)+" was saved; restarts are paused (p)", "component", change.Name)
	default:
		e.group.Restart(supervise.Cause{Why: what(change) + " was saved", At: time.Now(), Files: change.Files}, change.Name)
		e.watchPlan(e.current()) // it may be made of other files now
	}
	if change.Muted >= tellMuted {
		e.log.angz.Warn(change.Name+" seems to change its own files whenever it starts, so the next restart for that has to wait; name the files that matter under watch",
			"component", change.Name, "duration", change.Muted, "files", change.Files)
	}
}

// tellMuted is from when on people are told that a service restarts itself.
// Whoever saves quickly waits for less.
const tellMuted = 4 * time.Second

// what names the files of a change in a few words.
func what(change watch.Change) string {
	if len(change.Files) == 0 {
		return "a file"
	}
	name := filepath.Base(change.Files[0])
	if change.Count > 1 {
		return fmt.Sprintf("%s with %d more files", name, change.Count-1)
	}
	return name
}

// reloadSchema has the runtime read the .proto files again.
func (e *emulation) reloadSchema() {
	e.mu.Lock()
	runtime := e.runtime
	e.mu.Unlock()
	if runtime == nil {
		return
	}
	if err := runtime.ReloadSchema(context.Background()); err != nil {
		e.log.mistakes("the .proto files", err)
		return
	}
	e.log.angz.Info("the .proto files were read again")
}
