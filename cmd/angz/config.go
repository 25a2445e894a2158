package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/node"
)

// newConfigCommand holds the commands that look at a configuration and start
// nothing.
func newConfigCommand(s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check and show the configuration",
		Example: "  angz config check --role gateway\n" +
			"  angz config show --origin\n" +
			"  angz config schema > angz.schema.json",
		SuggestionsMinimumDistance: 2,
	}
	cmd.AddCommand(newConfigCheckCommand(s), newConfigShowCommand(s), newConfigSchemaCommand(s))
	return cmd
}

// asDev is the word of --role for angz dev, which is no role of angz serve.
const asDev = "dev"

// configured are the flags that say which configuration is meant, and for what.
type configured struct {
	file, role, name string
	dir              string // where the file is looked for; empty is the working folder
}

func (c *configured) register(cmd *cobra.Command) {
	roles := append(config.Roles(), asDev)
	cmd.Flags().StringVar(&c.file, "config", "", "the configuration file (default: angz.yaml in the working folder or above)")
	cmd.Flags().StringVar(&c.role, "role", "", "what it is for: "+strings.Join(config.Roles(), ", ")+" as angz serve has them, or dev for angz dev")
	cmd.Flags().StringVar(&c.name, "name", "", "the domain, projector or saga of that role, where there are several")
	_ = cmd.RegisterFlagCompletionFunc("role", cobra.FixedCompletions(roles, cobra.ShellCompDirectiveNoFileComp))
}

// load reads the configuration as the role would.
func (c *configured) load(s streams) (*config.Config, error) {
	if c.name != "" && (c.role == "" || c.role == asDev) {
		return nil, usagef("--name: found %q without a role that has one: add --role aggregate, projector or saga", c.name)
	}
	options := config.Options{File: c.file, Dir: c.dir, Environ: s.environ, NoStore: c.role == ""}
	switch c.role {
	case "":
	case asDev:
		options.Dev = true
	default:
		if !slices.Contains(config.Roles(), c.role) {
			return nil, usagef("--role: found %q, expected %s or %s", c.role, strings.Join(config.Roles(), ", "), asDev)
		}
		options.Role, options.Name = c.role, c.name
	}
	loaded, err := config.Load(options)
	if err == nil && c.role != "" {
		err = loaded.CheckDrivers(node.Stores, node.Buses)
	}
	if err != nil {
		return nil, usageError{err}
	}
	return loaded, nil
}

// purpose says what the configuration was looked at for.
func (c *configured) purpose() string {
	switch {
	case c.role == "":
		return ""
	case c.role == asDev:
		return " for angz dev"
	case c.name == "":
		return " for angz serve " + c.role
	}
	return " for angz serve " + c.role + " " + c.name
}

// checkedDocument is what "angz config check" found.
type checkedDocument struct {
	File     string            `json:"file,omitempty" doc:"the configuration file, as it was found; absent where there is none, and where it cannot be used"`
	Right    bool              `json:"right" doc:"whether nothing is wrong; with anything wrong the exit code is 2"`
	Mistakes []mistakeDocument `json:"mistakes" doc:"everything that is wrong, those of the file first, in its order"`
	Warnings []string          `json:"warnings" doc:"what is doubtful, in sentences"`
}

type mistakeDocument struct {
	File    string `json:"file,omitempty" doc:"the file that it is in; absent where it is in none"`
	Line    int    `json:"line,omitempty" doc:"the line in the file, from 1; absent where the whole file is meant"`
	Column  int    `json:"column,omitempty" doc:"the column in the line, from 1, in characters; absent where the whole file is meant"`
	Origin  string `json:"origin,omitempty" doc:"where the value came from that is not in the file, such as a variable; absent for one that is"`
	Message string `json:"message" doc:"what was found, what was expected, and what to do"`
}

