package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/angz-dev/angz/inspect"
)

// progressDocument is how far a component has come.
type progressDocument struct {
	Component string `json:"component" doc:"the projector or saga, in full, such as projector/receipt"`
	State     string `json:"state" doc:"how it is: running, paused by somebody, rewinding (its events are to come again), or idle (no instance works on it)" enum:"running|paused|rewinding|idle"`
	Position  uint64 `json:"position" doc:"everything of the log up to this place is done; 0 when nothing is"`
	Head      uint64 `json:"head" doc:"the place of the newest event in the log, from 1; 0 when there is none"`
	Lag       uint64 `json:"lag" doc:"how many places of the log lie between position and head"`
	Slices    uint32 `json:"slices" doc:"into how many slices its aggregates are divided"`
	Held      uint32 `json:"held" doc:"how many slices an instance works on now"`
	UpdatedAt string `json:"updated_at,omitempty" doc:"when it last wrote down its position, RFC 3339 in UTC; absent when it never did" format:"date-time"`
	Rewinds   uint64 `json:"rewinds" doc:"how often somebody wanted its events to come again"`
	Failed    string `json:"failed,omitempty" doc:"why the newest of these was given up; absent when it was not"`
	Note      string `json:"note,omitempty" doc:"who paused, resumed or rewound it last, when and why; absent when nobody did"`
	DecidedAt string `json:"decided_at,omitempty" doc:"when somebody did that, RFC 3339 in UTC; absent when nobody did" format:"date-time"`
}

func newProgressDocument(p inspect.Progress) progressDocument {
	return progressDocument{
		Component: p.Name, State: p.State(), Position: p.Position, Head: p.Head, Lag: p.Lag, Slices: p.Slices, Held: p.Held, UpdatedAt: timeText(p.UpdatedAt),
		Rewinds: p.Rewinds, Failed: p.Failed, Note: p.Note, DecidedAt: timeText(p.DecidedAt),
	}
}

const componentArgument = "COMPONENT is written in full, such as projector/receipt, or as the plain name."

func newProjectionsCommand(s streams) *cobra.Command {
	cmd := newListProgressCommand(s)
	cmd.Use, cmd.Short = "projections [COMPONENT]", "Show how far projectors and sagas have come, pause them, rebuild read models"
	cmd.Example = "  angz projections\n" +
		"  angz projections pause projector/receipt --note 'the printer is away'\n" +
		"  angz projections resume projector/receipt\n" +
		"  angz projections rebuild projector/receipt --yes\n" +
		"  angz projections projector/receipt --output json | jq .lag"
	cmd.AddCommand(newListProgressCommand(s), newPauseCommand(s), newResumeCommand(s), newResetCommand(s), newRebuildCommand(s))
	return cmd
}

func newListProgressCommand(s streams) *cobra.Command {
	var (
		connection connection
		output     tableFormat
	)
	cmd := &cobra.Command{
		Use:   "list [COMPONENT]",
		Short: "Show how far projectors and sagas have come",
		Long: "Show how far each projector and saga has come in the log. LAG is how many positions lie between that\n" +
			"and the newest event; HELD says how many of its slices an instance works on. STATE is running,\n" +
			"paused, rewinding while its events are about to come again, or idle when no instance works on it.\n" +
			componentArgument,
		Example: "  angz projections list\n" +
			"  angz projections list projector/receipt --output json | jq .lag",
		Args: between(0, "COMPONENT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			system, err := connection.ask(cmd.Context(), s)
			if err != nil {
				return err
			}
			defer system.close()
			all, err := system.Progress(cmd.Context(), strings.Join(args, ""))
			if err != nil {
				return system.explain(err)
			}
			if output != outputTable {
				return writeDocuments(s.out, output, all, newProgressDocument)
			}
			if len(all) == 0 {
				fmt.Fprintln(s.err, "no component has begun yet")
				return nil
			}
			return writeProgress(s, all)
		},
	}
	connection.register(cmd)
	output.register(cmd)
	return cmd
}

func writeProgress(s streams, all []inspect.Progress) error {
	rows := [][]string{{"COMPONENT", "STATE", "POSITION", "HEAD", "LAG", "HELD", "UPDATED"}}
	for _, p := range all {
		rows = append(rows, []string{
			printable(p.Name), p.State(), fmt.Sprint(p.Position), fmt.Sprint(p.Head), fmt.Sprint(p.Lag), fmt.Sprintf("%d/%d", p.Held, p.Slices), agoText(p.UpdatedAt, time.Now()),
		})
	}
	err := writeTable(s.out, newPainter(s.out, s.environ), widthOf(s.out, s.environ), rows)
	for _, p := range all {
		if p.Paused {
			fmt.Fprintf(s.err, "%s: %s; it goes on with \"angz projections resume %[1]s\"\n", printable(p.Name), printable(p.Note))
		}
		if p.Failed != "" {
			fmt.Fprintf(s.err, "%s: its events do not come again: %s\n", printable(p.Name), printable(p.Failed))
		}
	}
	return err
}

