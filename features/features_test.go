// Package features_test runs the acceptance tests: what angz promises, in plain
// sentences, checked against the real runtime, in one process and as it runs in
// production. Every scenario has an angz of its own on a database of its own,
// clients on TCP, and stand-ins for the user's services on Unix sockets.
package features_test

import (
	"context"
	"io"
	"runtime"
	"testing"
	"time"

	"github.com/cucumber/godog"
)

// The two ways to run angz are tried one after the other, because each of them
// keeps the machine busy, and servers start while the first one runs.
func TestFeatures(t *testing.T) {
	run(t, together{}, "~@wip")
}

// run runs the scenarios that the tags allow.
func run(t *testing.T, angz deployment, tags string) {
	t.Helper()
	suite := godog.TestSuite{
		Name:                "features",
		ScenarioInitializer: func(scenario *godog.ScenarioContext) { prepare(t, angz, scenario) },
		Options: &godog.Options{
			Format: "progress", NoColors: true, Paths: []string{"."}, Tags: tags, TestingT: t, Output: words{t.Output()},
			Strict: true, Randomize: time.Now().UnixNano(), Concurrency: 4 * runtime.GOMAXPROCS(0),
		},
	}
	if suite.Run() != 0 {
		t.Error("not every scenario passed")
	}
}

// words takes out of a report the dots that stand for steps that passed: they
// would be all that is seen of a report that is cut short.
type words struct{ io.Writer }

func (w words) Write(text []byte) (int, error) {
	if string(text) == "." {
		return len(text), nil
	}
	return w.Writer.Write(text)
}

// prepare gives a scenario its world and its vocabulary.
func prepare(t *testing.T, angz deployment, scenario *godog.ScenarioContext) {
	scope := &scope{TB: t}
	w := newWorld(scope, angz)
	w.arrangeSteps(scenario)
	w.serviceSteps(scenario)
	w.commandSteps(scenario)
	w.eventSteps(scenario)
	w.streamSteps(scenario)
	w.querySteps(scenario)
	w.followerSteps(scenario)
	w.sagaSteps(scenario)
	w.deadLetterSteps(scenario)
	scenario.Before(func(ctx context.Context, _ *godog.Scenario) (context.Context, error) {
		return ctx, w.begin(ctx)
	})
	scenario.After(func(ctx context.Context, _ *godog.Scenario, err error) (context.Context, error) {
		if err == nil {
			err = w.unchecked()
		}
		w.end()
		scope.close()
		if err != nil {
			t.Log(w.said())
		}
		return ctx, err
	})
}
