// Package gherkin runs the features of a project against its real services, in
// any language, without code for the steps: a fixed vocabulary speaks of commands,
// events, projections and sagas, and tables become messages by the project's own
// .proto files. It exists so that what a domain does can be said, and checked, in
// plain sentences.
package gherkin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/cucumber/godog"

	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/payload"
)

// Options say what is run, and how it is told.
type Options struct {
	Config   *config.Config // with the address of every service
	Features []string       // files, folders, or file:line, seen from the working folder
	Tags     string         // which scenarios, as in "@slow && ~@wip"; empty means all
	Format   string         // pretty, progress, junit or json
	Output   io.Writer
	Color    bool
	// Concurrency is how many scenarios run side by side; 0 means a sensible number.
	Concurrency int
	// Seed orders the scenarios at random; 0 leaves them as they are written.
	Seed     int64
	FailFast bool
	// Said returns what services have printed since the function was called before;
	// nil for nothing.
	Said func() string

	failures *failures
}

// failures are what services have said while scenarios failed.
type failures struct {
	mu   sync.Mutex
	text strings.Builder
}

// failed keeps what services have said by the end of a scenario that failed.
func (o Options) failed(scenario string) {
	if o.Said == nil {
		return
	}
	o.failures.mu.Lock()
	defer o.failures.mu.Unlock()
	if said := strings.TrimSpace(o.Said()); said != "" {
		fmt.Fprintf(&o.failures.text, "\n%s: meanwhile the services said\n  %s\n", scenario, strings.ReplaceAll(said, "\n", "\n  "))
	}
}

// Formats are the forms of a report.
var Formats = []string{"pretty", "progress", "junit", "json"}

// patience is how long a step waits for what must happen.
const patience = 20 * time.Second

// ErrFailed says that not every scenario passed, which the report has told.
var ErrFailed = errors.New("not every scenario passed")

// Mistake is an error in a feature or in how it was asked for. Nothing was run.
type Mistake struct{ Text string }

func (m *Mistake) Error() string { return m.Text }

// Check reads the features and finds steps that mean nothing, and messages and
// domains that there are not, before anything is started. The error is a
// *Mistake with all of them.
func Check(ctx context.Context, options Options) error {
	schema, err := loadSchema(ctx, options.Config)
	if err != nil {
		return &Mistake{err.Error()}
	}
	pickles, err := read(options.Features)
	if err != nil {
		return err
	}
	return check(pickles, options.Config, schema)
}

// Run runs the features. Each scenario has an angz of its own, empty but for what
// the scenario gives; the services are shared by all. The error is ErrFailed, or
// says why nothing could be run.
func Run(ctx context.Context, options Options) error {
	schema, err := loadSchema(ctx, options.Config)
	if err != nil {
		return &Mistake{err.Error()}
	}
	options.failures = &failures{}
	if options.Said != nil {
		options.Said() // what they said when they were started is no scenario's
	}
	if options.Concurrency == 0 {
		options.Concurrency = 2 * runtime.GOMAXPROCS(0)
	}
	if options.Format == "pretty" {
		options.Concurrency = 1 // it tells as it goes
	}
	report := &plain{to: options.Output}
	suite := godog.TestSuite{
		Name: filepath.Base(options.Config.Dir),
		ScenarioInitializer: func(scenario *godog.ScenarioContext) {
			newWorld(options, schema).register(scenario)
		},
		Options: &godog.Options{
			Format: formatName(options.Format), NoColors: !options.Color, Paths: options.Features, Tags: options.Tags, Output: report,
			Strict: true, Randomize: options.Seed, Concurrency: options.Concurrency, StopOnFailure: options.FailFast, DefaultContext: ctx,
		},
	}
	code := suite.Run()
	if options.Format == "pretty" || options.Format == "progress" {
		report.line = append(report.line, options.failures.text.String()...)
	}
	if err := report.close(); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	switch code {
	case 0:
		return ctx.Err()
	case 1:
		return ErrFailed
	}
	return &Mistake{"the features cannot be run as they were asked for: " + strings.Join(options.Features, ", ")}
}

func formatName(format string) string {
	if format == "json" {
		return "cucumber"
	}
	return format
}

func loadSchema(ctx context.Context, loaded *config.Config) (*payload.Schema, error) {
	var folders []string
	for _, folder := range loaded.Protos {
		if !filepath.IsAbs(folder) {
			folder = filepath.Join(loaded.Dir, folder)
		}
		folders = append(folders, folder)
	}
	if len(folders) == 0 {
		return nil, fmt.Errorf("%s names no folder of .proto files, without which tables cannot become messages; expected protos: [proto]", loaded.File)
	}
	return payload.Load(ctx, folders, nil)
}

// quiet is for runtimes of which only their effects are looked at.
var quiet = slog.New(slog.DiscardHandler)
