package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
)

// contextVariable names the context to use when no flag does.
const contextVariable = "ANGZ_CONTEXT"

// remembered is one system that commands can be sent to by a name. Secrets are not
// kept: a token stays in a file of its own.
type remembered struct {
	Address string `yaml:"address" json:"address" doc:"where the system answers: host:port, a URL or the path of a socket"`
	CA      string `yaml:"ca,omitempty" json:"ca,omitempty" doc:"the file of the authorities that vouch for it, absolute; absent where there is none"`
	Cert    string `yaml:"cert,omitempty" json:"cert,omitempty" doc:"the file of the certificate that shows who you are, absolute; absent where there is none"`
	Key     string `yaml:"key,omitempty" json:"key,omitempty" doc:"the file of the certificate's key, absolute; absent where there is none"`
	Token   string `yaml:"token_file,omitempty" json:"token_file,omitempty" doc:"the file that holds the bearer token, absolute; absent where there is none"`
}

// contexts are all systems that a person has named.
type contexts struct {
	file    string
	Current string                `yaml:"current,omitempty"`
	Systems map[string]remembered `yaml:"contexts"`
}

// readContexts reads the person's file, which need not be there.
func readContexts(s streams) (*contexts, error) {
	c := &contexts{Systems: map[string]remembered{}}
	folder, _ := s.lookup("XDG_CONFIG_HOME")
	if !filepath.IsAbs(folder) {
		home, _ := s.lookup("HOME")
		if folder = filepath.Join(home, ".config"); home == "" {
			return c, nil // nobody's
		}
	}
	c.file = filepath.Join(folder, "angz", "contexts.yaml")
	text, err := os.ReadFile(c.file)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the contexts: %w", err)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(c); err != nil {
		plain := regexp.MustCompile(` in type \S+`).ReplaceAllString(err.Error(), "")
		return nil, usagef("%s: %s\nmend it, or remove it to begin anew", c.file, plain)
	}
	if c.Systems == nil {
		c.Systems = map[string]remembered{}
	}
	return c, nil
}

// write replaces the file, all or nothing.
func (c *contexts) write() (err error) {
	if c.file == "" {
		return usagef("there is no place for contexts: set HOME or XDG_CONFIG_HOME")
	}
	text, err := yaml.Marshal(c)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(c.file), 0o700)
	}
	if err != nil {
		return fmt.Errorf("write the contexts: %w", err)
	}
	made, err := os.CreateTemp(filepath.Dir(c.file), "contexts-")
	if err != nil {
		return fmt.Errorf("write the contexts: %w", err)
	}
	defer func() { _ = os.Remove(made.Name()) }() // gone already when all went well
	_, err = made.Write(text)
	if err = errors.Join(err, made.Sync(), made.Close()); err == nil {
		err = os.Rename(made.Name(), c.file)
	}
	if err != nil {
		return fmt.Errorf("write the contexts: %w", err)
	}
	return nil
}

// find returns the system that a name stands for.
func (c *contexts) find(name, where string) (remembered, error) {
	if system, known := c.Systems[name]; known {
		return system, nil
	}
	names := strings.Join(slices.Sorted(maps.Keys(c.Systems)), ", ")
	if names == "" {
		return remembered{}, usagef("%s: there is no context %q, nor any other; see \"angz context add --help\"", where, name)
	}
	return remembered{}, usagef("%s: found %q, expected one of %s", where, name, names)
}

// resolve fills in the system that is meant by --context, by the variable, or by
// "angz context use", unless there is an address. It says which one unless it was
// said in the same line.
func (c *connection) resolve(s streams) error {
	if c.address != "" {
		if c.context != "" {
			return usagef("found both --address and --context, expected one of the two")
		}
		return nil
	}
	known, err := readContexts(s)
	if err != nil {
		return err
	}
	name, where := c.context, "--context"
	if name == "" {
		name, _ = s.lookup(contextVariable)
		where = contextVariable
	}
	if name == "" {
		name, where = known.Current, known.file
	}
	if name == "" {
		return nil
	}
	system, err := known.find(name, where)
	if err != nil {
		return err
	}
	if where != "--context" {
		fmt.Fprintf(s.err, "context %s: %s\n", printable(name), printable(system.Address))
	}
	c.address = system.Address
	c.ca, c.cert, c.key = firstOf(c.ca, system.CA), firstOf(c.cert, system.Cert), firstOf(c.key, system.Key)
	if system.Token != "" {
		text, err := os.ReadFile(system.Token)
		if err != nil {
			return usagef("context %s: its token: %w", name, err)
		}
		c.token = strings.TrimSpace(string(text))
	}
	return nil
}

func firstOf(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}

