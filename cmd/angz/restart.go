package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/angz-dev/angz/emulator/control"
)

// restarted are the flags of "angz restart".
type restarted struct {
	project runningProject
	output  outputFormat
	noWait  bool
	timeout time.Duration
}

func newRestartCommand(s streams) *cobra.Command {
	var o restarted
	cmd := &cobra.Command{
		Use:   "restart [SERVICE...]",
		Short: "Build and start services again",
		Long: "Build services of the running project and start them again, all of them if none is\n" +
			"named, and wait until they are ready. A service whose build fails goes on as it was.\n" +
			"Commands sent meanwhile wait.\n\n" +
			"The exit code is 1 when a service does not become ready; what is wrong and its last\n" +
			"lines are shown.",
		Example: "  angz restart\n" +
			"  angz restart order receipt\n" +
			"  angz restart order --no-wait",
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), s, args) },
	}
	o.project.register(cmd)
	o.output.register(cmd)
	cmd.Flags().BoolVar(&o.noWait, "no-wait", false, "do not wait until they are ready")
	cmd.Flags().DurationVar(&o.timeout, "timeout", time.Minute, "how long to wait until they are ready")
	cmd.ValidArgsFunction = o.project.completeServices(false)
	return cmd
}

func (o *restarted) run(ctx context.Context, s streams, names []string) error {
	if o.timeout <= 0 {
		return usagef("--timeout: found %s, expected more than 0", o.timeout)
	}
	client, err := o.project.find()
	if err != nil {
		return err
	}
	defer client.Close()
	before, err := client.Status(ctx)
	if err != nil {
		return saysNo(err)
	}
	if err := client.Restart(ctx, names, "angz restart"); err != nil {
		return saysNo(err)
	}
	if o.noWait {
		return nil
	}
	waiting, stop := context.WithTimeout(ctx, o.timeout)
	defer stop()
	began := time.Now()
	now, err := client.AwaitRestarted(waiting, before, names)
	unready := new(control.Unready)
	if errors.As(err, &unready) && unready.Late {
		return fmt.Errorf("not ready within %s: %s\nsee \"angz logs\", or give more time with --timeout", o.timeout, printableLines(err.Error()))
	} else if errors.As(err, &unready) {
		return errors.New(printableLines(err.Error()) + "\nsee \"angz logs\"")
	} else if err != nil {
		return saysNo(err)
	}
	return o.print(s, now, names, time.Since(began))
}

func (o *restarted) print(s streams, now control.Status, names []string, took time.Duration) error {
	for _, service := range now.Services {
		if service.Elsewhere || len(names) > 0 && !slices.Contains(names, service.Name) {
			continue
		}
		if o.output.forPrograms() {
			if err := o.output.write(s.out, newServiceDocument(service)); err != nil {
				return err
			}
			continue
		}
		if _, err := fmt.Fprintf(s.out, "%s is ready, process %d\n", printable(service.Name), service.PID); err != nil {
			return err
		}
	}
	if !o.output.forPrograms() {
		fmt.Fprintf(s.err, "after %s\n", took.Round(time.Millisecond))
	}
	return nil
}