// steering are the flags of the verbs that decide about a component.
type steering struct {
	connection connection
	output     tableFormat
	by, note   string
}

func (o *steering) register(cmd *cobra.Command, s streams) {
	o.connection.register(cmd)
	o.output.register(cmd)
	cmd.Flags().StringVar(&o.by, "by", variable(s.environ, "USER"), "who decides, kept with the component; a gateway that knows its callers puts their names instead")
	cmd.Flags().StringVar(&o.note, "note", "", "why, kept with the component")
}

func (o *steering) decision() inspect.Decision { return inspect.Decision{By: o.by, Note: o.note} }

// decide decides about the component that is named and says what came of it.
func (o *steering) decide(ctx context.Context, s streams, name string, decide func(*inspect.Client) (inspect.Progress, error), said string) error {
	if name == "" {
		return usagef("COMPONENT is empty: name one such as projector/receipt, see \"angz projections\"")
	}
	system, err := o.connection.ask(ctx, s)
	if err != nil {
		return err
	}
	defer system.close()
	now, err := decide(system.Client)
	if err != nil {
		return system.explain(err)
	}
	if o.output != outputTable {
		return writeDocuments(s.out, o.output, []inspect.Progress{now}, newProgressDocument)
	}
	fmt.Fprintf(s.err, said+"\n", printable(now.Name))
	return nil
}

func newPauseCommand(s streams) *cobra.Command {
	var o steering
	cmd := &cobra.Command{
		Use:   "pause COMPONENT",
		Short: "Let a projector or saga rest: its events wait",
		Long: "Let a projector or saga rest: what it does now ends, and it gets no events until it is resumed, also\n" +
			"when it is started anew. Nothing is lost, its events wait in the log. Commands that wait for it\n" +
			"(--sync simple, cascade) are stored, and fail at once for not having been waited for.\n" +
			componentArgument,
		Example: "  angz projections pause projector/receipt --note 'the printer is away'\n" +
			"  angz projections resume projector/receipt",
		Args: between(1, "COMPONENT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.decide(cmd.Context(), s, args[0], func(c *inspect.Client) (inspect.Progress, error) {
				return c.Pause(cmd.Context(), args[0], o.decision())
			}, "%[1]s is paused; it goes on with \"angz projections resume %[1]s\"")
		},
	}
	o.register(cmd, s)
	return cmd
}

func newResumeCommand(s streams) *cobra.Command {
	var o steering
	cmd := &cobra.Command{
		Use:   "resume COMPONENT",
		Short: "Let a paused projector or saga go on",
		Long:  "Let a paused projector or saga go on where it was.\n" + componentArgument,
		Example: "  angz projections pause saga/loyalty\n" +
			"  angz projections resume saga/loyalty",
		Args: between(1, "COMPONENT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.decide(cmd.Context(), s, args[0], func(c *inspect.Client) (inspect.Progress, error) {
				return c.Resume(cmd.Context(), args[0], o.decision())
			}, "%s goes on")
		},
	}
	o.register(cmd, s)
	return cmd
}

// rewinding are the flags of "angz projections reset" and "rebuild".
type rewinding struct {
	steering
	yes, detach bool
	timeout     time.Duration
}

func (o *rewinding) register(cmd *cobra.Command, s streams) {
	o.steering.register(cmd, s)
	cmd.Flags().BoolVar(&o.yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&o.detach, "detach", false, "do not wait until it has caught up")
	cmd.Flags().DurationVar(&o.timeout, "timeout", 0, "wait no longer than this; it goes on without you (0: as long as it takes)")
}

func newResetCommand(s streams) *cobra.Command {
	var o rewinding
	var after uint64
	cmd := &cobra.Command{
		Use:   "reset PROJECTOR",
		Short: "Give a projector its events again",
		Long: "Give a projector its events again, all of them or those behind a position of the log. Its read model\n" +
			"is left as it is: the projector has to know events that it has seen, or you have cleared its data\n" +
			"away yourself; see \"angz projections rebuild\". Its dead letters among these events are forgotten.\n" +
			componentArgument,
		Example: "  angz projections reset projector/receipt --yes\n" +
			"  angz projections reset projector/receipt --after 3 --note 'the tax was wrong' --yes",
		Args: between(1, "PROJECTOR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			question := fmt.Sprintf("Give %s all its events behind position %d again?", printable(args[0]), after)
			return o.run(cmd.Context(), s, question, inspect.Rewind{Component: args[0], After: after})
		},
	}
	o.register(cmd, s)
	cmd.Flags().Uint64Var(&after, "after", 0, "only events behind this `POSITION` of the log; see \"angz tail\"")
	return cmd
}

