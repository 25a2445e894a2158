package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/angz-dev/angz/emulator/control"
)

// shownProcesses are the flags of "angz ps".
type shownProcesses struct {
	project runningProject
	output  tableFormat
	all     bool
}

func newProcessesCommand(s streams) *cobra.Command {
	var o shownProcesses
	cmd := &cobra.Command{
		Use:   "ps",
		Short: "Show what angz dev runs: services and addresses",
		Long: "Show how the services of the running project are doing and where clients reach it; or,\n" +
			"with --all, every project that runs on this machine. FOR is how long a service has been\n" +
			"in its state; NOTE is what is wrong with it, or why it was last started again.\n\n" +
			"The exit code is 1 when the project does not run. Of --all it is 0 also when none does.",
		Example: "  angz ps\n" +
			"  angz ps --all\n" +
			"  angz ps --project ../shop\n" +
			"  angz ps --output json | jq -r '.services[] | select(.state != \"ready\") | .name'",
		Args: between(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd, s) },
	}
	o.project.register(cmd)
	o.output.register(cmd)
	cmd.Flags().BoolVar(&o.all, "all", false, "every project of yours that runs on this machine")
	return cmd
}

func (o *shownProcesses) run(cmd *cobra.Command, s streams) error {
	if o.all {
		if o.project.dir != "" {
			return usagef("found both --all and --project, expected one of the two")
		}
		return o.runAll(cmd.Context(), s)
	}
	client, err := o.project.find()
	if err != nil {
		return err
	}
	defer client.Close()
	now, err := client.Status(cmd.Context())
	if err != nil {
		return saysNo(err)
	}
	if o.output != outputTable {
		return writeDocuments(s.out, o.output, []control.Status{now}, newStatusDocument)
	}
	return writeStatus(s, now, time.Now())
}

// heard is what one of several projects has said.
type heard struct {
	record control.Record
	status control.Status
	err    error
}

func (o *shownProcesses) runAll(ctx context.Context, s streams) error {
	running, err := control.Running(s.environ)
	if err != nil {
		return err
	}
	if len(running) == 0 {
		fmt.Fprintln(s.err, "no project runs; start one with \"angz dev\" in its folder")
		return nil
	}
	all := hearAll(ctx, running)
	if o.output != outputTable {
		return writeDocuments(s.out, o.output, all, newHeardDocument)
	}
	now := time.Now()
	rows := [][]string{{"PROJECT", "PID", "SINCE", "STATE", "SERVICES", "GATEWAY", "DIR"}}
	for _, each := range all {
		rows = append(rows, each.row(now))
	}
	return writeTable(s.out, newPainter(s.out, s.environ), widthOf(s.out, s.environ), rows)
}

// hearTime is how long one of several projects may take to answer.
const hearTime = 3 * time.Second

// hearAll asks all at once.
func hearAll(ctx context.Context, running []control.Record) []heard {
	ctx, stop := context.WithTimeout(ctx, hearTime)
	defer stop()
	all := make([]heard, len(running))
	var asking sync.WaitGroup
	for i, record := range running {
		asking.Go(func() {
			all[i].record = record
			client, err := control.Dial(record)
			if err != nil {
				all[i].err = err
				return
			}
			defer client.Close()
			all[i].status, all[i].err = client.Status(ctx)
		})
	}
	asking.Wait()
	return all
}

func (h heard) row(now time.Time) []string {
	row := []string{printable(h.record.Project), fmt.Sprint(h.record.PID), clock(h.record.Started, now), "does not answer", "-", "-", printable(h.record.Dir)}
	if h.err != nil {
		return row
	}
	ready := 0
	for _, service := range h.status.Services {
		if service.State.Serves() {
			ready++
		}
	}
	row[3], row[4] = "not ready", fmt.Sprintf("%d of %d", ready, len(h.status.Services))
	if h.status.Ready {
		row[3] = "ready"
	}
	if address := clientAddress(h.status, "gateway"); address != "" {
		row[5] = printable(address)
	}
	return row
}

func newHeardDocument(h heard) statusDocument {
	if h.err == nil {
		return newStatusDocument(h.status)
	}
	document := newStatusDocument(control.Status{
		Project: h.record.Project, Dir: h.record.Dir, PID: h.record.PID, Since: h.record.Started, Detached: h.record.Detached,
	})
	document.Answers = false
	return document
}
