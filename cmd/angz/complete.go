package main

import (
	"context"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/angz-dev/angz/inspect"
	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/transport"
)

// completionTime is how long a shell waits for names from a running system. One
// that does not answer costs a person one tab.
const completionTime = 500 * time.Millisecond

// mostCompletions bounds how many names are offered: nobody reads more.
const mostCompletions = 200

// completer finds the names that a shell offers.
type completer struct{ s streams }

// finder finds names that begin with a prefix; args are the words before it. A tab
// after each name begins what is said about it.
type finder func(ctx context.Context, cmd *cobra.Command, args []string, prefix string) []cobra.Completion

// completeAll gives every command below cmd that has no completions of its own
// those for the words of its usage line, and so for its flags.
func (c completer) completeAll(cmd *cobra.Command) {
	if cmd.ValidArgsFunction == nil && len(cmd.ValidArgs) == 0 {
		cmd.ValidArgsFunction = c.arguments
	}
	cmd.Flags().VisitAll(func(flag *pflag.Flag) {
		if _, has := cmd.GetFlagCompletionFunc(flag.Name); has {
			return
		}
		switch find, known := c.byFlag()[flag.Name]; {
		case known:
			_ = cmd.RegisterFlagCompletionFunc(flag.Name, bounded(find))
		case flag.Value.Type() != "string" && flag.Value.Type() != "stringArray" && flag.Value.Type() != "stringSlice" && flag.Value.Type() != "bool":
			_ = cmd.RegisterFlagCompletionFunc(flag.Name, cobra.NoFileCompletions) // numbers, durations
		}
	})
	for _, child := range cmd.Commands() {
		c.completeAll(child)
	}
}

// byFlag are the flags whose values are names, by what they are called.
func (c completer) byFlag() map[string]finder {
	return map[string]finder{"context": c.contexts, "domain": c.domains, "aggregate": c.aggregateOfFlag, "name": c.components}
}

// byWord are the words of usage lines that stand for names.
func (c completer) byWord() map[string]finder {
	return map[string]finder{"DOMAIN": c.domains, "ID": c.ids, "TYPE": c.types, "COMPONENT": c.fullComponents, "NAME": c.components, "COMMAND": c.commands}
}

// contexts offers the names of systems.
func (c completer) contexts(_ context.Context, _ *cobra.Command, _ []string, prefix string) (names []cobra.Completion) {
	known, err := readContexts(c.s)
	if err != nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(known.Systems)) {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name+"\t"+known.Systems[name].Address)
		}
	}
	return names
}

