package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// The exit codes that scripts may rely on.
const (
	exitOK     = 0
	exitFailed = 1 // the system refused or could not
	exitUsage  = 2 // wrong usage or configuration: nothing was tried
)

// streams is what a command may touch of the world around the process.
type streams struct {
	in       io.Reader
	out, err io.Writer
	environ  []string
}

// lookup returns the value of a variable, as os.LookupEnv does.
func (s streams) lookup(name string) (value string, set bool) {
	for _, variable := range s.environ {
		if text, found := strings.CutPrefix(variable, name+"="); found {
			value, set = text, true
		}
	}
	return value, set
}

// usageError is a mistake in how angz was called or configured. It ends the
// process with exitUsage.
type usageError struct{ error }

// Unwrap returns the mistake itself.
func (e usageError) Unwrap() error { return e.error }

// usagef returns a usageError.
func usagef(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

// refusal is an error that the system itself answered with: not angz failed, it
// said no.
type refusal struct{ error }

// exitCode ends the process with the code of another one, which has said itself
// what there is to say.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// newRootCommand puts the commands together.
func newRootCommand(s streams) *cobra.Command {
	root := &cobra.Command{
		Use:   "angz",
		Short: "Event sourcing for services in any language",
		Long: "angz runs event-sourced systems whose business logic is written as gRPC services\n" +
			"in any language: on a laptop with \"angz dev\", in production with \"angz serve\".",
		Example: "  angz dev examples/shop\n" +
			"  angz send customer alice@example.com CreateCustomer '{\"name\":\"Alice\"}'\n" +
			"  angz events customer alice@example.com",
		Args:          unknownCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors: true,
		SilenceUsage:  true,

		SuggestionsMinimumDistance: 2,
	}
	// Every command of angz is added here, in the order in which people meet them.
	root.AddCommand(
		newNewCommand(s),
		newDevCommand(s),
		newProcessesCommand(s),
		newLogsCommand(s),
		newRestartCommand(s),
		newStopCommand(s),
		newExecCommand(s),
		newGenerateCommand(s),
		newTestCommand(s),
		newProtoCommand(s),
		newServeCommand(s),
		newGuardCommand(s),
		newSendCommand(s),
		newEventsCommand(s),
		newDomainsCommand(s),
		newRootsCommand(s),
		newTailCommand(s),
		newTraceCommand(s),
		newStateCommand(s),
		newDiffCommand(s),
		newProjectionsCommand(s),
		newTopologyCommand(s),
		newTUICommand(s),
		newDeadLettersCommand(s),
		newContextCommand(s),
		newExportCommand(s),
		newImportCommand(s),
		newMigrateCommand(s),
		newConfigCommand(s),
		newDoctorCommand(s),
		newCompletionCommand(s),
		newManCommand(s),
		newSchemaCommand(s),
		newVersionCommand(s),
	)
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w\nsee \"%s --help\"", err, cmd.CommandPath())
	})
	root.SetHelpCommand(newHelpCommand())
	root.InitDefaultHelpCmd()
	completer{s}.completeAll(root)
	return root
}

// newHelpCommand returns "angz help", which unlike cobra's own fails for a
// command that is not there.
func newHelpCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND...]",
		Short:   "Explain a command",
		Example: "  angz help send",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return unknownCommand(cmd.Root(), args)
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}

// unknownCommand refuses what is left when no command matched.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := ""
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = fmt.Sprintf("; did you mean %q?", likeliest(args[0], near))
	}
	return usagef("there is no command %q%s\nsee \"%s --help\"", args[0], hint, cmd.CommandPath())
}

// likeliest returns the word that somebody meant: people swap letters and lose
// them, but seldom the first one.
func likeliest(word string, near []string) string {
	unlike := func(candidate string) int {
		cost := max(len(word), len(candidate)) - min(len(word), len(candidate))
		if word == "" || candidate[0] != word[0] {
			cost += 2
		}
		return cost
	}
	return slices.MinFunc(near, func(a, b string) int { return unlike(a) - unlike(b) })
}

// run executes one command line and returns the exit code.
func run(ctx context.Context, args []string, s streams) int {
	root := newRootCommand(s)
	started := false
	prepare(root, &started)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var usage usageError
	var refused refusal
	var code exitCode
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &code):
		return int(code)
	case !started || errors.As(err, &usage):
		fmt.Fprintln(s.err, "error:", err)
		return exitUsage
	case ctx.Err() != nil:
		fmt.Fprintln(s.err, "interrupted")
	case errors.As(err, &refused):
		fmt.Fprintln(s.err, "refused:", err)
	default:
		fmt.Fprintln(s.err, "error:", err)
	}
	return exitFailed
}

// prepare makes every command below root tell when it has started: errors before
// that are wrong usage, whoever found them. Commands that only hold others refuse
// words that are none of theirs.
func prepare(cmd *cobra.Command, started *bool) {
	work := cmd.RunE
	switch {
	case work != nil:
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			*started = true
			return work(cmd, args)
		}
	case cmd.Run == nil:
		cmd.Args = unknownCommand
		cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	cmd.DisableFlagsInUseLine = true
	for _, child := range cmd.Commands() {
		prepare(child, started)
	}
}

// between returns an argument check that says what is missing by its name. Only
// the first least of names are required.
func between(least int, names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usagef("missing: %s\nusage: %s\nsee \"%s --help\"", strings.Join(names[len(args):least], ", "), cmd.UseLine(), cmd.CommandPath())
		case len(args) > len(names):
			return usagef("%q is one argument too many\nusage: %s\nsee \"%s --help\"", args[len(names)], cmd.UseLine(), cmd.CommandPath())
		}
		return nil
	}
}
