package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/angz-dev/angz/inspect"
	"github.com/angz-dev/angz/runtime/payload"
)

// newDeadLettersCommand holds the commands about what components could not
// handle.
func newDeadLettersCommand(s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dlq",
		Short: "List, show, retry and skip dead letters",
		Long: "Events that a projector or saga could not handle are its dead letters. Each stops its own\n" +
			"aggregate in that component: later events of the aggregate wait behind it until somebody\n" +
			"retries or skips it. Nothing is lost meanwhile, the events stay in the store.\n\n" +
			"COMPONENT is written in full, such as projector/receipt, saga/loyalty, or\n" +
			"saga/loyalty/compensation for commands that were refused and could not be compensated for\n" +
			"(these block nothing); or as the plain name of a projector or saga.",
		Example: "  angz dlq list\n" +
			"  angz dlq show projector/receipt 17\n" +
			"  angz dlq retry projector/receipt 17 --wait\n" +
			"  angz dlq skip projector/receipt 17 --note 'order was a test'",
		SuggestionsMinimumDistance: 2,
	}
	cmd.AddCommand(newListDeadLettersCommand(s), newShowDeadLetterCommand(s), newRetryDeadLettersCommand(s), newSkipDeadLettersCommand(s))
	return cmd
}

// selectedLetters are the flags that say which dead letters are meant.
type selectedLetters struct {
	domain, id string
}

func (f *selectedLetters) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.domain, "domain", "", "only of aggregates in this domain")
	cmd.Flags().StringVar(&f.id, "aggregate", "", "only of this aggregate, as people call it or as a UUID; needs --domain")
}

// selection reads "[COMPONENT [POSITION]]" and the flags.
func (f *selectedLetters) selection(args []string) (selection inspect.DeadLetterSelection, err error) {
	selection.Domain, selection.ID = f.domain, f.id
	if f.id != "" && f.domain == "" {
		return selection, usagef("--aggregate: found %q without its domain: add --domain", f.id)
	}
	if len(args) > 0 {
		if selection.Component = args[0]; selection.Component == "" {
			return selection, usagef("COMPONENT is empty: name one such as projector/receipt, see \"angz dlq list\"")
		}
	}
	if len(args) > 1 {
		selection.Position, err = letterPosition(args[1])
	}
	return selection, err
}

func letterPosition(text string) (uint64, error) {
	position, err := strconv.ParseUint(text, 10, 63)
	if err != nil || position == 0 {
		return 0, usagef("POSITION: found %q, expected a number from the column POSITION of \"angz dlq list\"", text)
	}
	return position, nil
}

// listedLetters are the flags of "angz dlq list".
type listedLetters struct {
	connection connection
	output     tableFormat
	selected   selectedLetters
	states     []string
	all        bool
	limit      uint32
}