// arguments completes the next word by what the usage line calls it.
func (c completer) arguments(cmd *cobra.Command, args []string, prefix string) ([]cobra.Completion, cobra.ShellCompDirective) {
	word := placeholder(cmd.Use, len(args))
	if find, known := c.byWord()[word]; known {
		return bounded(find)(cmd, args, prefix)
	}
	switch word {
	case "DIR":
		return nil, cobra.ShellCompDirectiveFilterDirs
	case "FILE", "-": // a program and its arguments, too
		return nil, cobra.ShellCompDirectiveDefault
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// placeholder returns what a usage line calls an argument, in capitals without
// brackets; empty when there is none. The last one of them may be repeated.
func placeholder(use string, number int) string {
	var words []string
	for _, word := range strings.Fields(use)[1:] {
		repeated := strings.Contains(word, "...")
		word = strings.Trim(strings.ReplaceAll(word, "...", ""), "[]")
		if word == "" || word == "|" {
			continue
		}
		words = append(words, word)
		if repeated && number >= len(words) {
			return word
		}
	}
	if number < len(words) {
		return words[number]
	}
	return ""
}

// bounded returns a completion that takes no longer than a person waits. What
// hangs is left behind: the process ends with the answer.
func bounded(find finder) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, prefix string) ([]cobra.Completion, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
		defer cancel()
		found := make(chan []cobra.Completion, 1)
		go func() { found <- find(ctx, cmd, args, prefix) }()
		select {
		case names := <-found:
			return slices.DeleteFunc(names, func(name cobra.Completion) bool { return !strings.HasPrefix(name, prefix) }), cobra.ShellCompDirectiveNoFileComp
		case <-ctx.Done():
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
	}
}

// configured loads the configuration that the command line names, nil when it
// cannot be used.
func (c completer) configured(cmd *cobra.Command) *config.Config {
	options := config.Options{Environ: c.s.environ, NoStore: true}
	if flag := cmd.Flags().Lookup("config"); flag != nil {
		options.File = flag.Value.String()
	}
	if flag := cmd.Flags().Lookup("project"); flag != nil {
		options.Dir = flag.Value.String()
	}
	loaded, err := config.Load(options)
	if err != nil {
		return nil
	}
	return loaded
}

// domains offers those of the project and, where there is none or another system
// is named, those in which the running system has events.
func (c completer) domains(ctx context.Context, cmd *cobra.Command, _ []string, prefix string) []cobra.Completion {
	elsewhere := cmd.Flags().Lookup("address") != nil && cmd.Flags().Changed("address")
	if loaded := c.configured(cmd); loaded != nil && len(loaded.Domains) > 0 && !elsewhere {
		return names(loaded.Domains)
	}
	var found []cobra.Completion
	for aggregate := range c.aggregates(ctx, cmd) {
		if strings.HasPrefix(aggregate.Domain, prefix) && !slices.Contains(found, aggregate.Domain) {
			found = append(found, aggregate.Domain)
		}
	}
	return found
}

func names(services []config.Service) (names []cobra.Completion) {
	for _, service := range services {
		names = append(names, service.Name)
	}
	return names
}

// ids offers the aggregates of the domain that was typed before.
func (c completer) ids(ctx context.Context, cmd *cobra.Command, args []string, prefix string) []cobra.Completion {
	if len(args) == 0 {
		return nil
	}
	return c.aggregatesOf(ctx, cmd, args[len(args)-1], prefix)
}

func (c completer) aggregateOfFlag(ctx context.Context, cmd *cobra.Command, _ []string, prefix string) []cobra.Completion {
	flag := cmd.Flags().Lookup("domain")
	if flag == nil {
		return nil
	}
	return c.aggregatesOf(ctx, cmd, flag.Value.String(), prefix)
}

func (c completer) aggregatesOf(ctx context.Context, cmd *cobra.Command, domain, prefix string) (found []cobra.Completion) {
	for aggregate := range c.aggregates(ctx, cmd) {
		name := aggregate.Name()
		if aggregate.Domain != domain || !strings.HasPrefix(name, prefix) || printable(name) != name {
			continue
		}
		if found = append(found, name); len(found) == mostCompletions {
			break
		}
	}
	return found
}

// aggregates lists those of the running system, as many as there is time for.
func (c completer) aggregates(ctx context.Context, cmd *cobra.Command) func(func(inspect.Aggregate) bool) {
	return func(yield func(inspect.Aggregate) bool) {
		conn, err := c.dial(cmd)
		if err != nil {
			return
		}
		defer conn.Close()
		for aggregate, err := range inspect.New(conn, nil).Aggregates(ctx) {
			if err != nil || !yield(aggregate) {
				return
			}
		}
	}
}

// dial connects to the system that the command line names.
func (c completer) dial(cmd *cobra.Command) (*transport.Client, error) {
	text := func(name string) string {
		if flag := cmd.Flags().Lookup(name); flag != nil {
			return flag.Value.String()
		}
		return ""
	}
	return (&connection{address: text("address"), context: text("context"), ca: text("ca"), cert: text("cert"), key: text("key")}).dial(c.s)
}

// components offers the services that a role of angz serve may be asked for, or
// all of them.
func (c completer) components(_ context.Context, cmd *cobra.Command, _ []string, _ string) []cobra.Completion {
	loaded := c.configured(cmd)
	if loaded == nil {
		return nil
	}
	role := cmd.Name()
	if flag := cmd.Flags().Lookup("role"); flag != nil {
		role = flag.Value.String()
	}
	switch role {
	case "aggregate":
		return names(loaded.Domains)
	case "projector":
		return names(loaded.Projectors)
	case "saga":
		return names(loaded.Sagas)
	}
	return nil
}

// fullComponents offers projectors and sagas by their full names, and what else may
// have dead letters where these are meant.
func (c completer) fullComponents(ctx context.Context, cmd *cobra.Command, args []string, prefix string) []cobra.Completion {
	found := c.projectors(ctx, cmd, args, prefix)
	loaded := c.configured(cmd)
	if loaded == nil {
		return nil
	}
	for _, service := range loaded.Sagas {
		found = append(found, "saga/"+service.Name)
		if !strings.Contains(cmd.CommandPath(), " projections") {
			found = append(found, "saga/"+service.Name+"/compensation")
		}
	}
	return found
}

// projectors offers projectors by their full names.
func (c completer) projectors(_ context.Context, cmd *cobra.Command, _ []string, _ string) (found []cobra.Completion) {
	if loaded := c.configured(cmd); loaded != nil {
		for _, service := range loaded.Projectors {
			found = append(found, "projector/"+service.Name)
		}
	}
	return found
}

// commands offers the words of commands, for "angz help".
func (c completer) commands(_ context.Context, cmd *cobra.Command, args []string, _ string) (found []cobra.Completion) {
	if cmd.Name() != "help" {
		return nil // a program of the person's
	}
	about, rest, err := cmd.Root().Find(args)
	if err != nil || len(rest) > 0 {
		return nil
	}
	for _, child := range about.Commands() {
		if child.IsAvailableCommand() {
			found = append(found, cobra.CompletionWithDesc(child.Name(), child.Short))
		}
	}
	return found
}

var topLevelMessage = regexp.MustCompile(`(?m)^message\s+(\w+)`)

// mostProtoBytes bounds what is read of one .proto file.
const mostProtoBytes = 1 << 20

// types offers the messages of the project's .proto files. Which of them are
// commands only the services know.
func (c completer) types(ctx context.Context, cmd *cobra.Command, _ []string, prefix string) []cobra.Completion {
	loaded := c.configured(cmd)
	if loaded == nil {
		return nil
	}
	found := map[string]bool{}
	for _, folder := range loaded.Protos {
		if !filepath.IsAbs(folder) {
			folder = filepath.Join(loaded.Dir, folder)
		}
		_ = filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || ctx.Err() != nil {
				return fs.SkipAll
			}
			if info, err := entry.Info(); err != nil || filepath.Ext(path) != ".proto" || info.Size() > mostProtoBytes {
				return nil
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return nil
			}
			for _, match := range topLevelMessage.FindAllSubmatch(text, -1) {
				if name := string(match[1]); strings.HasPrefix(name, prefix) {
					found[name] = true
				}
			}
			return nil
		})
	}
	var sorted []cobra.Completion
	for name := range found {
		sorted = append(sorted, name)
	}
	slices.Sort(sorted)
	return sorted
}
