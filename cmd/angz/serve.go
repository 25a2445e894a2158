package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

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
		Use:   "serve",
		Short: "Run angz in production",
		Long: "Run one role of angz in production, or all of them in one process. Every role waits for\n" +
			"what it needs (its database, its service) and says so in its health service. SIGTERM\n" +
			"stops it in order: calls under way are finished first. A second signal ends it at once.",
		Example: "  angz serve all --config /etc/angz/angz.yaml\n" +
			"  angz serve aggregate order\n" +
			"  angz serve gateway",
	}
	for _, role := range servedRoles {
		cmd.AddCommand(newServeRoleCommand(s, role))
	}
	return cmd
}

// servedRole is one role as a person starts it.
type servedRole struct {
	name, argument string
	short, long    string
	example        string
}

var servedRoles = []servedRole{
	{
		name: "all", short: "Serve commands, queries and streams from one process",
		long: "Serve commands, queries and streams from one process, for services that are started\n" +
			"elsewhere and whose addresses stand in the configuration. Events are printed on standard\n" +
			"output, the log on standard error.",
		example: "  angz serve all\n" +
			"  angz serve all --config /etc/angz/angz.yaml",
	},
	{
		name: "aggregate", argument: "DOMAIN", short: "Take the commands of one domain, or of all in the configuration",
		long: "Take commands, let the domain's service decide them and store its events; answer event\n" +
			"queries. Without DOMAIN it serves every domain in the configuration. Any number of\n" +
			"instances may serve one domain.",
		example: "  angz serve aggregate\n" +
			"  angz serve aggregate order --config /etc/angz/angz.yaml",
	},
	{
		name: "projector", argument: "NAME", short: "Bring events to one projector",
		long: "Bring events to one projector's service, and let commands wait for its projections. NAME\n" +
			"is needed when the configuration has several. Instances share the aggregates among them.",
		example: "  angz serve projector receipt",
	},
	{
		name: "saga", argument: "NAME", short: "Bring events to one saga and send its commands",
		long: "Bring events to one saga's service, send the commands it answers with, and compensate\n" +
			"for those that are refused. NAME is needed when the configuration has several. Instances\n" +
			"share the aggregates among them.",
		example: "  angz serve saga loyalty",
	},
	{
		name: "gateway", short: "Be the clients' door to all domains",
		long: "Take commands and queries of every domain and forward them, and stream what commands\n" +
			"cause. It keeps nothing: any number of instances may stand side by side.",
		example: "  COMMAND_ADDRESS=orders:1313 STREAM_ADDRESS=stream:50051 angz serve gateway",
	},
	{
		name: "stream", short: "Let clients watch what a correlation causes",
		long:    "Let clients, and the gateway for them, watch the events of one correlation as they come.",
		example: "  angz serve stream",
	},
	{
		name: "log", short: "Print every event",
		long:    "Print every event on standard output from now on, for people to read.",
		example: "  angz serve log",
	},
}

// serveOptions say what one angz serve is to run.
type serveOptions struct {
	file, role, name string
}

func newServeRoleCommand(s streams, role servedRole) *cobra.Command {
	o := serveOptions{role: role.name}
	use, arguments := role.name, []string(nil)
	if role.argument != "" {
		use, arguments = role.name+" ["+role.argument+"]", []string{role.argument}
	}
	cmd := &cobra.Command{
		Use: use, Short: role.short, Long: role.long, Example: role.example,
		Args: between(0, arguments...),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				o.name = args[0]
			}
			return o.run(cmd.Context(), s)
		},
	}
	cmd.Flags().StringVar(&o.file, "config", "", "the configuration file (default: angz.yaml in the working folder or above)")
	return cmd
}

func (o *serveOptions) run(ctx context.Context, s streams) error {
	loaded, err := config.Load(config.Options{File: o.file, Environ: s.environ, Role: o.role, Name: o.name})
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
	telemetry, err := startTelemetry(ctx, s, loaded, "angz-"+o.role, logger)
	if err != nil {
		return usageError{err}
	}
	err = o.open(ctx, s, loaded, logger, telemetry)
	// What the last calls had to tell is sent even while the process is stopped.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastSpans)
	defer cancel()
	if failed := telemetry.Shutdown(last); failed != nil {
		logger.Warn("the last traces could not be sent", "error", failed)
	}
	return err
}

// lastSpans is how long the traces of the last calls may take to be sent.
const lastSpans = 3 * time.Second

// startTelemetry traces and counts as the configuration and the environment say.
func startTelemetry(ctx context.Context, s streams, c *config.Config, service string, logger *slog.Logger) (*observe.Telemetry, error) {
	return observe.Start(ctx, observe.TelemetryOptions{
		Service: service, Version: thisBuild().Version, Exporter: c.Tracing.Exporter, Endpoint: c.Tracing.Endpoint,
		Sample: 1 / float64(c.Tracing.OneIn), Lookup: s.lookup, Console: s.err, Logger: observe.Component(logger, "telemetry"),
	})
}

func (o *serveOptions) open(ctx context.Context, s streams, loaded *config.Config, logger *slog.Logger, telemetry *observe.Telemetry) error {
	opened, err := node.Open(ctx, node.Options{
		Config: loaded, Role: o.role, Name: o.name, Logger: logger, Telemetry: telemetry, Events: s.out, Color: bool(newPainter(s.out, s.environ)),
	})
	if err != nil && ctx.Err() != nil {
		return nil // stopped while it waited for its database
	}
	if wrong := (*config.Errors)(nil); errors.As(err, &wrong) {
		return usageError{err}
	}
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
