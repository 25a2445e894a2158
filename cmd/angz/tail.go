package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/angz-dev/angz/inspect"
)

// tailOptions are the flags of "angz tail".
type tailOptions struct {
	connection  connection
	output      outputFormat
	domains     []string
	types       []string
	correlation string
	last        int
	after       uint64
	once        bool
}

func newTailCommand(s streams) *cobra.Command {
	var o tailOptions
	cmd := &cobra.Command{
		Use:   "tail [DOMAIN ID]",
		Short: "Follow events as they are stored",
		Long: "Show the newest events of the whole system, or of one aggregate, and then every event as it is stored,\n" +
			"until Ctrl-C. A lost connection is tried again and goes on where it broke off: nothing comes twice and\n" +
			"nothing is missing.",
		Example: "  angz tail\n" +
			"  angz tail customer alice@example.com\n" +
			"  angz tail --domain order --type OrderCompleted\n" +
			"  angz tail --last 100 --once --output json | jq -r .type",
		Args: between(0, "DOMAIN", "ID"),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, s, args) },
	}
	o.connection.register(cmd)
	o.output.register(cmd)
	flags := cmd.Flags()
	flags.StringSliceVar(&o.domains, "domain", nil, "only of these domains")
	flags.StringSliceVar(&o.types, "type", nil, "only commands that stored an event of one of these types, by full or short name")
	flags.StringVar(&o.correlation, "correlation", "", "only of this correlation id")
	flags.IntVar(&o.last, "last", 10, "begin with what is wanted of so many of the newest events of the log, at most 10,000")
	flags.Uint64Var(&o.after, "after", 0, "begin above this position of the log instead; 0 is its beginning")
	flags.BoolVar(&o.once, "once", false, "end with what is stored now")
	return cmd
}

func (o *tailOptions) request(cmd *cobra.Command, args []string) (inspect.TailRequest, error) {
	request := inspect.TailRequest{
		After: o.after, Last: o.last, Domains: o.domains, Types: o.types, CorrelationID: o.correlation, Once: o.once,
	}
	switch {
	case len(args) == 1:
		return request, usagef("found one of DOMAIN and ID, expected both; for a whole domain use --domain %s", args[0])
	case len(args) == 2 && len(o.domains) > 0:
		return request, usagef("found both DOMAIN and --domain, expected one of the two")
	case o.last < 0 || o.last > 10_000:
		return request, usagef("--last: found %d, expected a number from 0 to 10000", o.last)
	case cmd.Flags().Changed("after") && cmd.Flags().Changed("last"):
		return request, usagef("found both --after and --last, expected one of the two")
	case cmd.Flags().Changed("after"):
		request.Last = 0
	case o.last == 0:
		request.FromHere = true
	}
	if len(args) == 2 {
		request.Domain, request.ID = args[0], args[1]
	}
	return request, nil
}

func (o *tailOptions) run(cmd *cobra.Command, s streams, args []string) error {
	request, err := o.request(cmd, args)
	if err != nil {
		return err
	}
	system, err := o.connection.ask(cmd.Context(), s)
	if err != nil {
		return err
	}
	defer system.close()
	return followInto(cmd.Context(), s, system, request, newEventPrinter(s, o.output, len(args) == 0))
}

