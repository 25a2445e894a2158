package supervise

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// build is one build for one or more services.
type build struct {
	spec Spec // of the first service that needs it
	done chan struct{}
	// problem and tail say what went wrong, when done is closed.
	problem string
	tail    []string
}

// builds are the builds of a group, each once.
type builds struct {
	list []*build
	of   map[int]*build // by the index of the service
}

func newBuilds(specs []Spec) builds {
	all := builds{of: map[int]*build{}}
	byKey := map[string]*build{}
	for i, spec := range specs {
		if spec.Build.IsZero() || spec.Run.IsZero() {
			continue
		}
		key := fmt.Sprintf("%q %q %q %q", spec.Dir, spec.Build.Argv, spec.Build.Shell, slices.Sorted(slices.Values(spec.Env)))
		if byKey[key] == nil {
			byKey[key] = &build{spec: spec, done: make(chan struct{})}
			all.list = append(all.list, byKey[key])
		}
		all.of[i] = byKey[key]
	}
	return all
}

// build runs one build as soon as there is a slot for it.
func (g *Group) build(ctx context.Context, b *build, slots chan struct{}) {
	defer close(b.done)
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	case <-ctx.Done():
		return
	}
	c, err := g.spawn(b.spec, b.spec.Build, nil, "build")
	if err != nil {
		b.problem = fmt.Sprintf("the build cannot be started: %v", err)
		return
	}
	select {
	case <-ctx.Done():
		c.stop(g.options.Grace)
		return
	case <-c.exited:
		// What the build leaves running on purpose, a compiler's daemon, may
		// stay until angz ends; what is in its group may not.
		c.clean()
	}
	if !c.cmd.ProcessState.Success() {
		b.problem = fmt.Sprintf("%s: %s", strings.TrimSpace(b.spec.Build.String()), c.cmd.ProcessState)
		b.tail = c.tail.lines()
	}
}
