package emulator

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/angz-dev/angz/emulator/project"
	"github.com/angz-dev/angz/emulator/supervise"
	"github.com/angz-dev/angz/emulator/watch"
	"github.com/angz-dev/angz/protocheck"
	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/node"
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
	watcher, err := watch.New(e.rules(e.current()), watch.Options{
		OnChange: func(change watch.Change) { e.saved(ctx, change) }, Logger: e.log.angz,
	})
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
	return rulesOf(p, e.options.Reload != nil)
}

// rulesOf says which files matter for whom in a project.
func rulesOf(p *plan, withConfig bool) []watch.Rule {
	var rules []watch.Rule
	for _, service := range p.services {
		if patterns := service.watched(); len(patterns) > 0 {
			rules = append(rules, watch.Rule{Name: service.label, Dir: service.dir, Patterns: patterns})
		}
	}
	if file := p.config.File; file != "" && withConfig {
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
func (e *emulation) saved(ctx context.Context, change watch.Change) {
	switch {
	case change.Name == configRule:
		e.wantReload()
	case change.Name == schemaRule:
		e.wantSchema()
	case e.board.isPaused(change.Name):
		e.log.angz.Info(what(change)+" was saved; restarts are paused (p)", "component", change.Name)
	default:
		e.restartSaved(ctx, change)
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

// restartSaved restarts a service whose files have changed. Code that has to be
// generated is generated first, so that the service is built once, and what was
// generated for a restart does not cause another one.
func (e *emulation) restartSaved(ctx context.Context, change watch.Change) {
	e.generate(ctx, e.current())
	why := what(change) + " was saved"
	isKnown, isCode := e.code.isKnown(change)
	if isKnown || ctx.Err() != nil {
		return
	}
	if isCode {
		why = "its code was generated anew"
	}
	e.code.starting(change.Name)
	e.group.Restart(supervise.Cause{Why: why, At: time.Now(), Files: change.Files}, change.Name)
	e.watchPlan(e.current()) // it may be made of other files now
}

// reloadSchema has the runtime read the .proto files again, and looks whether what
// is stored can still be read.
func (e *emulation) reloadSchema(ctx context.Context) {
	c, runtime := e.current().config, e.opened()
	if runtime == nil {
		return
	}
	source, schema, err := protosOf(ctx, c)
	if err == nil {
		err = runtime.ReloadSchema(ctx)
	}
	if err != nil {
		e.log.mistakes("the .proto files", err)
		return
	}
	e.log.angz.Info("the .proto files were read again")
	e.checkStored(ctx, c, source, schema)
}

// opened returns the runtime, nil before there is one.
func (e *emulation) opened() *node.Node {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.runtime
}

func protosOf(ctx context.Context, c *config.Config) (protocheck.Source, *protocheck.Schema, error) {
	source, err := protocheck.Read(c.Dir, c.Protos)
	if err != nil {
		return nil, nil, err
	}
	schema, err := protocheck.Compile(ctx, source)
	return source, schema, err
}

// checkFirst looks, as soon as the runtime is open, whether the .proto files have
// changed since everything that is stored could be read.
func (e *emulation) checkFirst(ctx context.Context) {
	c := e.current().config
	select {
	case <-e.current().doors.opened:
	case <-ctx.Done():
		return
	}
	source, schema, err := protosOf(ctx, c)
	if err == nil { // else others say it
		e.checkStored(ctx, c, source, schema)
	}
}

func (e *emulation) checkStored(ctx context.Context, c *config.Config, source protocheck.Source, schema *protocheck.Schema) {
	if err := e.compatible.check(ctx, c, source, schema, e.opened().Store()); err != nil && ctx.Err() == nil {
		e.log.angz.Debug("it is not known whether everything that is stored can be read", "error", err)
	}
}