func newRebuildCommand(s streams) *cobra.Command {
	var o rewinding
	cmd := &cobra.Command{
		Use:   "rebuild PROJECTOR",
		Short: "Have a projector make its read model anew",
		Long: "Have a projector make its read model anew: all its instances stop, its service clears the read model\n" +
			"away (the method Reset of Projector, which services made by \"angz new\" offer), and all events come\n" +
			"again from the first one. It shows how far that is. Who asks for the read model meanwhile finds only\n" +
			"what is made of it so far. Ending this command does not end the rebuild.\n" +
			componentArgument,
		Example: "  angz projections rebuild projector/receipt --yes\n" +
			"  angz projections rebuild receipt --note 'new columns' --detach --yes",
		Args: between(1, "PROJECTOR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			question := fmt.Sprintf("Clear the read model of %s away and make it anew?", printable(args[0]))
			return o.run(cmd.Context(), s, question, inspect.Rewind{Component: args[0], Clear: true})
		},
	}
	o.register(cmd, s)
	return cmd
}

// run has a projector get events again and waits until it has caught up.
func (o *rewinding) run(ctx context.Context, s streams, question string, wanted inspect.Rewind) error {
	if wanted.Component == "" {
		return usagef("PROJECTOR is empty: name one such as projector/receipt, see \"angz projections\"")
	}
	if o.timeout < 0 {
		return usagef("--timeout: found %s, expected more than nothing, such as 1m", o.timeout)
	}
	system, err := o.connection.ask(ctx, s)
	if err != nil {
		return err
	}
	defer system.close()
	if !o.yes {
		sure, err := confirm(s, question)
		if err != nil {
			return err
		}
		if !sure {
			fmt.Fprintln(s.err, "nothing was changed")
			return exitCode(exitFailed)
		}
	}
	now, err := system.Rewind(ctx, wanted, o.decision())
	if err == nil && !o.detach {
		now, err = o.catchUp(ctx, s, system, now)
	}
	if err != nil {
		return system.explain(err)
	}
	return o.print(s, now)
}

// catchUp shows how far the projector is until it has caught up, or cannot.
func (o *rewinding) catchUp(ctx context.Context, s streams, system *asking, begun inspect.Progress) (now inspect.Progress, err error) {
	waiting := ctx
	if o.timeout > 0 {
		var cancel context.CancelFunc
		waiting, cancel = context.WithTimeout(ctx, o.timeout)
		defer cancel()
	}
	name := printable(begun.Name)
	bar := newProgressBar(s, name)
	defer bar.done()
	told := false
	for now, err = range system.CatchUp(waiting, begun) {
		if err != nil {
			break
		}
		if now.Held == 0 && !now.Rewinding && !now.Paused && now.Failed == "" && now.Lag > 0 && !told {
			told = true
			fmt.Fprintf(s.err, "%s: waiting for an instance that works on it\n", name)
		}
		if !now.Rewinding {
			bar.show(now.Position, now.Head)
		}
	}
	bar.done()
	switch {
	case err != nil && ctx.Err() == nil && errors.Is(context.Cause(waiting), context.DeadlineExceeded):
		return now, fmt.Errorf("%s has not caught up after %s, at position %d of %d; it goes on, see \"angz projections %[1]s\"", name, o.timeout, now.Position, begun.Head)
	case err != nil:
		return now, err
	case now.Rewinds != begun.Rewinds:
		return now, fmt.Errorf("somebody wants the events of %s to come again once more: %s", name, printable(now.Note))
	case now.Failed != "":
		return now, fmt.Errorf("the events of %s do not come again: %s", name, printable(now.Failed))
	}
	return now, nil
}

func (o *rewinding) print(s streams, now inspect.Progress) error {
	if o.output != outputTable {
		return writeDocuments(s.out, o.output, []inspect.Progress{now}, newProgressDocument)
	}
	name := printable(now.Name)
	switch {
	case now.Paused:
		fmt.Fprintf(s.err, "%s is paused; its events come again with \"angz projections resume %[1]s\"\n", name)
	case o.detach:
		fmt.Fprintf(s.err, "the events of %s come again; see \"angz projections %[1]s\"\n", name)
	default:
		fmt.Fprintf(s.err, "%s has caught up: its events up to position %d came again\n", name, now.Position)
	}
	return nil
}
