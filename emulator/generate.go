package emulator

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"github.com/angz-dev/angz/emulator/project"
	"github.com/angz-dev/angz/generate"
	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/scaffold"
)

// Generation says what code a project wants to have generated. The name of a
// project that has none in its configuration is that of its folder.
func Generation(loaded *config.Config) (generate.Project, error) {
	text := loaded.Name
	if text == "" {
		text = filepath.Base(loaded.Dir)
	}
	name, err := scaffold.ParseName(text)
	if err != nil && loaded.Name != "" {
		return generate.Project{}, &Mistake{err}
	}
	if err != nil {
		name = scaffold.Name{"project"}
	}
	protos := loaded.Protos
	if len(protos) == 0 {
		protos = []string{"proto"}
	}
	return generate.Project{Dir: loaded.Dir, Name: name, Protos: protos, Targets: loaded.Generate}, nil
}

// generated is the file that remembers the last run, in the project's folder.
const generated = "generated.json"

// generate brings the generated code up to date. It reports whether the .proto
// files are in order; what is wrong with them is told, and the code stays as it
// was.
func (e *emulation) generate(ctx context.Context, p *plan) bool {
	if len(p.config.Generate) == 0 {
		return true
	}
	work, err := Generation(p.config)
	if err != nil {
		e.log.mistakes(p.config.File, err)
		return false
	}
	e.code.mu.Lock()
	defer e.code.mu.Unlock()
	began := time.Now()
	result, ran, err := generate.Update(ctx, work, filepath.Join(p.config.Dir, project.Folder, generated))
	switch {
	case ctx.Err() != nil:
		return false
	case errors.As(err, new(*generate.Faults)):
		if e.code.isNew(err) {
			e.log.mistakes("the .proto files", err)
		}
		return false
	case err != nil:
		if e.code.isNew(err) {
			e.log.angz.Error("code for the .proto files cannot be generated: "+err.Error(), "next", "angz generate tries again")
		}
		return true // the messages are as they are
	}
	e.code.told = ""
	if ran && len(result.Changed()) > 0 {
		e.code.remember(p.config.Dir, result)
		e.log.angz.Info("code was generated for the .proto files", "files", len(result.Changed()), "duration", time.Since(began))
	}
	return true
}

// followSchema has code generated and the runtime read the .proto files again
// whenever they were saved, until the context ends. Saves meanwhile make one run
// more.
func (e *emulation) followSchema(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.schema:
			if e.generate(ctx, e.current()) {
				e.reloadSchema(ctx)
			}
		}
	}
}

// wantSchema has the .proto files looked at again.
func (e *emulation) wantSchema() {
	select {
	case e.schema <- struct{}{}:
	default:
	}
}
