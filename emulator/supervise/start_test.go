//go:build unix

package supervise_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/angz-dev/angz/emulator/supervise"
)

func TestAServiceWaitsForItsVariables(t *testing.T) {
	t.Parallel()
	known := make(chan struct{})
	s := spec("healthy", socket(t))
	s.Build = supervise.Command{Shell: "echo built with $TOOL"}
	s.Env = append(s.Env, "TOOL=care")
	s.Run = supervise.Command{Shell: "echo run with $PLACE; exec " + s.Run.Argv[0]}
	s.RunEnv = func(context.Context) []string { <-known; return []string{"PLACE=late"} }
	r := run(t, supervise.Options{}, s)
	r.await("healthy", supervise.Building)
	close(known)
	r.await("healthy", supervise.Ready)
	if diff := cmp.Diff([]string{"built with care", "run with late"}, r.said("healthy")); diff != "" {
		t.Error(diff)
	}
}

func TestStoppingDuringABuildEndsTheBuild(t *testing.T) {
	t.Parallel()
	s := spec("healthy", socket(t))
	s.Build = supervise.Command{Shell: "echo $$; sleep 1000"}
	r := run(t, supervise.Options{}, s)
	r.await("healthy", supervise.Building)
	r.stop()
	if got := r.await("healthy", supervise.Stopped); got.Starts != 0 {
		t.Errorf("got %+v", got)
	}
}
