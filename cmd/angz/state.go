package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/angz-dev/angz/inspect"
)

// stateDocument is the state of an aggregate.
type stateDocument struct {
	Domain      string          `json:"domain" doc:"the domain of the aggregate"`
	AggregateID string          `json:"aggregate_id,omitempty" doc:"what people call the aggregate; absent where angz knows only its root"`
	Root        string          `json:"root" doc:"the aggregate's root, a UUID"`
	Sequence    uint32          `json:"sequence" doc:"the number of the last event in the state, from 0"`
	Type        string          `json:"type" doc:"the full name of the state's message"`
	Snapshot    bool            `json:"snapshot" doc:"whether it is a snapshot, because the service cannot replay events"`
	State       json.RawMessage `json:"state" doc:"the state, as protobuf's JSON; of a type that is not known an object with @type and @value, its bytes in base64"`
}

func newStateDocument(state inspect.State) stateDocument {
	return stateDocument{state.Domain, state.AggregateID, state.Root, state.Sequence, state.Type, state.Snapshot, state.JSON}
}

func newStateCommand(s streams) *cobra.Command {
	var (
		connection connection
		output     tableFormat
		at         uint32
	)
	cmd := &cobra.Command{
		Use:   "state DOMAIN ID",
		Short: "Show the state of an aggregate, now or after an event",
		Long: "Show what an aggregate's events add up to, as its service sees it. The service is asked to replay the\n" +
			"events; one that does not offer Replay is shown by its nearest snapshot, if there is one.",
		Example: "  angz state customer alice@example.com\n" +
			"  angz state order order-1 --at 0\n" +
			"  angz state order order-1 --output json | jq .state",
		Args: between(2, "DOMAIN", "ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			system, err := connection.ask(cmd.Context(), s)
			if err != nil {
				return err
			}
			defer system.close()
			var wanted *uint32
			if cmd.Flags().Changed("at") {
				wanted = &at
			}
			state, err := system.State(cmd.Context(), args[0], args[1], wanted)
			switch {
			case err != nil:
				return system.explain(err)
			case state.JSON == nil:
				fmt.Fprintf(s.err, "no events of %s %s yet\n", printable(args[0]), printable(args[1]))
				return nil
			case output == outputTableJSON:
				return writeJSON(s.out, newStateDocument(state))
			case output == outputTableYAML:
				return writeYAML(s.out, newStateDocument(state))
			}
			return writeState(s, state, wanted)
		},
	}
	connection.register(cmd)
	output.register(cmd)
	cmd.Flags().Uint32Var(&at, "at", 0, "after the event with this number (default: the newest)")
	return cmd
}

func writeState(s streams, state inspect.State, wanted *uint32) error {
	var text bytes.Buffer
	if err := json.Indent(&text, state.JSON, "", "  "); err != nil {
		return fmt.Errorf("print the state: %w", err)
	}
	if _, err := fmt.Fprintln(s.out, printableLines(text.String())); err != nil {
		return err
	}
	note := fmt.Sprintf("%s after event %d", printable(state.Type), state.Sequence)
	if state.Snapshot {
		note += ", from a snapshot: the service does not offer Replay"
		if wanted != nil && *wanted != state.Sequence {
			note += fmt.Sprintf(", and none is newer and not above %d", *wanted)
		}
	}
	fmt.Fprintln(s.err, note)
	return nil
}

// diffDocument is how the state of an aggregate changed.
type diffDocument struct {
	Domain      string           `json:"domain" doc:"the domain of the aggregate"`
	AggregateID string           `json:"aggregate_id,omitempty" doc:"what people call the aggregate; absent where angz knows only its root"`
	Root        string           `json:"root" doc:"the aggregate's root, a UUID"`
	From        uint32           `json:"from" doc:"the number of the last event in the state before, from 0"`
	To          uint32           `json:"to" doc:"the number of the last event in the state after, from 0"`
	Changes     []changeDocument `json:"changes" doc:"every difference, by its path; empty when there is none"`
}

type changeDocument struct {
	Path   string          `json:"path" doc:"where in the state, such as items[2].price; empty for the state as a whole"`
	Before json.RawMessage `json:"before,omitempty" doc:"what was there, any JSON; absent where there was nothing"`
	After  json.RawMessage `json:"after,omitempty" doc:"what is there, any JSON; absent where there is nothing any more"`
}

func newDiffCommand(s streams) *cobra.Command {
	var (
		connection connection
		output     tableFormat
	)
	cmd := &cobra.Command{
		Use:   "diff DOMAIN ID FROM [TO]",
		Short: "Show how the state of an aggregate changed between two events",
		Long: "Show the differences between an aggregate's state after the event FROM and after the event TO, or the\n" +
			"newest one. Needs what \"angz state\" needs.",
		Example: "  angz diff order order-1 0\n" +
			"  angz diff order order-1 0 1 --output json | jq -r '.changes[].path'",
		Args: between(3, "DOMAIN", "ID", "FROM", "TO"),
		RunE: func(cmd *cobra.Command, args []string) error {
			from, to, err := fromTo(args[2:])
			if err != nil {
				return err
			}
			system, err := connection.ask(cmd.Context(), s)
			if err != nil {
				return err
			}
			defer system.close()
			before, err := system.State(cmd.Context(), args[0], args[1], &from)
			if err != nil {
				return system.explain(err)
			}
			after, err := system.State(cmd.Context(), args[0], args[1], to)
			if err != nil {
				return system.explain(err)
			}
			if after.JSON == nil {
				fmt.Fprintf(s.err, "no events of %s %s yet\n", printable(args[0]), printable(args[1]))
				return nil
			}
			return printDiff(s, output, before, after)
		},
	}
	connection.register(cmd)
	output.register(cmd)
	return cmd
}

// fromTo reads the numbers of events.
func fromTo(args []string) (from uint32, to *uint32, err error) {
	var numbers []uint32
	for i, text := range args {
		number, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return 0, nil, usagef("%s: found %q, expected the number of an event, from 0", []string{"FROM", "TO"}[i], text)
		}
		numbers = append(numbers, uint32(number))
	}
	if len(numbers) > 1 {
		to = &numbers[1]
	}
	return numbers[0], to, nil
}

func printDiff(s streams, output tableFormat, before, after inspect.State) error {
	changes, err := inspect.Diff(before.JSON, after.JSON)
	if err != nil {
		return err
	}
	document := diffDocument{Domain: after.Domain, AggregateID: after.AggregateID, Root: after.Root, From: before.Sequence, To: after.Sequence, Changes: []changeDocument{}}
	for _, change := range changes {
		document.Changes = append(document.Changes, changeDocument{change.Path, change.Before, change.After})
	}
	switch output {
	case outputTableJSON:
		return writeJSON(s.out, document)
	case outputTableYAML:
		return writeYAML(s.out, document)
	}
	paint := newPainter(s.out, s.environ)
	for _, change := range changes {
		if change.Before != nil {
			fmt.Fprintln(s.out, paint.paint("31", "- "+printable(change.Path)+": "+printable(string(change.Before))))
		}
		if change.After != nil {
			fmt.Fprintln(s.out, paint.paint("32", "+ "+printable(change.Path)+": "+printable(string(change.After))))
		}
	}
	fmt.Fprintf(s.err, "%s between event %d and event %d\n", counted(len(changes), "change"), before.Sequence, after.Sequence)
	return nil
}