func newListDeadLettersCommand(s streams) *cobra.Command {
	var o listedLetters
	cmd := &cobra.Command{
		Use:   "list [COMPONENT]",
		Short: "List dead letters",
		Long: "List the dead letters that nobody is done with, in the order of component and position.\n" +
			"TRIED says how often the component was called with the events; \"-\" stands for events that\n" +
			"only wait behind an earlier dead letter of their aggregate.",
		Example: "  angz dlq list\n" +
			"  angz dlq list projector/receipt\n" +
			"  angz dlq list --domain order --aggregate order-1\n" +
			"  angz dlq list --state skipped,resolved\n" +
			"  angz dlq list --output json | jq -r .reason",
		Args: between(0, "COMPONENT"),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, s, args) },
	}
	o.connection.register(cmd)
	o.output.register(cmd)
	o.selected.register(cmd)
	cmd.Flags().StringSliceVar(&o.states, "state", nil, "only in these states: "+letterStates()+" (default: parked,retry)")
	cmd.Flags().BoolVar(&o.all, "all", false, "in every state, those that somebody is done with, too")
	cmd.Flags().Uint32Var(&o.limit, "limit", 1000, "list this many at most; 0 for all")
	_ = cmd.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(strings.Split(letterStates(), ", "), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func letterStates() string {
	var names []string
	for _, state := range inspect.DeadLetterStates {
		names = append(names, string(state))
	}
	return strings.Join(names, ", ")
}

func (o *listedLetters) run(cmd *cobra.Command, s streams, args []string) error {
	selection, err := o.selected.selection(args)
	if err != nil {
		return err
	}
	states, err := o.wantedStates()
	if err != nil {
		return err
	}
	conn, err := o.connection.dial(s)
	if err != nil {
		return err
	}
	defer conn.Close()
	var letters []inspect.DeadLetter
	cut := false
	for letter, err := range inspect.New(conn, nil).DeadLetters(cmd.Context(), selection, states...) {
		if err != nil {
			return explain(err, conn.Address())
		}
		if cut = o.limit > 0 && len(letters) == int(o.limit); cut {
			break
		}
		letters = append(letters, letter)
	}
	if err := o.print(s, letters); err != nil {
		return err
	}
	if cut {
		fmt.Fprintf(s.err, "there are more than %d: give more with --limit, or narrow it with COMPONENT, --domain and --aggregate\n", o.limit)
	}
	return nil
}

func (o *listedLetters) wantedStates() (states []inspect.DeadLetterState, err error) {
	if o.all {
		if len(o.states) > 0 {
			return nil, usagef("found both --all and --state, expected one of the two")
		}
		return inspect.DeadLetterStates, nil
	}
	for _, name := range o.states {
		state := inspect.DeadLetterState(name)
		if !slices.Contains(inspect.DeadLetterStates, state) {
			return nil, usagef("--state: found %q, expected %s", name, letterStates())
		}
		states = append(states, state)
	}
	return states, nil
}

func (o *listedLetters) print(s streams, letters []inspect.DeadLetter) error {
	if o.output != outputTable {
		return writeDocuments(s.out, o.output, letters, newLetterDocument)
	}
	if len(letters) == 0 {
		fmt.Fprintln(s.err, "no dead letters")
		return nil
	}
	if err := writeLetters(s.out, newPainter(s.out, s.environ), widthOf(s.out, s.environ), letters, time.Now()); err != nil {
		return err
	}
	if i := slices.IndexFunc(letters, func(l inspect.DeadLetter) bool { return l.State == inspect.DeadLetterParked && l.Attempts > 0 }); i >= 0 {
		place := printable(letters[i].Place())
		fmt.Fprintf(s.err, "next: angz dlq show %[1]s, then angz dlq retry %[1]s --wait, or angz dlq skip %[1]s --note WHY\n", place)
	}
	return nil
}

func newShowDeadLetterCommand(s streams) *cobra.Command {
	var (
		connection connection
		output     tableFormat
	)
	cmd := &cobra.Command{
		Use:   "show COMPONENT POSITION",
		Short: "Show one dead letter with its events",
		Long: "Show one dead letter: what the component said, when and how often, who has decided what,\n" +
			"and the events with their payloads as JSON. COMPONENT is written in full.",
		Example: "  angz dlq show projector/receipt 17\n" +
			"  angz dlq show saga/loyalty/compensation 4711 --output json | jq .events[].payload",
		Args: between(2, "COMPONENT", "POSITION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			position, err := letterPosition(args[1])
			if err != nil {
				return err
			}
			conn, err := connection.dial(s)
			if err != nil {
				return err
			}
			defer conn.Close()
			types := payload.FromReflection(cmd.Context(), conn)
			defer types.Close()
			letter, err := inspect.New(conn, types).DeadLetter(cmd.Context(), args[0], position)
			if err != nil {
				return explain(err, conn.Address())
			}
			if output != outputTable {
				return writeDocuments(s.out, output, []inspect.DeadLetter{letter}, newShownLetterDocument)
			}
			return writeLetter(s.out, newPainter(s.out, s.environ), letter)
		},
	}
	connection.register(cmd)
	output.register(cmd)
	return cmd
}

// decidedLetters are the flags of "angz dlq retry" and "angz dlq skip".
type decidedLetters struct {
	connection connection
	output     tableFormat
	selected   selectedLetters
	all        bool
	by, note   string
	wait       bool
	timeout    time.Duration
}

func (o *decidedLetters) register(cmd *cobra.Command, s streams) {
	o.connection.register(cmd)
	o.output.register(cmd)
	o.selected.register(cmd)
	cmd.Flags().BoolVar(&o.all, "all", false, "all dead letters of COMPONENT; needed when neither POSITION nor --aggregate is given")
	cmd.Flags().StringVar(&o.by, "by", variable(s.environ, "USER"), "who decides, kept with the dead letter; a gateway that knows its callers puts their names instead")
	cmd.Flags().StringVar(&o.note, "note", "", "why, kept with the dead letter")
}

// variable returns the value of an environment variable.
func variable(environ []string, name string) (value string) {
	for _, entry := range environ {
		if text, found := strings.CutPrefix(entry, name+"="); found {
			value = text
		}
	}
	return value
}

// selection reads the arguments and makes sure that a whole component is meant
// when it is named.
func (o *decidedLetters) selection(cmd *cobra.Command, args []string) (inspect.DeadLetterSelection, error) {
	selection, err := o.selected.selection(args)
	if err != nil {
		return selection, err
	}
	one := selection.Position != 0 || selection.ID != ""
	switch {
	case !one && !o.all:
		return selection, usagef("which dead letters of %s? give a POSITION, or --domain and --aggregate, or --all\nsee \"%s --help\"", selection.Component, cmd.CommandPath())
	case one && o.all:
		return selection, usagef("found --all together with a POSITION or --aggregate, expected one of them")
	}
	return selection, nil
}

func newRetryDeadLettersCommand(s streams) *cobra.Command {
	var o decidedLetters
	cmd := &cobra.Command{
		Use:   "retry COMPONENT [POSITION]",
		Short: "Have dead letters handled again",
		Long: "Have dead letters handled again. An aggregate is handled in order from its first dead\n" +
			"letter on, whichever is named, until one fails again or none is left; then its newer events\n" +
			"go on as well. The instance that is responsible does it, usually at once and at the latest\n" +
			"after a few seconds; --wait follows until it is done and fails if anything failed again.\n\n" +
			"A dead letter of saga/NAME/compensation stands for refused commands: the saga is asked again\n" +
			"about the events, what had been accepted stays as it is, and what had been refused is sent\n" +
			"and, if it is refused again, compensated for anew.",
		Example: "  angz dlq retry projector/receipt 17 --wait\n" +
			"  angz dlq retry receipt --domain order --aggregate order-1\n" +
			"  angz dlq retry projector/receipt --all --wait --timeout 10m",
		Args: between(1, "COMPONENT", "POSITION"),
		RunE: func(cmd *cobra.Command, args []string) error { return o.retry(cmd, s, args) },
	}
	o.register(cmd, s)
	cmd.Flags().BoolVar(&o.wait, "wait", false, "follow until everything is handled or has failed again")
	cmd.Flags().DurationVar(&o.timeout, "timeout", time.Minute, "with --wait: give up after this time")
	return cmd
}

func (o *decidedLetters) retry(cmd *cobra.Command, s streams, args []string) error {
	selection, err := o.selection(cmd, args)
	if err != nil {
		return err
	}
	if o.timeout <= 0 {
		return usagef("--timeout: found %s, expected more than nothing, such as 1m", o.timeout)
	}
	conn, err := o.connection.dial(s)
	if err != nil {
		return err
	}
	defer conn.Close()
	client := inspect.New(conn, nil)
	letters, err := client.Retry(cmd.Context(), selection, inspect.Decision{By: o.by, Note: o.note})
	if err != nil {
		return explain(err, conn.Address())
	}
	if o.wait {
		return o.follow(cmd.Context(), s, client, letters, conn.Address())
	}
	if err := o.printDecided(s, letters, "to be handled again"); err != nil {
		return err
	}
	if o.output == outputTable {
		fmt.Fprintln(s.err, "see what becomes of it with \"angz dlq list\", or give --wait")
	}
	return nil
}

// follow waits for what becomes of the dead letters and says so, one by one.
func (o *decidedLetters) follow(ctx context.Context, s streams, client *inspect.Client, letters []inspect.DeadLetter, address string) error {
	waiting, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	known, failed := 0, 0
	for outcome, err := range client.Outcomes(waiting, letters) {
		if status.Code(err) == codes.DeadlineExceeded && waiting.Err() != nil && ctx.Err() == nil {
			return fmt.Errorf("%d of %d not handled within %s; they stay marked and are handled when an instance of the component runs: see \"angz dlq list\", or give more time with --timeout",
				len(letters)-known, len(letters), o.timeout)
		}
		if err != nil {
			return explain(err, address)
		}
		known++
		if outcome.Failed != nil {
			failed++
		}
		if err := o.printOutcome(s, outcome); err != nil {
			return err
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d failed again: see \"angz dlq list\"", failed, len(letters))
	}
	return nil
}

func newSkipDeadLettersCommand(s streams) *cobra.Command {
	var o decidedLetters
	cmd := &cobra.Command{
		Use:   "skip COMPONENT [POSITION]",
		Short: "Give dead letters up",
		Long: "Give dead letters up: the component never sees their events, and what waited behind them\n" +
			"goes on. The events stay in the store; a note that says why is kept with the dead letter.\n" +
			"With --aggregate or --all everything that waits there is given up.",
		Example: "  angz dlq skip projector/receipt 17 --note 'order was a test'\n" +
			"  angz dlq skip receipt --domain order --aggregate order-1 --note 'customer has left'\n" +
			"  angz dlq skip saga/loyalty/compensation --all --note 'refunded by hand, see ticket 12'",
		Args: between(1, "COMPONENT", "POSITION"),
		RunE: func(cmd *cobra.Command, args []string) error { return o.skip(cmd, s, args) },
	}
	o.register(cmd, s)
	return cmd
}

func (o *decidedLetters) skip(cmd *cobra.Command, s streams, args []string) error {
	selection, err := o.selection(cmd, args)
	if err != nil {
		return err
	}
	if strings.TrimSpace(o.note) == "" {
		return usagef("--note is missing: say why the events are given up, such as --note 'order was a test'")
	}
	conn, err := o.connection.dial(s)
	if err != nil {
		return err
	}
	defer conn.Close()
	letters, err := inspect.New(conn, nil).Skip(cmd.Context(), selection, inspect.Decision{By: o.by, Note: o.note})
	printed := o.printDecided(s, letters, "skipped")
	if err != nil {
		return errors.Join(explain(err, conn.Address()), printed)
	}
	return printed
}
