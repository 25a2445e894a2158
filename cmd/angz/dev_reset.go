package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"github.com/angz-dev/angz/emulator"
	"github.com/angz-dev/angz/emulator/control"
	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/node"
)

// registerData adds the flags about the events that a run of "angz dev" begins
// with.
func registerData(cmd *cobra.Command, data *emulator.DataOptions) {
	flags := cmd.Flags()
	flags.BoolVar(&data.Fresh, "fresh", false, "begin with an empty store; the one before is kept as dev.db.before-fresh")
	flags.BoolVar(&data.Ephemeral, "ephemeral", false, "keep events in memory, and nothing after the run")
	flags.StringVar(&data.From, "from", "", "begin with the events of this file of angz export, in a store that goes away with the run")
	flags.BoolVar(&data.History, "history", false, "with --from: let sagas take its events as done")
	flags.StringArrayVar(&data.Seeds, "seed", nil, "send the commands and store the events of this file (.yaml, .jsonl) that are not there yet; may be given several times")
	_ = cmd.MarkFlagFilename("from", "jsonl")
	_ = cmd.MarkFlagFilename("seed", "yaml", "yml", "jsonl", "ndjson")
}

func newDevResetCommand(s streams) *cobra.Command {
	var file string
	var yes bool
	cmd := &cobra.Command{
		Use:   "reset [DIR]",
		Short: "Empty the project's store",
		Long: "Move the events of \"angz dev\" out of the way, so that the next run begins with none. They are\n" +
			"kept as .angz/dev.db.before-fresh, in the place of those of the reset before. It asks first,\n" +
			"and refuses while the project runs.",
		Example: "  angz dev reset\n" +
			"  angz dev reset examples/shop --yes",
		Args: between(0, "DIR"),
		RunE: func(cmd *cobra.Command, args []string) error { return resetData(cmd, s, file, yes, args) },
	}
	cmd.Flags().StringVar(&file, "config", "", "the configuration file (default: angz.yaml in DIR or above)")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

func resetData(cmd *cobra.Command, s streams, file string, yes bool, args []string) (err error) {
	load, err := (&devOptions{file: file}).loader(s, args)
	if err != nil {
		return err
	}
	loaded, err := load()
	if err != nil {
		return usageError{err}
	}
	store := node.StoreFile(loaded)
	if store == "" {
		return usagef("storage.type is %s: only a store in a file can be reset", loaded.Storage.Type)
	}
	if _, err := os.Stat(store); errors.Is(err, os.ErrNotExist) {
		fmt.Fprintf(s.err, "nothing to do: there is no %s\n", printable(store))
		return nil
	}
	claim, err := claimIdle(s, loaded)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, claim.Release()) }()
	if !yes {
		sure, err := confirm(s, fmt.Sprintf("Empty %s?", printable(store)))
		if err != nil {
			return err
		}
		if !sure {
			fmt.Fprintln(s.err, "nothing was changed")
			return exitCode(exitFailed)
		}
	}
	kept, err := emulator.SetAside(cmd.Context(), loaded)
	if err != nil {
		return err
	}
	if kept == "" {
		fmt.Fprintln(s.err, "nothing was in it")
		return nil
	}
	fmt.Fprintf(s.err, "the store is empty; what was in it is %s\n", printable(kept))
	return nil
}

// claimIdle claims a project that does not run, so that nobody starts it meanwhile.
func claimIdle(s streams, loaded *config.Config) (*control.Claim, error) {
	return control.Acquire(control.Self{Project: filepath.Base(loaded.Dir), Dir: loaded.Dir, Environ: s.environ})
}

// confirm asks a person on a terminal. Nothing but a clear yes is one.
func confirm(s streams, question string) (bool, error) {
	in, isFile := s.in.(*os.File)
	if !isFile || !isatty.IsTerminal(in.Fd()) {
		return false, usagef("this asks first, and standard input is no terminal: give --yes")
	}
	fmt.Fprint(s.err, question+" [y/N] ")
	answer, err := bufio.NewReader(s.in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes", nil
}
