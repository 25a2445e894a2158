package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/angz-dev/angz/inspect"
)

// topologyDocument is what a system is made of.
type topologyDocument struct {
	Store      string              `json:"store" doc:"what events are kept in, such as sqlite"`
	Bus        string              `json:"bus" doc:"what carries events to projectors and sagas, such as channel"`
	Components []componentDocument `json:"components" doc:"the services, by kind and name"`
}

type componentDocument struct {
	Kind        string   `json:"kind" doc:"what it is" enum:"domain|projector|saga"`
	Name        string   `json:"name" doc:"the name of the service"`
	Address     string   `json:"address,omitempty" doc:"where angz reaches it; absent where that is not known"`
	From        []string `json:"from,omitempty" doc:"the domains whose events it is given; absent for a domain"`
	To          []string `json:"to,omitempty" doc:"the domains that a saga was seen to send commands to, of the newest 10,000 events; absent where there are none"`
	Synchronous bool     `json:"synchronous,omitempty" doc:"true when every command waits for it; absent when not"`
}

func newTopologyDocument(t inspect.Topology) topologyDocument {
	document := topologyDocument{Store: t.Store, Bus: t.Bus, Components: []componentDocument{}}
	for _, c := range t.Components {
		document.Components = append(document.Components, componentDocument{c.Kind, c.Name, c.Address, c.From, c.To, c.Synchronous})
	}
	return document
}

// topologyFormats are the values of --output of "angz topology".
var topologyFormats = []string{"text", "json", "yaml", "dot", "mermaid"}

func newTopologyCommand(s streams) *cobra.Command {
	var (
		connection connection
		output     string
	)
	cmd := &cobra.Command{
		Use:   "topology",
		Short: "Show what the system is made of and what flows between its parts",
		Long: "Show the domains, projectors and sagas of a system: whose events each is given, and to which domains\n" +
			"sagas send commands, as far as the newest 10,000 events of the log show.",
		Example: "  angz topology\n" +
			"  angz topology --output dot > topology.dot\n" +
			"  angz topology --output mermaid",
		Args: between(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !slices.Contains(topologyFormats, output) {
				return usagef("--output: found %q, expected %s", output, strings.Join(topologyFormats, ", "))
			}
			system, err := connection.ask(cmd.Context(), s)
			if err != nil {
				return err
			}
			defer system.close()
			topology, err := system.Topology(cmd.Context())
			if err != nil {
				return system.explain(err)
			}
			return writeTopology(s, topology, output)
		},
	}
	connection.register(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "text", "how to print: "+strings.Join(topologyFormats, ", ")+"; dot is for Graphviz")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(topologyFormats, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func writeTopology(s streams, topology inspect.Topology, output string) error {
	switch output {
	case "json":
		return writeJSON(s.out, newTopologyDocument(topology))
	case "yaml":
		return writeYAML(s.out, newTopologyDocument(topology))
	case "dot":
		return writeAll(s, dotOf(topology))
	case "mermaid":
		return writeAll(s, mermaidOf(topology))
	}
	rows := [][]string{{"KIND", "NAME", "EVENTS OF", "COMMANDS TO", "ADDRESS"}}
	for _, c := range topology.Components {
		rows = append(rows, []string{c.Kind, printable(c.Name), dashed(c.From), dashed(c.To), dashed([]string{c.Address})})
	}
	if err := writeTable(s.out, newPainter(s.out, s.environ), widthOf(s.out, s.environ), rows); err != nil {
		return err
	}
	fmt.Fprintf(s.err, "events are kept in %s and carried by %s\n", printable(topology.Store), printable(topology.Bus))
	return nil
}

func writeAll(s streams, text string) error {
	_, err := s.out.Write([]byte(text))
	return err
}

// dashed joins words, or is a dash when there are none.
func dashed(words []string) string {
	if joined := strings.Join(words, ", "); joined != "" {
		return printable(joined)
	}
	return "-"
}

// flow is one arrow of the picture.
type flow struct{ from, to, label string }

// flowsOf returns the arrows between components, which are named KIND/NAME.
func flowsOf(topology inspect.Topology) []flow {
	var flows []flow
	for _, c := range topology.Components {
		for _, domain := range c.From {
			flows = append(flows, flow{"domain/" + domain, c.Kind + "/" + c.Name, "events"})
		}
		for _, domain := range c.To {
			flows = append(flows, flow{c.Kind + "/" + c.Name, "domain/" + domain, "commands"})
		}
	}
	return flows
}

func dotOf(topology inspect.Topology) string {
	shapes := map[string]string{"domain": "box", "projector": "cylinder", "saga": "ellipse"}
	var text bytes.Buffer
	text.WriteString("digraph angz {\n  rankdir=LR;\n")
	for _, c := range topology.Components {
		fmt.Fprintf(&text, "  %s [label=%s, shape=%s];\n", quoted(c.Kind+"/"+c.Name), quoted(c.Name), shapes[c.Kind])
	}
	for _, f := range flowsOf(topology) {
		fmt.Fprintf(&text, "  %s -> %s [label=%s];\n", quoted(f.from), quoted(f.to), quoted(f.label))
	}
	text.WriteString("}\n")
	return text.String()
}

// quoted writes a text as Graphviz wants it.
func quoted(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(printable(text)) + `"`
}

func mermaidOf(topology inspect.Topology) string {
	forms := map[string][2]string{"domain": {"[", "]"}, "projector": {"[(", ")]"}, "saga": {"([", "])"}}
	var text bytes.Buffer
	text.WriteString("flowchart LR\n")
	names := map[string]string{}
	for i, c := range topology.Components {
		name := fmt.Sprintf("c%d", i)
		names[c.Kind+"/"+c.Name] = name
		form := forms[c.Kind]
		fmt.Fprintf(&text, "  %s%s\"%s\"%s\n", name, form[0], strings.ReplaceAll(printable(c.Name), `"`, "#quot;"), form[1])
	}
	for _, f := range flowsOf(topology) {
		from, known := names[f.from]
		if to := names[f.to]; known && to != "" {
			fmt.Fprintf(&text, "  %s -- %s --> %s\n", from, f.label, to)
		}
	}
	return text.String()
}
