package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/angz-dev/angz/inspect"
)

// eventsOptions are the flags of "angz events".
type eventsOptions struct {
	connection  connection
	output      outputFormat
	from, to    uint32
	at          string
	correlation string
	follow      bool
}

func newEventsCommand(s streams) *cobra.Command {
	var o eventsOptions
	cmd := &cobra.Command{
		Use:   "events [DOMAIN ID]",
		Short: "Show the events of an aggregate, or of a correlation",
		Long: "Show the stored events of an aggregate, oldest first, with their payloads as JSON;\n" +
			"or, with --correlation, everything that one request caused in all domains.\n" +
			"ID is what people call the aggregate, or a UUID.",
		Example: "  angz events customer alice@example.com\n" +
			"  angz events order order-1 --from 3 --to 5\n" +
			"  angz events order order-1 --at 2026-01-31T12:00:00Z\n" +
			"  angz events order order-1 --follow\n" +
			"  angz events --correlation 382b20ee-b5ef-5c15-9046-278e030912f8\n" +
			"  angz events order order-1 --output json | jq .payload",
		Args: between(0, "DOMAIN", "ID"),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, s, args) },
	}
	o.connection.register(cmd)
	o.output.register(cmd)
	flags := cmd.Flags()
	flags.Uint32Var(&o.from, "from", 0, "number of the first event")
	flags.Uint32Var(&o.to, "to", 0, "number of the last event (default: the newest)")
	flags.StringVar(&o.at, "at", "", "only what had happened by this time, such as 2026-01-31T12:00:00Z or 15m (ago)")
	flags.StringVar(&o.correlation, "correlation", "", "only events of this correlation id")
	flags.BoolVarP(&o.follow, "follow", "f", false, "go on with every event as it is stored, until Ctrl-C")
	return cmd
}

func (o *eventsOptions) run(cmd *cobra.Command, s streams, args []string) error {
	request, err := o.request(cmd, args)
	if err != nil {
		return err
	}
	system, err := o.connection.ask(cmd.Context(), s)
	if err != nil {
		return err
	}
	defer system.close()
	head := uint64(0) // of the log, before anything is read
	if o.follow {
		if _, head, err = system.Domains(cmd.Context()); err != nil {
			return system.explain(err)
		}
	}
	printer := newEventPrinter(s, o.output, len(args) == 0)
	for event, err := range system.Events(cmd.Context(), request) {
		if err != nil {
			return errors.Join(printer.Flush(), system.explain(err))
		}
		if err := printer.print(event); err != nil {
			return err
		}
		head = max(head, event.Position)
	}
	if printer.printed == 0 {
		fmt.Fprintln(s.err, nothingFound(request))
	}
	if err := printer.Flush(); err != nil || !o.follow {
		return err
	}
	return followInto(cmd.Context(), s, system, inspect.TailRequest{After: head, Domain: request.Domain, ID: request.ID, CorrelationID: request.CorrelationID}, printer)
}

func (o *eventsOptions) request(cmd *cobra.Command, args []string) (inspect.EventsRequest, error) {
	request := inspect.EventsRequest{From: o.from, CorrelationID: o.correlation}
	switch {
	case len(args) == 2 && args[0] != "" && args[1] != "":
		request.Domain, request.ID = args[0], args[1]
	case len(args) > 0:
		return request, usagef("found %d of DOMAIN and ID, expected both\nusage: %s", len(args), cmd.UseLine())
	case o.correlation == "":
		return request, usagef("DOMAIN and ID are missing; name an aggregate, or a correlation with --correlation\nusage: %s", cmd.UseLine())
	}
	if o.follow && (cmd.Flags().Changed("to") || o.at != "") {
		return request, usagef("found --follow together with --to or --at, which end before now; expected one of them")
	}
	if cmd.Flags().Changed("to") {
		if o.to < o.from {
			return request, usagef("--to: found %d, expected at least %d, the value of --from", o.to, o.from)
		}
		request.To = &o.to
	}
	var err error
	request.At, err = pointInTime(o.at, time.Now())
	return request, err
}

// pointInTime reads a time as people write it: in full, as a day, or as how long
// ago it was.
func pointInTime(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return at, nil
	}
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02"} {
		if at, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return at, nil
		}
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	return time.Time{}, usagef(`--at: found %q, expected a time such as 2026-01-31T12:00:00Z, "2026-01-31 12:00" or 15m (ago)`, text)
}

// nothingFound says in a friendly way that there are no events.
func nothingFound(request inspect.EventsRequest) string {
	switch {
	case request.Domain == "":
		return fmt.Sprintf("no events of correlation %s", printable(request.CorrelationID))
	case request.From > 0 || request.To != nil || !request.At.IsZero() || request.CorrelationID != "":
		return fmt.Sprintf("no events of %s %s in that range", printable(request.Domain), printable(request.ID))
	}
	return fmt.Sprintf("no events of %s %s yet", printable(request.Domain), printable(request.ID))
}

// eventPrinter writes events one by one, as they arrive.
type eventPrinter struct {
	*bufio.Writer
	format  outputFormat
	paint   painter
	named   bool // say which aggregate each event belongs to
	printed int
}

func newEventPrinter(s streams, format outputFormat, named bool) *eventPrinter {
	return &eventPrinter{Writer: bufio.NewWriter(s.out), format: format, paint: newPainter(s.out, s.environ), named: named}
}

func (p *eventPrinter) print(event inspect.Event) error {
	p.printed++
	if p.format.forPrograms() {
		return p.format.write(p, newEventDocument(event))
	}
	return p.line(p.Writer, event)
}

func (p *eventPrinter) line(out io.Writer, event inspect.Event) error {
	aggregate, at := "", "-"
	if p.named {
		aggregate = fmt.Sprintf("%s %s  ", printable(event.Domain), printable(event.Name()))
	}
	if !event.CreatedAt.IsZero() {
		at = event.CreatedAt.UTC().Format("2006-01-02T15:04:05.000Z")
	}
	_, err := fmt.Fprintf(out, "%s%4d  %s  %s  %s\n", aggregate, event.Sequence, p.paint.dim(at), p.paint.eventType(event.Type), printable(string(event.Payload)))
	return err
}