// followInto prints what is stored, as it is stored, until the context ends. A
// system that was never reached is an error.
func followInto(ctx context.Context, s streams, system *asking, request inspect.TailRequest, printer *eventPrinter) error {
	reached, lost := false, false
	for followed := range system.Follow(ctx, request) {
		if followed.Err != nil {
			if !reached || followed.Wait == 0 {
				return system.explain(followed.Err)
			}
			if !lost {
				fmt.Fprintf(s.err, "the connection to %s is lost; trying again\n", system.conn.Address())
			}
			lost = true
			continue
		}
		if lost {
			fmt.Fprintln(s.err, "connected again; nothing is missing")
		}
		reached, lost = true, false
		for _, event := range followed.Events {
			if err := printer.print(event); err != nil {
				return err
			}
		}
		if err := printer.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// stepDocument is one command of a trace.
type stepDocument struct {
	CommandID string          `json:"command_id" doc:"the id of the command, a UUID"`
	Cause     *causeDocument  `json:"cause,omitempty" doc:"the event because of which a saga sent the command; absent for a client's command"`
	AfterMs   float64         `json:"after_ms" doc:"milliseconds from the event that caused it to its first event; 0 for a client's command"`
	Events    []eventDocument `json:"events" doc:"what the command stored, in order"`
	Steps     []stepDocument  `json:"steps" doc:"the commands that its events led to, in the order of the log"`
}

type causeDocument struct {
	By          string `json:"by" doc:"the saga, or what else acted"`
	Domain      string `json:"domain,omitempty" doc:"the domain of the event"`
	AggregateID string `json:"aggregate_id,omitempty" doc:"what people call the event's aggregate; absent where angz knows only its root"`
	Root        string `json:"root,omitempty" doc:"the root of the event's aggregate, a UUID"`
	Sequence    uint32 `json:"sequence" doc:"the number of the event in its aggregate, from 0"`
}

// traceDocument is all that a request led to.
type traceDocument struct {
	CorrelationID string         `json:"correlation_id" doc:"the correlation that was asked for"`
	Commands      int            `json:"commands" doc:"how many commands belong to it; 0 when it is not known"`
	Events        int            `json:"events" doc:"how many events belong to it"`
	TookMs        float64        `json:"took_ms" doc:"milliseconds from its first event to its last"`
	Steps         []stepDocument `json:"steps" doc:"the commands of clients, each with what it led to"`
}

func newTraceDocument(trace inspect.Trace) traceDocument {
	return traceDocument{trace.CorrelationID, trace.Commands, trace.Events, milliseconds(trace.Took), stepDocuments(trace.Steps)}
}

func stepDocuments(steps []*inspect.Step) []stepDocument {
	documents := []stepDocument{}
	for _, step := range steps {
		document := stepDocument{CommandID: step.CommandID, AfterMs: milliseconds(step.After), Events: []eventDocument{}, Steps: stepDocuments(step.Steps)}
		if cause := step.Cause; cause != nil {
			document.Cause = &causeDocument{cause.By, cause.Domain, cause.ID, cause.Root, cause.Sequence}
		}
		for _, event := range step.Events {
			document.Events = append(document.Events, newEventDocument(event))
		}
		documents = append(documents, document)
	}
	return documents
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func newTraceCommand(s streams) *cobra.Command {
	var (
		connection connection
		output     tableFormat
	)
	cmd := &cobra.Command{
		Use:   "trace CORRELATION",
		Short: "Show what one request led to, as a tree",
		Long: "Show all commands and events of a correlation as a tree: what a client sent, the events of it, what\n" +
			"sagas sent because of them, and so on, with the time from each event to what it led to.\n" +
			"Every answer, event and line of the log has the correlation id.",
		Example: "  angz trace 382b20ee-b5ef-5c15-9046-278e030912f8\n" +
			"  angz trace 382b20ee-b5ef-5c15-9046-278e030912f8 --output json",
		Args: between(1, "CORRELATION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[0] == "" {
				return usagef("CORRELATION is empty\nusage: %s", cmd.UseLine())
			}
			system, err := connection.ask(cmd.Context(), s)
			if err != nil {
				return err
			}
			defer system.close()
			trace, err := system.Trace(cmd.Context(), args[0])
			switch {
			case err != nil:
				return system.explain(err)
			case output == outputTableJSON:
				return writeJSON(s.out, newTraceDocument(trace))
			case output == outputTableYAML:
				return writeYAML(s.out, newTraceDocument(trace))
			case trace.Commands == 0:
				fmt.Fprintf(s.err, "no events of correlation %s\n", printable(args[0]))
				return nil
			}
			return writeTrace(s, trace)
		},
	}
	connection.register(cmd)
	output.register(cmd)
	return cmd
}

// writeTrace draws a trace as a tree.
func writeTrace(s streams, trace inspect.Trace) error {
	d := drawing{paint: newPainter(s.out, s.environ), width: widthOf(s.out, s.environ)}
	for _, step := range trace.Steps {
		d.step(step, "", "")
	}
	fmt.Fprintln(&d.text, d.paint.dim(fmt.Sprintf("%s, %s, %s", counted(trace.Commands, "command"), counted(trace.Events, "event"), took(trace.Took))))
	return writeAll(s, d.text.String())
}

// drawing is a tree of text.
type drawing struct {
	text  strings.Builder
	paint painter
	width int // 0 for any
}

// step draws a command and what it led to. first leads its own line, rest those
// below it.
func (d *drawing) step(step *inspect.Step, first, rest string) {
	d.text.WriteString(d.paint.dim(first) + d.head(step) + "\n")
	below := make(map[uint32][]*inspect.Step)
	for _, child := range step.Steps {
		below[child.Cause.Sequence] = append(below[child.Cause.Sequence], child)
	}
	for i, event := range step.Events {
		branch, line := "├─ ", "│  "
		if i == len(step.Events)-1 {
			branch, line = "└─ ", "   "
		}
		d.event(event, rest+branch)
		for j, child := range below[event.Sequence] {
			inner, more := "├─▶ ", "│   "
			if j == len(below[event.Sequence])-1 {
				inner, more = "└─▶ ", "    "
			}
			d.step(child, rest+line+inner, rest+line+more)
		}
	}
}

// head says which aggregate a command was for, and who sent it.
func (d *drawing) head(step *inspect.Step) string {
	event := step.Events[0]
	head := printable(event.Domain + " " + event.Name())
	if step.Cause != nil {
		head = printable(step.Cause.By) + " → " + head + d.paint.dim("  after "+took(step.After))
	}
	return head
}

func (d *drawing) event(event inspect.Event, lead string) {
	label := fmt.Sprintf("%d %s", event.Sequence, printable(event.ShortType()))
	payload := printable(string(event.Payload))
	if d.width > 0 {
		payload = shortened(payload, max(20, d.width-len([]rune(lead+label))-2))
	}
	fmt.Fprintf(&d.text, "%s%d %s  %s\n", d.paint.dim(lead), event.Sequence, d.paint.eventType(event.Type), d.paint.dim(payload))
}

// took writes a short time in the unit that matters.
func took(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < time.Second:
		return fmt.Sprintf("%.1f ms", milliseconds(d))
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}
