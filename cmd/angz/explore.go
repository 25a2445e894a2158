package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/angz-dev/angz/inspect"
	"github.com/angz-dev/angz/runtime/payload"
	"github.com/angz-dev/angz/runtime/transport"
)

// asking is a connection to a running system and what is known of its types.
type asking struct {
	*inspect.Client
	conn  *transport.Client
	types *payload.Remote
}

// ask connects to the system that the flags and the configuration name.
func (c *connection) ask(ctx context.Context, s streams) (*asking, error) {
	conn, err := c.dial(s)
	if err != nil {
		return nil, err
	}
	types := payload.FromReflection(ctx, conn)
	return &asking{inspect.New(conn, types), conn, types}, nil
}

func (a *asking) close() {
	a.types.Close()
	a.conn.Close()
}

func (a *asking) explain(err error) error { return explain(err, a.conn.Address()) }

// domainDocument is one domain.
type domainDocument struct {
	Domain     string `json:"domain" doc:"the name of the domain"`
	Aggregates uint64 `json:"aggregates" doc:"how many aggregates it has"`
	Events     uint64 `json:"events" doc:"how many events are stored of all of them"`
	Position   uint64 `json:"position" doc:"the place of its newest event in the log, from 1; 0 when there is none"`
	LastAt     string `json:"last_at,omitempty" doc:"when its newest event was stored, RFC 3339 in UTC; absent when there is none" format:"date-time"`
	Served     bool   `json:"served" doc:"whether this system has a service for the domain"`
}

func newDomainDocument(d inspect.Domain) domainDocument {
	return domainDocument{d.Name, d.Aggregates, d.Events, d.Position, timeText(d.LastAt), d.Served}
}

func newDomainsCommand(s streams) *cobra.Command {
	var (
		connection connection
		output     tableFormat
	)
	cmd := &cobra.Command{
		Use:   "domains",
		Short: "List the domains with their aggregates and events",
		Long: "List the domains that have events or a service, with how many aggregates and events they have\n" +
			"and when something last happened. SERVED says whether this system has a service for it.",
		Example: "  angz domains\n" +
			"  angz domains --output json | jq -r .domain",
		Args: between(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			system, err := connection.ask(cmd.Context(), s)
			if err != nil {
				return err
			}
			defer system.close()
			domains, _, err := system.Domains(cmd.Context())
			if err != nil {
				return system.explain(err)
			}
			if output != outputTable {
				return writeDocuments(s.out, output, domains, newDomainDocument)
			}
			rows := [][]string{{"DOMAIN", "AGGREGATES", "EVENTS", "LAST", "SERVED"}}
			for _, d := range domains {
				rows = append(rows, []string{printable(d.Name), fmt.Sprint(d.Aggregates), fmt.Sprint(d.Events), agoText(d.LastAt, time.Now()), yes(d.Served)})
			}
			return writeTable(s.out, newPainter(s.out, s.environ), widthOf(s.out, s.environ), rows)
		},
	}
	connection.register(cmd)
	output.register(cmd)
	return cmd
}

func yes(is bool) string {
	if is {
		return "yes"
	}
	return "no"
}

// summaryDocument is one aggregate.
type summaryDocument struct {
	Domain      string `json:"domain" doc:"the domain of the aggregate"`
	AggregateID string `json:"aggregate_id,omitempty" doc:"what people call the aggregate; absent where angz knows only its root"`
	Root        string `json:"root" doc:"the aggregate's root, a UUID"`
	Events      uint32 `json:"events" doc:"how many events it has"`
	Position    uint64 `json:"position" doc:"the place of its newest event in the log, from 1"`
	Type        string `json:"type" doc:"the full name of the message of its newest event"`
	LastAt      string `json:"last_at,omitempty" doc:"when its newest event was stored, RFC 3339 in UTC; absent when that has no time" format:"date-time"`
	Snapshot    bool   `json:"snapshot" doc:"whether a snapshot of its state is kept"`
}

func newSummaryDocument(a inspect.Summary) summaryDocument {
	return summaryDocument{a.Domain, a.ID, a.Root, a.Events, a.Position, a.Type, timeText(a.LastAt), a.Snapshot}
}

// orderNames are the values of --order, in the order of inspect.Order.
var orderNames = []string{"name", "root", "activity"}

// rootsOptions are the flags of "angz roots".
type rootsOptions struct {
	connection connection
	output     tableFormat
	order      string
	limit      int
}

