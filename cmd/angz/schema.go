package main

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/angz-dev/angz/inspect/dump"
	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/schemas"
)

// printed is a kind of document and the verbs whose --output json prints it.
type printed struct {
	schemas.Document
	verbs []string // as they are typed after angz
	lines string   // what each line stands for; empty where one document is printed
}

// prints describes a kind of document by the struct that is printed.
func prints[D any](name, title, lines string, verbs ...string) printed {
	return printed{schemas.Document{Name: name, Title: title, Type: reflect.TypeFor[D]()}, verbs, lines}
}

// documents are all that --output json prints, and what export does without it. A verb that gets the flag needs an
// entry here, a description for every field of its struct, and a case in
// e2e/output_test.go.
var documents = []printed{
	prints[sentResult]("sent", "What became of a command.", "", "send"),
	prints[eventDocument]("event", "One stored event.", "event", "events", "tail"),
	prints[domainDocument]("domain", "One domain.", "domain", "domains"),
	prints[summaryDocument]("aggregate", "One aggregate at a glance.", "aggregate", "roots"),
	prints[traceDocument]("trace", "What one request led to, as a tree.", "", "trace"),
	prints[stateDocument]("state", "The state of an aggregate.", "", "state"),
	prints[diffDocument]("diff", "How the state of an aggregate changed from one event to another.", "", "diff"),
	prints[progressDocument]("progress", "How far a projector or saga has come.", "projector and saga",
		"projections", "projections list", "projections pause", "projections resume", "projections reset", "projections rebuild"),
	prints[topologyDocument]("topology", "What the system is made of.", "", "topology"),
	prints[letterDocument]("dead-letter", "One dead letter: what a projector or saga could not do with the events of one command.", "dead letter", "dlq list", "dlq skip"),
	prints[shownLetterDocument]("shown-dead-letter", "One dead letter with its events.", "", "dlq show"),
	prints[outcomeDocument]("retried", "One dead letter that is handled again and, with --wait, what became of it.", "dead letter", "dlq retry"),
	prints[contextDocument]("context", "One system that has a name.", "context", "context list"),
	prints[importedDocument]("imported", "What became of an import.", "", "import"),
	prints[statusDocument]("project", "A running project, its services and addresses.", "project", "ps"),
	prints[statusDocument]("project", "A running project, its services and addresses.", "", "dev"),
	prints[serviceDocument]("service", "One service that has been started again.", "service", "restart"),
	prints[stoppedDocument]("stopped", "One project that has been stopped.", "project", "stop"),
	prints[lineDocument]("log-line", "One line of the log.", "line of the log", "logs"),
	prints[filesDocument]("files", "What becomes of files that angz writes.", "", "new project", "new domain", "new projector", "new saga", "generate"),
	prints[migrationDocument]("migration", "What became of a database's tables, or would.", "", "migrate"),
	prints[protoReport]("proto-report", "What was found in .proto files.", "", "proto lint", "proto breaking"),
	prints[doctorDocument]("examination", "What was found on this machine and in this project.", "", "doctor"),
	prints[checkedDocument]("config-check", "What is wrong with the configuration.", "", "config check"),
	{schemas.Document{Name: "export-line", Title: "One line of an export: the header, what one command stored, a snapshot, or the end.", Forms: dump.Lines}, []string{"export"}, "command and snapshot, and two more"},
	{schemas.Document{Name: "config", Title: "The configuration of a system that angz runs."}, []string{"config show"}, ""},
	prints[schemaDocument]("schema", "Where the schema of a verb's documents is.", "verb", "schema"),
	prints[build]("version", "Which angz this is.", "", "version"),
}

// schema returns the schema as it is published. The configuration, which is
// described elsewhere, is the one document that is not a struct of this package.
func (p printed) schema() ([]byte, error) {
	if p.Type == nil && p.Forms == nil {
		return config.ShownSchema(p.ID())
	}
	return p.Schema()
}

