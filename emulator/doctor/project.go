package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/angz-dev/angz/emulator/control"
	"github.com/angz-dev/angz/emulator/project"
	"github.com/angz-dev/angz/emulator/supervise"
	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/node"
)

// ownFolder is where angz keeps what belongs to a project.
const ownFolder = ".angz"

// service is one of the project's services as the checks see it.
type service struct {
	config.Service
	kind     project.Kind
	label    string // "domain order"
	dir      string // absolute
	language string // empty when it is not known or somebody else starts it
}

// services lists the project's services.
func (o *Options) services() []service {
	var all []service
	for _, list := range []struct {
		kind     project.Kind
		word     string
		services []config.Service
	}{{project.Business, "domain", o.Config.Domains}, {project.Projector, "projector", o.Config.Projectors}, {project.Saga, "saga", o.Config.Sagas}} {
		for _, configured := range list.services {
			s := service{Service: configured, kind: list.kind, label: list.word + " " + configured.Name, dir: o.inProject(configured.Dir)}
			if !configured.Run.IsZero() {
				s.language = project.Language(s.dir, supervise.Command(configured.Run).String(), supervise.Command(configured.Build).String())
			}
			all = append(all, s)
		}
	}
	return all
}

// project returns the checks of what angz dev needs of a project.
func (o *Options) project() []node.Check {
	services := o.services()
	run := &running{dir: o.Config.Dir}
	checks := []node.Check{{What: "angz dev", Run: run.emulator}, {What: ownFolder, Run: o.folder}}
	for _, s := range services {
		checks = append(checks, node.Check{What: s.label, Run: s.commands})
	}
	checks = append(checks, languages(services)...)
	checks = append(checks, node.Check{What: "ports", Run: func(ctx context.Context) []Finding { return o.ports(run.is(ctx), services) }})
	return append(checks, node.Check{What: "sockets", Run: func(ctx context.Context) []Finding { return o.sockets(run.is(ctx), services) }})
}

// running knows whether the project runs on this machine.
type running struct{ dir string }

// is reports whether an emulator holds the project.
func (r *running) is(context.Context) bool {
	client, err := control.Find(r.dir)
	if err != nil {
		return !errors.As(err, new(*control.NotRunning))
	}
	return client.Close() == nil
}

// emulator says how a running emulator is doing, with a finding for each service
// that is not well.
func (r *running) emulator(ctx context.Context) []Finding {
	const what = "angz dev"
	client, err := control.Find(r.dir)
	if errors.As(err, new(*control.NotRunning)) {
		return ok(what, "does not run for this project")
	}
	if err != nil {
		return problem(what, err.Error(), "", "angz ps --all")
	}
	defer client.Close()
	status, err := client.Status(ctx)
	if err != nil {
		return problem(what, fmt.Sprintf("process %d runs the project, but does not answer", client.PID), fmt.Sprintf("stop it with: angz stop, or kill %d", client.PID), "angz ps --all")
	}
	findings := ok(what, fmt.Sprintf("runs as process %d since %s", status.PID, status.Since.Local().Format(time.DateTime)))
	for _, s := range status.Services {
		if s.State.Serves() && s.Problem == "" {
			continue
		}
		text := string(s.State)
		if s.Problem != "" {
			text += ": " + s.Problem
		}
		findings = append(findings, Finding{State: node.Problem, What: s.Kind + " " + s.Name, Text: text, Look: "angz logs " + s.Name})
	}
	return findings
}

// How much room the disk should have for the project's data.
const (
	littleRoom = 1 << 30
	noRoom     = 100 << 20
)

// folder examines where angz keeps the project's data.
func (o *Options) folder(context.Context) []Finding {
	folder := filepath.Join(o.Config.Dir, ownFolder)
	if _, err := os.Stat(folder); errors.Is(err, os.ErrNotExist) {
		folder = o.Config.Dir // in which it will be made
	}
	if err := tryWriting(folder); err != nil {
		return problem(ownFolder, fmt.Sprintf("%s cannot be written: %v", folder, err), "make it writable for this user", "ls -ld "+folder)
	}
	left, known := freeBytes(folder)
	switch text := fmt.Sprintf("%s has room for %d MiB", folder, left>>20); {
	case !known:
		return ok(ownFolder, folder+" can be written")
	case left < noRoom:
		return problem(ownFolder, text, "make room on its disk", "df -h "+folder)
	case left < littleRoom:
		return warning(ownFolder, text, "make room on its disk", "df -h "+folder)
	default:
		return ok(ownFolder, text)
	}
}