// checkForPrograms prints what is wrong as a document. The exit code is that of
// wrong configuration all the same.
func (c *configured) checkForPrograms(s streams, output outputFormat) error {
	document := checkedDocument{Mistakes: []mistakeDocument{}, Warnings: []string{}}
	loaded, err := c.load(s)
	wrong := (*config.Errors)(nil)
	switch {
	case err == nil:
		document.File, document.Right = loaded.File, true
		document.Warnings = append(document.Warnings, loaded.Warnings()...)
	case errors.As(err, &wrong):
		for _, mistake := range wrong.List {
			document.Mistakes = append(document.Mistakes, mistakeDocument{mistake.File, mistake.Line, mistake.Column, mistake.Origin, mistake.Message})
		}
	default:
		return err
	}
	if err := output.write(s.out, document); err != nil || document.Right {
		return err
	}
	return exitCode(exitUsage)
}

func newConfigCheckCommand(s streams) *cobra.Command {
	var c configured
	var output outputFormat
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Say everything that is wrong with the configuration",
		Long: "Say everything that is wrong with the configuration: the file, the variables and, with\n" +
			"--role, whether that role finds in them all that it needs. Nothing is started or\n" +
			"connected to. Doubts are written on standard error. The exit code is 0 when nothing is\n" +
			"wrong, else 2.",
		Example: "  angz config check\n" +
			"  angz config check --config /etc/angz/angz.yaml --role gateway\n" +
			"  angz config check --role projector --name receipt\n" +
			"  angz config check --output json | jq -r '.mistakes[].message'",
		Args: between(0),
		RunE: func(*cobra.Command, []string) error {
			if output.forPrograms() {
				return c.checkForPrograms(s, output)
			}
			loaded, err := c.load(s)
			if err != nil {
				return err
			}
			for _, warning := range loaded.Warnings() {
				fmt.Fprintln(s.err, "warning:", printable(warning))
			}
			what := loaded.File
			if what == "" {
				what = "the configuration, which has no file,"
			}
			_, err = fmt.Fprintf(s.out, "%s is right%s\n", printable(what), c.purpose())
			return err
		},
	}
	c.register(cmd)
	output.register(cmd)
	return cmd
}

// shownFormat is the value of --output of "angz config show".
type shownFormat string

const (
	shownYAML shownFormat = "yaml"
	shownJSON shownFormat = "json"
)

// Set implements pflag.Value.
func (f *shownFormat) Set(text string) error {
	if text != string(shownYAML) && text != string(shownJSON) {
		return fmt.Errorf("found %q, expected yaml or json", text)
	}
	*f = shownFormat(text)
	return nil
}

// String implements pflag.Value.
func (f *shownFormat) String() string { return string(*f) }

// Type implements pflag.Value.
func (f *shownFormat) Type() string { return "format" }

func newConfigShowCommand(s streams) *cobra.Command {
	var c configured
	var origin bool
	output := shownYAML
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show every key with the value that counts",
		Long: "Show every key with the value that counts, after the defaults, the file and the\n" +
			"variables. Secrets are hidden. With --origin, where each value came from stands beside it.",
		Example: "  angz config show --origin\n" +
			"  angz config show --role dev\n" +
			"  angz config show --output json",
		Args: between(0),
		RunE: func(*cobra.Command, []string) error {
			loaded, err := c.load(s)
			if err != nil {
				return err
			}
			if output == shownJSON {
				return loaded.WriteJSON(s.out, origin)
			}
			return loaded.WriteYAML(s.out, origin)
		},
	}
	c.register(cmd)
	cmd.Flags().BoolVar(&origin, "origin", false, "say where each value came from")
	cmd.Flags().VarP(&output, "output", "o", "how to print: yaml, or json for other programs")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"yaml", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func newConfigSchemaCommand(s streams) *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of the file, for editors",
		Long: "Print the JSON Schema (draft 2020-12) of the configuration file. Editors complete and\n" +
			"check the file by it when its first line is\n\n" +
			"  # yaml-language-server: $schema=angz.schema.json",
		Example: "  angz config schema > angz.schema.json",
		Args:    between(0),
		RunE: func(*cobra.Command, []string) error {
			schema, err := config.JSONSchema()
			if err != nil {
				return err
			}
			_, err = s.out.Write(schema)
			return err
		},
	}
}
