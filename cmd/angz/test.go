package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/angz-dev/angz/emulator"
	"github.com/angz-dev/angz/gherkin"
	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/node"
)

// testOptions are the flags of "angz test".
type testOptions struct {
	s           streams
	config      string
	tags        string
	format      string
	output      string
	concurrency int
	random      bool
	seed        int64
	failFast    bool
	watch       bool
}

func newTestCommand(s streams) *cobra.Command {
	o := &testOptions{s: s}
	cmd := &cobra.Command{
		Use:   "test [FEATURE...]",
		Short: "Run features against the project's services",
		Long: "Run features, written in Gherkin, against the project's real services, in any language and without code\n" +
			"for the steps: commands, events, projections and sagas are spoken of in the sentences that docs/testing.md\n" +
			"lists. Services are built and started once. Every scenario has an empty angz of its own, in memory; a running\n" +
			"\"angz dev\" is not disturbed. Without a FEATURE, everything in features is run.",
		Example: "  angz test\n" +
			"  angz test --watch\n" +
			"  angz test features/todo.feature:3\n" +
			"  angz test --tags '~@slow' --random-order\n" +
			"  angz test --format junit --output-file report.xml",
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.config, "config", "", "the configuration file (default: angz.yaml in this folder or above)")
	flags.StringVarP(&o.tags, "tags", "t", "", "which scenarios, such as '@slow && ~@wip'")
	flags.StringVar(&o.format, "format", "pretty", "how it is told: "+strings.Join(gherkin.Formats, ", "))
	flags.StringVar(&o.output, "output-file", "", "write the report to this file instead of the standard output")
	flags.IntVar(&o.concurrency, "concurrency", 0, "how many scenarios run side by side, 0 for as many as suit the machine; pretty tells one after the other")
	flags.BoolVar(&o.random, "random-order", false, "run the scenarios in a random order, and say which")
	flags.Int64Var(&o.seed, "seed", 0, "run them in the order that --random-order has said")
	flags.BoolVar(&o.failFast, "fail-fast", false, "stop at the first scenario that fails")
	flags.BoolVarP(&o.watch, "watch", "w", false, "run them again whenever a feature, a service or a .proto file is saved")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(gherkin.Formats, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (o *testOptions) run(ctx context.Context, features []string) (err error) {
	if !slices.Contains(gherkin.Formats, o.format) {
		return usagef("--format: found %q, expected %s", o.format, strings.Join(gherkin.Formats, ", "))
	}
	if o.watch {
		return o.keepRunning(ctx, features)
	}
	options, err := o.load(features)
	if err != nil {
		return err
	}
	if err := gherkin.Check(ctx, options); err != nil {
		return mistaken(err)
	}
	said := &sayings{}
	services, err := o.start(ctx, options, said, nil)
	if err != nil {
		return mistaken(err)
	}
	defer func() { err = errors.Join(err, services.Close()) }()
	options.Config, options.Said = services.Config, said.since
	return o.report(ctx, options)
}

// load reads the project, and says what is to be run of it.
func (o *testOptions) load(features []string) (gherkin.Options, error) {
	loaded, err := config.Load(config.Options{File: o.config, Environ: o.s.environ, Dev: true})
	if err == nil {
		err = loaded.CheckDrivers(node.Stores, node.Buses)
	}
	if err != nil {
		return gherkin.Options{}, usageError{err}
	}
	if loaded.File == "" {
		return gherkin.Options{}, usagef("there is no angz.yaml in this folder or above; make a project first: angz new project NAME")
	}
	if len(features) == 0 {
		features = []string{fromHere(filepath.Join(loaded.Dir, "features"))}
	}
	return gherkin.Options{
		Config: loaded, Features: features, Tags: o.tags, Format: o.format, Color: o.colored(), Concurrency: o.concurrency, Seed: o.order(), FailFast: o.failFast,
		Output: o.s.out,
	}, nil
}

// start starts the project's services.
func (o *testOptions) start(ctx context.Context, options gherkin.Options, said *sayings, saves *emulator.Saves) (*emulator.Services, error) {
	executable, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return emulator.StartServices(ctx, emulator.ServicesOptions{
		Config: options.Config, Environ: o.s.environ, Guard: []string{executable, guardCommand}, Lines: said.add, Saves: saves,
	})
}

// report runs the features into the file that is asked for.
func (o *testOptions) report(ctx context.Context, options gherkin.Options) (err error) {
	var whole bytes.Buffer
	if o.output != "" {
		options.Output = &whole
	}
	err = mistaken(gherkin.Run(ctx, options))
	if o.output != "" {
		if writeErr := os.WriteFile(o.output, whole.Bytes(), 0o644); writeErr != nil {
			err = errors.Join(err, fmt.Errorf("write the report: %w", writeErr))
		}
	}
	return err
}

// mistaken makes mistakes of the person's wrong usage.
func mistaken(err error) error {
	if errors.As(err, new(*gherkin.Mistake)) || errors.As(err, new(*emulator.Mistake)) {
		return usageError{err}
	}
	return err
}

// order returns the seed of the order, and tells it if it is random.
func (o *testOptions) order() int64 {
	if o.random && o.seed == 0 {
		o.seed = 1 + rand.Int64N(1_000_000)
		fmt.Fprintf(o.s.err, "in a random order; again with --seed %d\n", o.seed)
	}
	return o.seed
}

func (o *testOptions) colored() bool {
	return o.output == "" && o.format != "junit" && o.format != "json" && bool(newPainter(o.s.out, o.s.environ))
}

// sayings keeps what services print, so that a scenario that fails can show it.
type sayings struct {
	mu   sync.Mutex
	text strings.Builder
}

const maxSayings = 8 << 10 // bytes, since the scenario before

func (s *sayings) add(service string, line []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.text.Len() < maxSayings {
		fmt.Fprintf(&s.text, "%s | %s\n", service, bytes.TrimRight(line, "\n"))
	}
}

func (s *sayings) since() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.text.Reset()
	return s.text.String()
}