func newContextCommand(s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "context",
		Short: "Give systems names, and choose the one that commands go to",
		Long: "Remember where systems answer and how they are reached. A context is chosen by --context, by the\n" +
			"variable " + contextVariable + ", or for everything that follows by \"angz context use\". Without one, commands\n" +
			"go to the project's running angz dev. Tokens are not kept: name a file that has one, or set " + tokenVariable + ".",
		Example: "  angz context add prod --address https://gateway.example.com:443 --token-file ~/.secrets/angz\n" +
			"  angz context list\n" +
			"  angz context use prod",
		SuggestionsMinimumDistance: 2,
	}
	add, use, remove := newAddContextCommand(s), newUseContextCommand(s), newRemoveContextCommand(s)
	add.ValidArgsFunction = cobra.NoFileCompletions
	use.ValidArgsFunction, remove.ValidArgsFunction = bounded(completer{s}.contexts), bounded(completer{s}.contexts)
	cmd.AddCommand(add, newListContextsCommand(s), use, remove)
	return cmd
}

var contextName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

func newAddContextCommand(s streams) *cobra.Command {
	var system remembered
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Remember a system",
		Long:  "Remember where a system answers, under a name. One that has the name already is replaced.",
		Example: "  angz context add prod --address https://gateway.example.com:443 --ca ca.pem\n" +
			"  angz context add staging --address staging.internal:1316",
		Args: between(1, "NAME"),
		RunE: func(_ *cobra.Command, args []string) error {
			if !contextName.MatchString(args[0]) {
				return usagef("NAME: found %q, expected letters, digits, dots, dashes and underscores", args[0])
			}
			if system.Address == "" {
				return usagef("--address is missing: say where the system answers")
			}
			for _, file := range []*string{&system.CA, &system.Cert, &system.Key, &system.Token} {
				if *file == "" {
					continue
				}
				place, err := filepath.Abs(*file)
				if err != nil {
					return err
				}
				*file = place
			}
			known, err := readContexts(s)
			if err != nil {
				return err
			}
			known.Systems[args[0]] = system
			return known.write()
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&system.Address, "address", "", "where it answers: host:port, http://, https:// or a socket path")
	flags.StringVar(&system.CA, "ca", "", "the file of the authorities that vouch for it")
	flags.StringVar(&system.Cert, "cert", "", "the file of the certificate that shows who you are")
	flags.StringVar(&system.Key, "key", "", "the file of the certificate's key")
	flags.StringVar(&system.Token, "token-file", "", "the file that has the bearer token that shows who you are")
	return cmd
}

// contextDocument is one context.
type contextDocument struct {
	Name    string `json:"name" doc:"what the system is called here"`
	Current bool   `json:"current" doc:"whether commands go to it by default"`
	remembered
}

func newListContextsCommand(s streams) *cobra.Command {
	var output tableFormat
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the systems that have names",
		Example: "  angz context list",
		Args:    between(0),
		RunE: func(*cobra.Command, []string) error {
			known, err := readContexts(s)
			if err != nil {
				return err
			}
			names := slices.Sorted(maps.Keys(known.Systems))
			if output != outputTable {
				return writeDocuments(s.out, output, names, func(name string) contextDocument {
					return contextDocument{name, name == known.Current, known.Systems[name]}
				})
			}
			if len(names) == 0 {
				fmt.Fprintln(s.err, "no contexts; see \"angz context add --help\"")
				return nil
			}
			rows := [][]string{{"NAME", "USED", "ADDRESS"}}
			for _, name := range names {
				used := ""
				if name == known.Current {
					used = "yes"
				}
				rows = append(rows, []string{name, used, printable(known.Systems[name].Address)})
			}
			return writeTable(s.out, newPainter(s.out, s.environ), widthOf(s.out, s.environ), rows)
		},
	}
	output.register(cmd)
	return cmd
}

func newUseContextCommand(s streams) *cobra.Command {
	var none bool
	cmd := &cobra.Command{
		Use:   "use [NAME]",
		Short: "Have commands go to a system from now on",
		Long:  "Have commands go to a system from now on, wherever they are typed; or, with --none, to the project's own again.",
		Example: "  angz context use prod\n" +
			"  angz context use --none",
		Args: between(0, "NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if none == (len(args) > 0) {
				return usagef("expected either a NAME or --none\nusage: %s", cmd.UseLine())
			}
			known, err := readContexts(s)
			if err != nil {
				return err
			}
			known.Current = ""
			if !none {
				if _, err := known.find(args[0], "NAME"); err != nil {
					return err
				}
				known.Current = args[0]
			}
			return known.write()
		},
	}
	cmd.Flags().BoolVar(&none, "none", false, "no context any more")
	return cmd
}

func newRemoveContextCommand(s streams) *cobra.Command {
	return &cobra.Command{
		Use:     "remove NAME",
		Short:   "Forget a system",
		Example: "  angz context remove staging",
		Args:    between(1, "NAME"),
		RunE: func(_ *cobra.Command, args []string) error {
			known, err := readContexts(s)
			if err != nil {
				return err
			}
			if _, err := known.find(args[0], "NAME"); err != nil {
				return err
			}
			delete(known.Systems, args[0])
			if known.Current == args[0] {
				known.Current = ""
			}
			return known.write()
		},
	}
}
