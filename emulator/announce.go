package emulator

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/node"
)

// announcement is what people are told when everything is up.
type announcement struct {
	plan      *plan
	statuses  []entry
	endpoints []node.Endpoint
	took      time.Duration
}

// announce prints where everything is.
func announce(ctx context.Context, out io.Writer, a announcement) {
	var page bytes.Buffer
	fmt.Fprintf(&page, "\n%s\n\n", a.headline())
	table := tabwriter.NewWriter(&page, 0, 0, 3, ' ', 0)
	a.services(table)
	a.doors(table)
	_ = table.Flush() // a buffer takes everything
	fmt.Fprintf(&page, "store: %s\n", store(a.plan.config))
	fmt.Fprintf(&page, "%s\n\n", a.next(ctx))
	// Whoever closed standard output does not want to know.
	_, _ = out.Write(page.Bytes())
}

func (a announcement) headline() string {
	name := filepath.Base(a.plan.config.Dir)
	var missing []string
	for _, status := range a.statuses {
		if !status.State.Serves() {
			missing = append(missing, status.Name)
		}
	}
	if len(missing) > 0 {
		return fmt.Sprintf("angz dev: %s is up without %s, see the log", name, strings.Join(missing, ", "))
	}
	return fmt.Sprintf("angz dev: %s is ready after %s", name, a.took.Round(time.Millisecond))
}

func (a announcement) services(out io.Writer) {
	if len(a.statuses) == 0 {
		return
	}
	fmt.Fprintf(out, "SERVICE\tKIND\tLANGUAGE\tSTATE\tADDRESS\n")
	for i, status := range a.statuses {
		service := a.plan.services[i]
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\n", service.config.Name, kindNames[service.kind], cmp.Or(service.language, "-"), status.State, service.config.Address)
	}
	fmt.Fprintln(out)
}

// purposes says what each door is for, in the order in which they are listed.
var purposes = []struct{ role, purpose string }{
	{"gateway", "everything, and commands with what follows from them"},
	{"aggregate", "commands"},
	{"query", "event queries"},
	{"stream", "events as they happen"},
	{"log", "prints events"},
}

func (a announcement) doors(out io.Writer) {
	fmt.Fprintf(out, "FOR CLIENTS\tADDRESS\t\n")
	for _, door := range purposes {
		for _, endpoint := range a.endpoints {
			if endpoint.Role == door.role {
				fmt.Fprintf(out, "%s\t%s\t%s\n", door.role, reachable(endpoint.Address), door.purpose)
			}
		}
	}
	fmt.Fprintln(out)
}

// store says where the events are kept.
func store(c *config.Config) string {
	path := c.Storage.SQLite.Path
	switch {
	case c.Storage.Type == "memory", c.Storage.Type == "sqlite" && (path == "" || path == ":memory:"):
		return "in memory, gone when angz stops"
	case c.Storage.Type != "sqlite":
		return c.Storage.Type
	case !filepath.IsAbs(path):
		path = filepath.Join(c.Dir, path)
	}
	return "sqlite, " + path
}

// next says what to do now.
func (a announcement) next(ctx context.Context) string {
	if len(a.statuses) == 0 {
		return "there are no services yet: add a domain to " + cmp.Or(a.plan.config.File, filepath.Join(a.plan.config.Dir, "angz.yaml"))
	}
	var address string
	if at := a.plan.doors.client("gateway"); !strings.HasSuffix(at, ":1316") {
		address = " --address " + at
	}
	line, ok := sampleCommand(ctx, a.plan.config)
	if !ok {
		line = "angz send DOMAIN ID COMMAND JSON"
		if i := slices.IndexFunc(a.plan.services, plannedService.isDomain); i >= 0 {
			line = "angz send " + a.plan.services[i].config.Name + " ID COMMAND JSON"
		}
	}
	return "next:  " + line + address
}
