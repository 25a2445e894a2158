package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/angz-dev/angz/emulator/control"
)

// followedTail is how many of the lines that are there already are shown before
// those to come.
const followedTail = 100

// shownLogs are the flags of "angz logs".
type shownLogs struct {
	project runningProject
	output  outputFormat
	follow  bool
	level   string
	since   string
	tail    int
}

func newLogsCommand(s streams) *cobra.Command {
	var o shownLogs
	cmd := &cobra.Command{
		Use:   "logs [SERVICE...]",
		Short: "Show what the services and angz dev log",
		Long: "Show what the services of the running project have logged, and angz itself under the name\n" +
			"angz; with -f also what they are going to. Services that log JSON lines are understood: of\n" +
			"those the message is shown. A line that does not say how grave it is counts as info.",
		Example: "  angz logs\n" +
			"  angz logs order -f\n" +
			"  angz logs --level warn --since 15m\n" +
			"  angz logs order angz --tail 20\n" +
			"  angz logs --output json | jq -r 'select(.level == \"error\") | .text'",
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, s, args) },
	}
	o.project.register(cmd)
	o.output.register(cmd)
	flags := cmd.Flags()
	flags.BoolVarP(&o.follow, "follow", "f", false, "go on with what is logged from now on, until Ctrl-C")
	flags.StringVar(&o.level, "level", "", "only lines at least as grave: "+strings.Join(control.LevelNames(), ", "))
	flags.StringVar(&o.since, "since", "", "only lines from then on, such as 2026-01-31T12:00:00Z or 15m (ago)")
	flags.IntVar(&o.tail, "tail", 0, fmt.Sprintf("so many of the newest lines at most (default: all, or %d with -f)", followedTail))
	_ = cmd.RegisterFlagCompletionFunc("level", cobra.FixedCompletions(control.LevelNames(), cobra.ShellCompDirectiveNoFileComp))
	cmd.ValidArgsFunction = o.project.completeServices(true)
	return cmd
}

func (o *shownLogs) run(cmd *cobra.Command, s streams, names []string) error {
	filter, err := o.filter(cmd, names)
	if err != nil {
		return err
	}
	client, err := o.project.find()
	if missing := new(control.NotRunning); errors.As(err, &missing) && missing.Project {
		return fmt.Errorf("%w\nwhat was logged before is in %s", err, filepath.Dir(logFile(missing.Dir)))
	} else if err != nil {
		return err
	}
	defer client.Close()
	now, err := client.Status(cmd.Context())
	if err != nil {
		return saysNo(err)
	}
	printer := newLinePrinter(s, o.output, now)
	printer.flushes = o.follow
	if err := client.Logs(cmd.Context(), filter, printer.print); err != nil {
		return errors.Join(saysNo(err), printer.Flush())
	}
	if o.follow && cmd.Context().Err() == nil {
		fmt.Fprintln(s.err, "the emulator has ended")
	}
	return printer.Flush()
}

func (o *shownLogs) filter(cmd *cobra.Command, names []string) (control.LogFilter, error) {
	filter := control.LogFilter{Names: names, Follow: o.follow, Tail: -1}
	switch {
	case o.tail < 0:
		return filter, usagef("--tail: found %d, expected 0 or more", o.tail)
	case cmd.Flags().Changed("tail"):
		filter.Tail = o.tail
	case o.follow && o.since == "":
		filter.Tail = followedTail
	}
	if o.level != "" {
		level, ok := control.ParseLevel(strings.ToLower(o.level))
		if !ok {
			return filter, usagef("--level: found %q, expected %s", o.level, strings.Join(control.LevelNames(), ", "))
		}
		filter.MinLevel = level
	}
	var err error
	if filter.Since, err = pointInTime(o.since, time.Now()); err != nil {
		return filter, usagef(`--since: found %q, expected a time such as 2026-01-31T12:00:00Z, "2026-01-31 12:00" or 15m (ago)`, o.since)
	}
	return filter, nil
}

// linePrinter writes lines of the log one by one.
type linePrinter struct {
	*bufio.Writer
	format  outputFormat
	paint   painter
	names   []string // in the order of their colours
	width   int      // of the longest of them
	flushes bool     // somebody waits for each line
}

func newLinePrinter(s streams, format outputFormat, now control.Status) *linePrinter {
	p := &linePrinter{Writer: bufio.NewWriter(s.out), format: format, paint: newPainter(s.out, s.environ)}
	for _, service := range now.Services {
		p.names = append(p.names, service.Name)
	}
	p.names = append(p.names, now.OtherLogs...)
	for _, name := range p.names {
		p.width = max(p.width, len(name))
	}
	return p
}

// lineDocument is one line of the log.
type lineDocument struct {
	Time    string `json:"time,omitempty" doc:"when it was logged, RFC 3339 in UTC; absent when that is not known" format:"date-time"`
	Service string `json:"service" doc:"who logged it: a service, or angz itself"`
	Level   string `json:"level" doc:"how grave it is; info when the line does not say" enum:"trace|debug|info|warn|error"`
	Text    string `json:"text" doc:"what a person reads: of a line of JSON its message"`
	Raw     string `json:"raw,omitempty" doc:"the line as it was written, where text is not all of it"`
}

func (p *linePrinter) print(line control.LogLine) error {
	if err := p.write(line); err != nil || !p.flushes {
		return err
	}
	return p.Flush()
}

func (p *linePrinter) write(line control.LogLine) error {
	if p.format.forPrograms() {
		level := cmp.Or(line.Level, control.LevelInfo)
		return p.format.write(p, lineDocument{timeText(line.Time), line.Name, level.String(), line.Text, strings.ToValidUTF8(line.Raw, "\uFFFD")})
	}
	at := "-"
	if !line.Time.IsZero() {
		at = line.Time.Local().Format("15:04:05.000")
	}
	name := p.paint.paint(p.color(line.Name), fmt.Sprintf("%-*s", p.width, printable(line.Name)))
	_, err := fmt.Fprintf(p, "%s %s | %s%s\n", p.paint.dim(at), name, p.level(line.Level), printable(line.Text))
	return err
}

// level is shown where a person has to look.
func (p *linePrinter) level(level control.Level) string {
	switch level {
	case control.LevelError:
		return p.paint.paint("31", "ERROR ")
	case control.LevelWarn:
		return p.paint.paint("33", "WARN ")
	}
	return ""
}

// color gives each name one of the colours that can be read on light and dark.
func (p *linePrinter) color(name string) string {
	colors := []string{"36", "35", "34", "32", "33", "96", "95", "94", "92"}
	return colors[max(slices.Index(p.names, name), 0)%len(colors)]
}
