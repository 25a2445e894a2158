package main

import (
	"errors"
	"fmt"
	"maps"
	"os"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"github.com/angz-dev/angz/emulator"
	"github.com/angz-dev/angz/runtime/config"
)

// devOptions are the flags of "angz dev".
type devOptions struct {
	file      string
	logFormat string
	quiet     bool
	shown     []string
	detached  detachedFlags
	ports     devPorts
	data      emulator.DataOptions
	chaos     devChaos
}

func newDevCommand(s streams) *cobra.Command {
	var o devOptions
	cmd := &cobra.Command{
		Use:   "dev [DIR]",
		Short: "Run a project on this machine, with all its services",
		Long: "Run the project in DIR, or around the working directory, on this machine: build and\n" +
			"start the services of its angz.yaml, and serve commands, queries and streams for them.\n" +
			"A saved file restarts the services it belongs to, once what it changed can be built;\n" +
			"commands wait meanwhile. On a terminal, ? lists the keys. Events are kept in\n" +
			".angz/dev.db beside angz.yaml, logs in .angz/logs. Ctrl-C stops everything, twice at once.",
		Example: "  angz dev\n" +
			"  angz dev examples/shop\n" +
			"  angz dev --config other.yaml --log-format json\n" +
			"  angz dev --port-offset 100\n" +
			"  angz dev --fresh --seed seed.yaml\n" +
			"  angz dev --from case.jsonl\n" +
			"  angz dev --ephemeral --chaos --chaos-seed 42\n" +
			"  angz dev --detach --wait 30s && angz logs -f",
		Args: between(0, "DIR"),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, s, args) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.file, "config", "", "the configuration file (default: angz.yaml in DIR or above)")
	flags.StringVar(&o.logFormat, "log-format", "", "how to log: text, or json (default: text on a terminal)")
	flags.StringSliceVar(&o.shown, "logs", nil, "show only the lines of these services, and of angz (the files keep all)")
	flags.BoolVarP(&o.quiet, "quiet", "q", false, "log only warnings, and nothing of the services")
	o.detached.register(cmd)
	o.ports.register(cmd, flags)
	registerData(cmd, &o.data)
	o.chaos.register(flags)
	cmd.AddCommand(newDevResetCommand(s))
	_ = cmd.RegisterFlagCompletionFunc("log-format", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (o *devOptions) run(cmd *cobra.Command, s streams, args []string) error {
	if err := o.detached.check(cmd.Flags()); err != nil {
		return err
	}
	if err := o.ports.check(); err != nil {
		return err
	}
	if err := o.data.Check(); err != nil {
		return usageError{err}
	}
	if err := o.chaos.check(cmd.Flags()); err != nil {
		return err
	}
	load, err := o.loader(s, args)
	if err != nil {
		return err
	}
	loaded, err := load()
	if err != nil {
		return usageError{err}
	}
	if o.detached.detach {
		return o.detached.run(cmd, s, args, loaded.Dir)
	}
	s = o.detached.streams(s, loaded.Dir)
	executable, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the program angz itself: %w", err)
	}
	file, isFile := s.err.(*os.File)
	err = emulator.Run(cmd.Context(), emulator.Options{
		Config: loaded, Reload: load, Environ: s.environ, Stdin: s.in, Stdout: s.out, Stderr: s.err, Quiet: o.quiet, Shown: o.shown,
		Terminal: isFile && isatty.IsTerminal(file.Fd()), Color: bool(newPainter(s.err, s.environ)),
		Detached: o.detached.detached, Guard: []string{executable, guardCommand}, Data: o.data, Chaos: o.chaos.options(),
		Width: func() int { return widthOf(s.err, s.environ) },
	})
	if mistake := new(emulator.Mistake); errors.As(err, &mistake) {
		return usageError{err}
	}
	return err
}

// loader returns what reads the project's configuration.
func (o *devOptions) loader(s streams, args []string) (func() (*config.Config, error), error) {
	options := config.Options{File: o.file, Environ: s.environ, Set: map[string]string{}, Dev: true}
	if len(args) == 1 {
		if info, err := os.Stat(args[0]); err != nil || !info.IsDir() {
			return nil, usagef("%s is not a folder; name the folder of a project\nusage: angz dev [DIR]", args[0])
		}
		options.Dir = args[0]
	}
	if o.logFormat != "" {
		options.Set["log.format"] = o.logFormat
	}
	maps.Copy(options.Set, o.data.Settings())
	return func() (*config.Config, error) {
		loaded, err := config.Load(options)
		if err != nil {
			return nil, err
		}
		return loaded, o.ports.move(loaded)
	}, nil
}
