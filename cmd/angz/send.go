package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/angz-dev/angz/inspect"
)

// sendOptions are the flags of "angz send".
type sendOptions struct {
	connection  connection
	output      outputFormat
	sync        syncFlag
	sequence    uint32
	correlation string
	idempotency string
	file        string
	timeout     time.Duration
	wait, edit  bool
}

func newSendCommand(s streams) *cobra.Command {
	var o sendOptions
	cmd := &cobra.Command{
		Use:   "send DOMAIN ID TYPE [JSON | -]",
		Short: "Send a command to an aggregate and show the events it caused",
		Long: "Send a command to an aggregate and show the events that were stored.\n\n" +
			"ID is what people call the aggregate, or a UUID. TYPE is the short or full name of\n" +
			"the command's message. JSON holds its fields; \"-\" reads them from standard input,\n" +
			"and without them the command is empty. --edit opens your editor (VISUAL, EDITOR, else vi)\n" +
			"with the command's fields and what each expects; an empty file sends nothing.\n\n" +
			"--wait shows everything that the command leads to, until all projectors and sagas have\n" +
			"handled it, and fails when there are dead letters.",
		Example: "  angz send customer alice@example.com CreateCustomer '{\"name\":\"Alice\",\"email\":\"alice@example.com\"}'\n" +
			"  angz send inventory prod-1 AddStock '{\"quantity\": 10}' --wait\n" +
			"  angz send order order-1 CreateOrder --edit\n" +
			"  angz send order order-1 CompleteOrder --sync cascade\n" +
			"  angz send order order-1 CreateOrder --file order.json --output json\n" +
			"  jq .command request.json | angz send order order-1 CreateOrder -",
		Args: between(3, "DOMAIN", "ID", "TYPE", "JSON"),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, s, args) },
	}
	o.connection.register(cmd)
	o.output.register(cmd)
	flags := cmd.Flags()
	flags.Var(&o.sync, "sync", "wait for: none (events stored), simple (projections, too), cascade (sagas, too)")
	flags.Uint32Var(&o.sequence, "sequence", 0, "refuse unless this is the aggregate's next number (default: whatever is next)")
	flags.StringVar(&o.correlation, "correlation-id", "", "join what the command causes under this id (default: derived from the command)")
	flags.StringVar(&o.idempotency, "idempotency-key", "", "name this request so that repeating it has no second effect")
	flags.StringVar(&o.file, "file", "", "read the JSON from this file")
	flags.BoolVar(&o.edit, "edit", false, "write the command's fields in your editor before it is sent")
	flags.BoolVar(&o.wait, "wait", false, "show what the command leads to, until all of that is done")
	flags.DurationVar(&o.timeout, "timeout", 30*time.Second, "give up after this time")
	_ = cmd.RegisterFlagCompletionFunc("sync", cobra.FixedCompletions(syncNames, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (o *sendOptions) run(cmd *cobra.Command, s streams, args []string) error {
	request, err := o.request(cmd, s, args)
	if err != nil {
		return err
	}
	system, err := o.connection.ask(cmd.Context(), s)
	if err != nil {
		return err
	}
	defer system.close()
	if o.edit {
		return o.sendEdited(cmd.Context(), s, system, request)
	}
	return o.send(cmd.Context(), s, system, request)
}

// send sends a command and prints what became of it.
func (o *sendOptions) send(ctx context.Context, s streams, system *asking, request inspect.SendRequest) error {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	sent, err := system.Send(ctx, request)
	if status.Code(err) == codes.DeadlineExceeded {
		return fmt.Errorf("%w\nthe events may be stored all the same: see \"angz events\", or give more time with --timeout", system.explain(err))
	}
	if err != nil {
		return system.explain(err)
	}
	if len(sent.Events) == 0 {
		fmt.Fprintln(s.err, "accepted; nothing was stored, because the command changed nothing")
	}
	if o.wait && sent.CorrelationID != "" {
		return o.settle(ctx, s, system, sent)
	}
	if o.output.forPrograms() {
		return o.output.write(s.out, sentDocument(sent))
	}
	return writeSent(s.out, newPainter(s.out, s.environ), sent)
}

func (o *sendOptions) request(cmd *cobra.Command, s streams, args []string) (inspect.SendRequest, error) {
	for i, name := range []string{"DOMAIN", "ID", "TYPE"} {
		if args[i] == "" {
			return inspect.SendRequest{}, usagef("%s is empty\nusage: %s", name, cmd.UseLine())
		}
	}
	if o.timeout <= 0 {
		return inspect.SendRequest{}, usagef("--timeout: found %s, expected more than nothing, such as 30s", o.timeout)
	}
	request := inspect.SendRequest{
		Domain: args[0], ID: args[1], Type: args[2],
		Sync: inspect.Sync(o.sync), CorrelationID: o.correlation, IdempotencyKey: o.idempotency,
	}
	if cmd.Flags().Changed("sequence") {
		request.Sequence = &o.sequence
	}
	var err error
	request.JSON, err = o.json(s.in, args[3:])
	return request, err
}

// json returns the command's fields from wherever they were given.
func (o *sendOptions) json(in io.Reader, argument []string) (text json.RawMessage, err error) {
	source := "JSON"
	switch {
	case o.file != "" && len(argument) > 0:
		return nil, usagef("found both JSON and --file, expected one of the two")
	case o.file != "":
		source = "--file " + o.file
		if text, err = os.ReadFile(o.file); err != nil {
			return nil, usagef("--file: %w", err)
		}
	case len(argument) == 0:
		return nil, nil
	case argument[0] == "-":
		source = "standard input"
		if text, err = io.ReadAll(in); err != nil {
			return nil, fmt.Errorf("read the command from standard input: %w", err)
		}
	default:
		text = json.RawMessage(argument[0])
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, usagef("%s is empty; leave it out for a command without fields, or give {}", source)
	}
	return text, checkJSON(source, text)
}

// checkJSON refuses what is not JSON before anything is sent.
func checkJSON(source string, text []byte) error {
	var value json.RawMessage
	err := json.Unmarshal(text, &value)
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) {
		return nil
	}
	before := text[:max(0, min(int(syntax.Offset)-1, len(text)))]
	line := 1 + bytes.Count(before, []byte("\n"))
	column := len(before) - bytes.LastIndexByte(before, '\n')
	return usagef("%s: not JSON at line %d, column %d: %w", source, line, column, syntax)
}

// writeSent prints what became of a command for a person.
func writeSent(out io.Writer, paint painter, sent inspect.Sent) error {
	var text bytes.Buffer
	if len(sent.Events) > 0 {
		fmt.Fprintf(&text, "stored %s %s\n", printable(sent.Domain), printable(sent.ID))
	}
	width := 0
	for _, event := range sent.Events {
		width = max(width, len(event.ShortType()))
	}
	for _, event := range sent.Events {
		pad := fmt.Sprintf("%*s", width-len(event.ShortType()), "")
		fmt.Fprintf(&text, "  %s  %s%s  %s\n", strconv.FormatUint(uint64(event.Sequence), 10), paint.eventType(event.Type), pad, printable(string(event.Payload)))
	}
	for _, projection := range sent.Projections {
		fmt.Fprintf(&text, "projection %s at %d", printable(projection.Projector), projection.Sequence)
		if projection.Result != nil {
			fmt.Fprintf(&text, "  %s  %s", paint.eventType(projection.Type), printable(string(projection.Result)))
		}
		text.WriteByte('\n')
	}
	if sent.CorrelationID != "" {
		fmt.Fprintln(&text, paint.dim("correlation "+printable(sent.CorrelationID)))
	}
	_, err := out.Write(text.Bytes())
	return err
}

// syncNames are the values of --sync, in the order of inspect.Sync.
var syncNames = []string{"none", "simple", "cascade"}

// syncFlag is the value of --sync.
type syncFlag inspect.Sync

// Set implements pflag.Value.
func (f *syncFlag) Set(text string) error {
	for i, name := range syncNames {
		if text == name {
			*f = syncFlag(i)
			return nil
		}
	}
	return fmt.Errorf("found %q, expected none, simple or cascade", text)
}

// String implements pflag.Value.
func (f *syncFlag) String() string { return syncNames[*f] }

// Type implements pflag.Value.
func (f *syncFlag) Type() string { return "mode" }
