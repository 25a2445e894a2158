package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/angz-dev/angz/emulator/control"
)

// stopped are the flags of "angz stop".
type stopped struct {
	project runningProject
	output  outputFormat
	all     bool
	timeout time.Duration
}

func newStopCommand(s streams) *cobra.Command {
	var o stopped
	cmd := &cobra.Command{
		Use:   "stop",
		Short: "Stop angz dev and all its services",
		Long: "Stop the running project, or with --all every project that runs on this machine, and\n" +
			"wait until nothing of it is left. What was stored stays.\n\n" +
			"The exit code is 0 also when nothing ran, so that a script may always end with it; it is\n" +
			"1 when the project has not ended in time.",
		Example: "  angz stop\n" +
			"  angz stop --all\n" +
			"  angz stop --project ../shop --timeout 5s",
		Args: between(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), s) },
	}
	o.project.register(cmd)
	o.output.register(cmd)
	cmd.Flags().BoolVar(&o.all, "all", false, "every project of yours that runs on this machine")
	cmd.Flags().DurationVar(&o.timeout, "timeout", 30*time.Second, "how long to wait until it is gone")
	return cmd
}

func (o *stopped) run(ctx context.Context, s streams) error {
	if o.timeout <= 0 {
		return usagef("--timeout: found %s, expected more than 0", o.timeout)
	}
	if o.all && o.project.dir != "" {
		return usagef("found both --all and --project, expected one of the two")
	}
	clients, err := o.find(s)
	if err != nil {
		return err
	}
	if len(clients) == 0 {
		fmt.Fprintln(s.err, "nothing to stop: no project runs")
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	// All end side by side.
	asked := make([]error, len(clients))
	for i, client := range clients {
		defer client.Close()
		asked[i] = client.Stop(ctx)
	}
	var all error
	for i, client := range clients {
		if err := o.await(ctx, client, asked[i]); err != nil {
			all = errors.Join(all, err)
		} else if err := o.print(s, client.Record); err != nil {
			return err
		}
	}
	return all
}

// find connects to those that are to be stopped.
func (o *stopped) find(s streams) ([]*control.Client, error) {
	if !o.all {
		client, err := o.project.find()
		missing := new(control.NotRunning)
		switch {
		case errors.As(err, &missing) && missing.Project:
			return nil, nil
		case err != nil:
			return nil, err
		}
		return []*control.Client{client}, nil
	}
	running, err := control.Running(s.environ)
	if err != nil {
		return nil, err
	}
	var clients []*control.Client
	for _, record := range running {
		client, err := control.Dial(record)
		if err != nil {
			return nil, err
		}
		clients = append(clients, client)
	}
	return clients, nil
}

// await waits until an emulator is gone that was asked to end.
func (o *stopped) await(ctx context.Context, client *control.Client, asked error) error {
	gone := client.AwaitGone(ctx)
	switch {
	case gone == nil:
		return nil
	case !errors.Is(gone, context.DeadlineExceeded):
		return gone
	case asked != nil && !errors.Is(asked, context.DeadlineExceeded):
		return saysNo(asked)
	}
	return fmt.Errorf("%s, process %d, has not ended within %s\nsee what it is doing in %s; \"kill -9 %d\" ends it by force, and its services with it",
		printable(client.Project), client.PID, o.timeout, filepath.Join(client.Dir, ".angz", "logs"), client.PID)
}

// stoppedDocument is a project that has been stopped.
type stoppedDocument struct {
	Project string `json:"project" doc:"what the project is called: the name of its folder"`
	Dir     string `json:"dir" doc:"the project's folder, absolute"`
	PID     int    `json:"pid" doc:"the number that the process angz dev had"`
	Stopped bool   `json:"stopped" doc:"always true: one that did not end is an error instead"`
}

func (o *stopped) print(s streams, record control.Record) error {
	if o.output.forPrograms() {
		return o.output.write(s.out, stoppedDocument{record.Project, record.Dir, record.PID, true})
	}
	_, err := fmt.Fprintf(s.out, "stopped %s, process %d\n", printable(record.Project), record.PID)
	return err
}