func newRootsCommand(s streams) *cobra.Command {
	var o rootsOptions
	cmd := &cobra.Command{
		Use:   "roots [DOMAIN [PREFIX]]",
		Short: "List aggregates, by name or by what happened last",
		Long: "List the aggregates of a domain, those whose names begin with PREFIX if one is given; or, without a\n" +
			"DOMAIN, those of all domains to which something happened last. Nothing is read but what is listed.",
		Example: "  angz roots\n" +
			"  angz roots customer\n" +
			"  angz roots customer ali\n" +
			"  angz roots order --order activity --limit 20\n" +
			"  angz roots order --limit 0 --output json | jq -r .root",
		Args: between(0, "DOMAIN", "PREFIX"),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, s, args) },
	}
	o.connection.register(cmd)
	o.output.register(cmd)
	cmd.Flags().StringVar(&o.order, "order", "", "in which order: name, root, or activity with the newest first (default: name, without DOMAIN activity)")
	cmd.Flags().IntVar(&o.limit, "limit", 100, "list this many at most; 0 for all")
	_ = cmd.RegisterFlagCompletionFunc("order", cobra.FixedCompletions(orderNames, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (o *rootsOptions) request(args []string) (inspect.SummariesRequest, error) {
	args = append(args, "", "")
	request := inspect.SummariesRequest{Domain: args[0], Prefix: args[1]}
	name := o.order
	if name == "" {
		name = orderNames[inspect.ByName]
		if request.Domain == "" {
			name = orderNames[inspect.ByActivity]
		}
	}
	order := slices.Index(orderNames, name)
	request.Order = inspect.Order(order)
	switch {
	case order < 0:
		return request, usagef("--order: found %q, expected %s", name, strings.Join(orderNames, ", "))
	case request.Order == inspect.ByActivity && request.Prefix != "":
		return request, usagef("found PREFIX %q together with --order activity, expected one of the two", request.Prefix)
	case request.Order != inspect.ByActivity && request.Domain == "":
		return request, usagef("DOMAIN is missing; without one only --order activity is possible, see \"angz domains\"")
	case o.limit < 0:
		return request, usagef("--limit: found %d, expected a number of aggregates, or 0 for all", o.limit)
	}
	return request, nil
}

func (o *rootsOptions) run(cmd *cobra.Command, s streams, args []string) error {
	request, err := o.request(args)
	if err != nil {
		return err
	}
	system, err := o.connection.ask(cmd.Context(), s)
	if err != nil {
		return err
	}
	defer system.close()
	found, more, err := o.read(cmd.Context(), system, request, s)
	if err != nil {
		return system.explain(err)
	}
	if o.output == outputTable {
		if err := writeSummaries(s, found, request.Domain == ""); err != nil {
			return err
		}
	}
	switch {
	case len(found) == 0:
		fmt.Fprintln(s.err, "no aggregates")
	case more:
		fmt.Fprintf(s.err, "there may be more than %d: give more with --limit, or narrow it with DOMAIN and PREFIX\n", o.limit)
	}
	return nil
}

// read reads page by page. JSON and YAML are printed as they come; a table needs
// all rows at once.
func (o *rootsOptions) read(ctx context.Context, system *asking, request inspect.SummariesRequest, s streams) (found []inspect.Summary, more bool, err error) {
	for {
		request.Limit = 1000
		if o.limit > 0 {
			request.Limit = min(request.Limit, o.limit-len(found))
		}
		page, err := system.Summaries(ctx, request)
		if err != nil {
			return found, false, err
		}
		if o.output != outputTable {
			if err := writeDocuments(s.out, o.output, page.Aggregates, newSummaryDocument); err != nil {
				return found, false, err
			}
		}
		found = append(found, page.Aggregates...)
		if request.After = page.Next; page.Next == "" || o.limit > 0 && len(found) >= o.limit {
			return found, page.Next != "", nil
		}
	}
}

func writeSummaries(s streams, found []inspect.Summary, domains bool) error {
	if len(found) == 0 {
		return nil
	}
	heading := []string{"AGGREGATE", "EVENTS", "LAST", "NEWEST EVENT"}
	rows := [][]string{heading}
	for _, a := range found {
		name := printable(a.Name())
		if domains {
			name = printable(a.Domain) + " " + name
		}
		rows = append(rows, []string{name, fmt.Sprint(a.Events), agoText(a.LastAt, time.Now()), printable(a.ShortType())})
	}
	return writeTable(s.out, newPainter(s.out, s.environ), widthOf(s.out, s.environ), rows)
}
