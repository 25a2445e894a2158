// Package doctor finds out why a project does not run, or will not for long: it
// looks at the machine, the project and everything that its configuration names,
// changes nothing, and says for each finding what to do. It exists so that a
// person need not know where to look.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/node"
)

// Finding is what the doctor says about one thing.
type Finding = node.Finding

// Options say what is examined.
type Options struct {
	// Config is the project's configuration; nil when there is none that can be
	// used, for which Mistakes is the reason if there is one.
	Config   *config.Config
	Mistakes error
	// Dir is where the project was looked for.
	Dir     string
	Environ []string // as os.Environ returns it
	// Dev examines what angz dev needs, and leaves to it the services that it starts.
	// Otherwise it is a process of angz serve that is about to be started.
	Dev bool
	// Role and Name are what that process serves, as angz serve has them.
	Role, Name string
	// Version is what this angz is called, and Built when its sources were made;
	// zero when that is not known.
	Version string
	Built   time.Time
	// Within is how long one check may take; 3 s when 0.
	Within time.Duration
}

// within is how long one check may take where nothing else is said.
const within = 3 * time.Second

// Examine runs all checks at the same time and returns what they found, in an
// order that does not change. A check that takes too long is a finding too.
func Examine(ctx context.Context, o Options) []Finding {
	if o.Within == 0 {
		o.Within = within
	}
	checks := o.checks()
	found := make([][]Finding, len(checks))
	var running sync.WaitGroup
	for i, check := range checks {
		running.Go(func() { found[i] = bounded(ctx, o.Within, check) })
	}
	running.Wait()
	var all []Finding
	for _, findings := range found {
		all = append(all, findings...)
	}
	return all
}

// bounded runs a check and gives it up when its time is over. A check that then
// still hangs, such as on a network drive that is gone, is left behind: nothing
// can end it, and the process is about to end.
func bounded(ctx context.Context, limit time.Duration, check node.Check) []Finding {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	done := make(chan []Finding, 1)
	go func() { done <- check.Run(ctx) }()
	select {
	case found := <-done:
		return found
	case <-ctx.Done():
	}
	grace := time.NewTimer(limit / 10) // for its own words about what took so long
	defer grace.Stop()
	select {
	case found := <-done:
		return found
	case <-grace.C:
	}
	return []Finding{{State: node.Problem, What: check.What, Text: fmt.Sprintf("no answer within %s", limit), Fix: "see whether it hangs, or a firewall drops what is sent there"}}
}

// checks lists what is examined: the machine, the project, what it names.
func (o *Options) checks() []node.Check {
	checks := []node.Check{{What: "angz", Run: o.version}}
	checks = append(checks, o.machine()...)
	checks = append(checks, node.Check{What: "angz.yaml", Run: o.configuration})
	if o.Config == nil || o.Dev && o.Config.File == "" {
		return checks
	}
	if o.Dev {
		checks = append(checks, o.project()...)
	}
	return append(checks, node.Examine(node.ExamineOptions{Config: o.Config, Role: o.Role, Name: o.Name, Dev: o.Dev})...)
}

func (o *Options) version(context.Context) []Finding {
	return ok("angz", o.Version)
}

// configuration says what is wrong with the project's file, all of it.
func (o *Options) configuration(context.Context) []Finding {
	const what = "angz.yaml"
	if o.Mistakes != nil {
		var all *config.Errors
		if !errors.As(o.Mistakes, &all) {
			return []Finding{{State: node.Problem, What: what, Text: o.Mistakes.Error()}}
		}
		var findings []Finding
		for _, mistake := range all.List {
			findings = append(findings, Finding{State: node.Problem, What: what, Text: mistake.Error()})
		}
		findings[len(findings)-1].Look = "angz config check"
		return findings
	}
	findings := ok(what, o.Config.File+" is right")
	switch {
	case o.Config.File == "" && o.Dev:
		return ok(what, fmt.Sprintf("there is none in %s or above it: only the machine is examined", o.Dir))
	case o.Config.File == "":
		findings = ok(what, "there is none; the configuration, which has no file, is right")
	}
	for _, warning := range o.Config.Warnings() {
		findings = append(findings, Finding{State: node.Warning, What: what, Text: warning, Look: "angz config show --origin"})
	}
	return findings
}

func ok(what, text string) []Finding {
	return []Finding{{State: node.OK, What: what, Text: text}}
}

func problem(what, text, fix, look string) []Finding {
	return []Finding{{State: node.Problem, What: what, Text: text, Fix: fix, Look: look}}
}

func warning(what, text, fix, look string) []Finding {
	return []Finding{{State: node.Warning, What: what, Text: text, Fix: fix, Look: look}}
}
