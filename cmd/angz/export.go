package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/angz-dev/angz/inspect/dump"
)

// exportOptions are the flags of "angz export".
type exportOptions struct {
	archived     archived
	domains      []string
	since, until string
	correlation  string
	whole        bool
	raw          bool
	noSnapshots  bool
	force        bool
}

func newExportCommand(s streams) *cobra.Command {
	var o exportOptions
	cmd := &cobra.Command{
		Use:   "export [FILE]",
		Short: "Write what is stored as JSON lines",
		Long: "Write what is stored to FILE, or to standard output: one JSON object on each line for what\n" +
			"one command stored, with decoded payloads, in the order in which it was stored; then the\n" +
			"snapshots. \"angz import\" makes the very same store of it elsewhere.\n\n" +
			"Asks the running angz dev, or the system at --address, or, when the project does not run,\n" +
			"its store itself. With --since, --until or --correlation an aggregate's earlier events may be\n" +
			"missing: --whole adds them, so that the file can be imported on its own.",
		Example: "  angz export backup.jsonl\n" +
			"  angz export --domain order --domain inventory orders.jsonl\n" +
			"  angz export --correlation 382b20ee-b5ef-5c15-9046-278e030912f8 --whole case.jsonl\n" +
			"  angz export --since 24h | jq -r '.events[]?.type_url' | sort | uniq -c\n" +
			"  angz export --address gateway.example.com:443 | gzip > backup.jsonl.gz",
		Args: between(0, "FILE"),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, s, args) },
	}
	o.archived.register(cmd)
	flags := cmd.Flags()
	flags.StringSliceVar(&o.domains, "domain", nil, "only aggregates of this domain; may be given several times")
	flags.StringVar(&o.since, "since", "", "only what happened at this time or later, such as 2026-01-31T12:00:00Z or 24h (ago)")
	flags.StringVar(&o.until, "until", "", "only what happened before this time")
	flags.StringVar(&o.correlation, "correlation", "", "only events of this correlation id")
	flags.BoolVar(&o.whole, "whole", false, "also the earlier events of the aggregates that have any of those")
	flags.BoolVar(&o.raw, "raw", false, "payloads as base64 only: faster, and no schema is needed to import them")
	flags.BoolVar(&o.noSnapshots, "no-snapshots", false, "leave snapshots out")
	flags.BoolVar(&o.force, "force", false, "replace FILE when it is there")
	return cmd
}

func (o *exportOptions) run(cmd *cobra.Command, s streams, args []string) (err error) {
	request, err := o.request(time.Now())
	if err != nil {
		return err
	}
	path := "-"
	if len(args) == 1 {
		path = args[0]
	}
	if path != "-" && !o.force {
		if _, err := os.Lstat(path); err == nil {
			return usagef("%s is there already: name another file, or replace it with --force", path)
		}
	}
	from, err := o.archived.open(cmd.Context(), s, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.close()) }()
	bar := newProgressBar(s, "exporting")
	defer bar.done()
	request.Progress = bar.show
	types := from.types
	if o.raw {
		types = nil
	}
	counts, err := toFile(s.out, path, func(to io.Writer) (dump.Counts, error) {
		return dump.Export(cmd.Context(), from.conn, types, request, to)
	})
	bar.done()
	if err != nil {
		return explain(err, from.address)
	}
	fmt.Fprintf(s.err, "exported %s\n", countsText(counts))
	return nil
}

func (o *exportOptions) request(now time.Time) (request dump.ExportRequest, err error) {
	request = dump.ExportRequest{Domains: o.domains, CorrelationID: o.correlation, Whole: o.whole, WithoutSnapshots: o.noSnapshots}
	for _, bound := range []struct {
		flag, text string
		to         *time.Time
	}{{"--since", o.since, &request.Since}, {"--until", o.until, &request.Until}} {
		if *bound.to, err = pointInTime(bound.text, now); err != nil {
			return request, usagef("%s", strings.Replace(err.Error(), "--at", bound.flag, 1))
		}
	}
	if !request.Since.IsZero() && !request.Until.IsZero() && !request.Since.Before(request.Until) {
		return request, usagef("--until: found %s, expected a time after that of --since, %s", o.until, o.since)
	}
	if o.whole && request.Since.IsZero() && request.Until.IsZero() && o.correlation == "" {
		return request, usagef("--whole adds to --since, --until or --correlation, and none of them is given: without them aggregates are whole anyway")
	}
	return request, nil
}

// toFile has a file written whole or not at all; "-" is standard output.
func toFile(out io.Writer, path string, write func(io.Writer) (dump.Counts, error)) (counts dump.Counts, err error) {
	if path == "-" {
		return buffered(out, write)
	}
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return counts, fmt.Errorf("write %s: %w", path, errors.Unwrap(err))
	}
	// What is exported is as private as the store it comes from.
	counts, err = buffered(file, write)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		_ = os.Remove(file.Name())
	}
	return counts, err
}

func buffered(to io.Writer, write func(io.Writer) (dump.Counts, error)) (dump.Counts, error) {
	buffer := bufio.NewWriterSize(to, 1<<20)
	counts, err := write(buffer)
	if err == nil {
		err = buffer.Flush()
	}
	return counts, err
}
