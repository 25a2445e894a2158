package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"github.com/angz-dev/angz/emulator"
	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/node"
	"github.com/angz-dev/angz/runtime/observe"
)

// newServeCommand holds the commands that run angz in production.
func newServeCommand(s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "serve",
		Short:   "Run angz in production",
		Example: "  angz serve all --config /etc/angz/angz.yaml",
	}
	cmd.AddCommand(newServeAllCommand(s))
	return cmd
}

// serveOptions are the flags of "angz serve all".
type serveOptions struct {
	file string
}

func newServeAllCommand(s streams) *cobra.Command {
	var o serveOptions
	cmd := &cobra.Command{
		Use:   "all",
		Short: "Serve commands, queries and streams from one process",
		Long: "Serve commands, queries and streams from one process, for services that are started\n" +
			"elsewhere and whose addresses stand in the configuration. Events are printed on standard\n" +
			"output, the log on standard error. SIGTERM stops it in order: calls under way are\n" +
			"finished first. A second signal ends it at once.",
		Example: "  angz serve all\n" +
			"  angz serve all --config /etc/angz/angz.yaml",
		Args: between(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), s) },
	}
	cmd.Flags().StringVar(&o.file, "config", "", "the configuration file (default: angz.yaml in the working folder or above)")
	return cmd
}

func (o *serveOptions) run(ctx context.Context, s streams) error {
	loaded, err := config.Load(config.Options{File: o.file, Environ: s.environ})
	if err != nil {
		return usageError{err}
	}
	file, isFile := s.err.(*os.File)
	logger, err := observe.New(observe.Options{
		Writer: s.err, Format: loaded.Log.Format, Directives: loaded.Log.Directives,
		Terminal: isFile && isatty.IsTerminal(file.Fd()), Color: bool(newPainter(s.err, s.environ)),
	})
	if err != nil {
		return usageError{fmt.Errorf("log: %w", err)}
	}
	opened, err := node.Open(ctx, node.Options{
		Config: loaded, Logger: logger, Events: s.out, Color: bool(newPainter(s.out, s.environ)),
	})
	if err != nil {
		return emulator.ExplainPorts(loaded, err)
	}
	return serve(ctx, opened, observe.Component(logger, "serve"))
}

// serve runs a node and logs where it is and when it takes commands.
func serve(ctx context.Context, opened *node.Node, logger *slog.Logger) error {
	for _, endpoint := range opened.Endpoints() {
		logger.Info("serving the "+endpoint.Role+" role", observe.KeyAddress, endpoint.Address)
	}
	ended := make(chan struct{})
	told := make(chan struct{})
	go func() {
		defer close(told)
		select {
		case <-opened.Ready():
			logger.Info("ready: every service is reachable")
		case <-ended:
		}
	}()
	err := opened.Run(ctx)
	close(ended)
	<-told
	logger.Info("stopped")
	return err
}