// documentOf returns what a verb prints.
func documentOf(verb string) (printed, bool) {
	at := slices.IndexFunc(documents, func(p printed) bool { return slices.Contains(p.verbs, verb) })
	if at < 0 {
		return printed{}, false
	}
	return documents[at], true
}

// schemaDocument says where the schema of a verb's documents is.
type schemaDocument struct {
	Verb  string `json:"verb" doc:"the verb, as it is typed after angz"`
	Name  string `json:"name" doc:"the name of the document; verbs that print the same have the same"`
	ID    string `json:"id" doc:"the $id of the schema"`
	Lines string `json:"lines,omitempty" doc:"what each line of JSON stands for; absent where one document is printed"`
	Title string `json:"title" doc:"what the document is, in a sentence"`
}

// schemaDocuments lists all verbs with --output json.
func schemaDocuments() (list []schemaDocument) {
	for _, p := range documents {
		for _, verb := range p.verbs {
			list = append(list, schemaDocument{verb, p.Name, p.ID(), p.lines, p.Title})
		}
	}
	return list
}

func newSchemaCommand(s streams) *cobra.Command {
	var output tableFormat
	cmd := &cobra.Command{
		Use:   "schema [VERB...]",
		Short: "Print the JSON Schema of what a verb prints with --output json",
		Long: "Print the JSON Schema (draft 2020-12) of the document that a verb prints with --output json, or of\n" +
			"each line where it prints several; export prints JSON without that flag. Without a VERB, list the\n" +
			"verbs that have one. The schema is that of this angz: a later one may print more fields, and never\n" +
			"renames or removes one.",
		Example: "  angz schema\n" +
			"  angz schema events\n" +
			"  angz schema dlq list > dead-letter.schema.json\n" +
			"  angz schema trace | jq '.properties | keys'\n" +
			"  angz schema --output json | jq -r .verb",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return listSchemas(s, output)
			}
			if cmd.Flags().Changed("output") {
				return usagef("found both VERB and --output, expected one of the two: a schema is JSON")
			}
			return printSchema(s, strings.Join(args, " "))
		},
	}
	output.register(cmd)
	cmd.ValidArgsFunction = bounded(schemaVerbs)
	return cmd
}

func listSchemas(s streams, output tableFormat) error {
	if output != outputTable {
		return writeDocuments(s.out, output, schemaDocuments(), func(d schemaDocument) schemaDocument { return d })
	}
	rows := [][]string{{"VERB", "PRINTS", "DOCUMENT", "WHICH IS"}}
	for _, d := range schemaDocuments() {
		much := "one document"
		if d.Lines != "" {
			much = "a line for each " + d.Lines
		}
		rows = append(rows, []string{d.Verb, much, d.Name, d.Title})
	}
	return writeTable(s.out, newPainter(s.out, s.environ), widthOf(s.out, s.environ), rows)
}

func printSchema(s streams, verb string) error {
	p, known := documentOf(verb)
	if !known {
		return usagef("VERB: found %q, expected one of those that \"angz schema\" lists", verb)
	}
	text, err := p.schema()
	if err != nil {
		return err
	}
	return writeAll(s, string(text))
}

// schemaVerbs offers the next word of each verb that begins with those before.
func schemaVerbs(_ context.Context, _ *cobra.Command, args []string, _ string) (words []cobra.Completion) {
	for _, d := range schemaDocuments() {
		verb := strings.Fields(d.Verb)
		if len(verb) <= len(args) || !slices.Equal(verb[:len(args)], args) {
			continue
		}
		word := cobra.CompletionWithDesc(verb[len(args)], d.Title)
		if len(verb) > len(args)+1 {
			word = cobra.CompletionWithDesc(verb[len(args)], fmt.Sprintf("angz %s …", strings.Join(verb[:len(args)+1], " ")))
		}
		if !slices.Contains(words, word) {
			words = append(words, word)
		}
	}
	return words
}
