package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"unicode"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/angz-dev/angz/inspect"
	"github.com/angz-dev/angz/runtime/payload"
	"github.com/angz-dev/angz/tui"
)

// tuiOptions are the flags of "angz tui".
type tuiOptions struct {
	connection connection
	readOnly   bool
	mouse      bool
	noHistory  bool
	keys       []string
}

func newTUICommand(s streams) *cobra.Command {
	var o tuiOptions
	cmd := &cobra.Command{
		Use:   "tui",
		Short: "Browse events, states and traces in the terminal, and send commands",
		Long: "Show a running system in the terminal: domains and aggregates, their events as they are stored, the\n" +
			"state after each one, what a request led to, how far projectors and sagas are, and dead letters.\n" +
			"? shows the keys of each screen.",
		Example: "  angz tui\n" +
			"  angz tui --address https://gateway.example.com:443 --read-only\n" +
			"  angz tui --bind quit=ctrl+q --bind down=j,down",
		Args: between(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), s) },
	}
	o.connection.register(cmd)
	cmd.Flags().BoolVar(&o.readOnly, "read-only", false, "refuse whatever would change the system")
	cmd.Flags().BoolVar(&o.mouse, "mouse", false, "choose and scroll with the mouse, which does not select text then (M turns it on and off)")
	cmd.Flags().BoolVar(&o.noHistory, "no-history", false, "keep no commands that are sent for the next time, and offer none; so does "+historyVariable+"=off")
	cmd.Flags().StringArrayVar(&o.keys, "bind", nil, "other keys for an action, as ACTION=KEY[,KEY]; actions: "+strings.Join(tui.Actions(), ", "))
	return cmd
}

func (o *tuiOptions) run(ctx context.Context, s streams) error {
	keys, err := keysOf(o.keys)
	if err != nil {
		return err
	}
	out, ok := s.out.(*os.File)
	if !ok || !isatty.IsTerminal(out.Fd()) {
		return usagef("angz tui needs a terminal; every view has a command that prints the same: angz domains, roots, events, tail, state, diff, trace, topology, projections, dlq")
	}
	flags := o.connection.given() // before a context is resolved to what it stands for
	system, err := o.connection.ask(ctx, s)
	if err != nil {
		return err
	}
	defer system.close()
	err = tui.Run(ctx, tui.Options{
		System: system, Forms: &forms{system: system, s: s}, Name: system.conn.Address(), ReadOnly: o.readOnly, Mouse: o.mouse, Keys: keys, Explain: system.explain,
		By: variable(s.environ, "USER"), Flags: flags, History: o.history(s, system.conn.Address()),
		Input: s.in, Output: s.out, Environ: s.environ,
	})
	if err != nil && strings.HasPrefix(err.Error(), "keys: ") {
		return usagef("--bind: %s", strings.TrimPrefix(err.Error(), "keys: "))
	}
	return err
}

// historyVariable switches the history of commands off.
const historyVariable = "ANGZ_TUI_HISTORY"

// history returns the file in which the commands that are sent to a system are kept:
// one for each address or, for what runs on this machine, for each project. It is
// empty when they are not to be kept, or there is no place for them.
func (o *tuiOptions) history(s streams, answers string) string {
	if variable(s.environ, historyVariable) == "off" || o.noHistory || o.readOnly {
		return ""
	}
	folder := variable(s.environ, "XDG_STATE_HOME")
	if !filepath.IsAbs(folder) {
		home := variable(s.environ, "HOME")
		if folder = filepath.Join(home, ".local", "state"); !filepath.IsAbs(home) {
			return ""
		}
	}
	system := o.connection.address
	if loaded, err := around(s); err == nil && system == "" {
		system = loaded.Dir
	}
	system = cmp.Or(system, answers)
	name := strings.Map(func(r rune) rune {
		if r == '.' || r == '-' || unicode.IsLetter(r) || unicode.IsDigit(r) {
			return r
		}
		return '_'
	}, filepath.Base(system))
	sum := sha256.Sum256([]byte(system))
	return filepath.Join(folder, "angz", "tui", fmt.Sprintf("%.40s-%x.jsonl", name, sum[:6]))
}

// given returns the flags that somebody set, as they are written in a command line.
func (c *connection) given() (flags []string) {
	for _, flag := range [][2]string{{"--address", c.address}, {"--context", c.context}, {"--ca", c.ca}, {"--cert", c.cert}, {"--key", c.key}} {
		if flag[1] != "" {
			flags = append(flags, flag[0], flag[1])
		}
	}
	return flags
}

func keysOf(words []string) (map[string][]string, error) {
	keys := map[string][]string{}
	for _, word := range words {
		name, list, found := strings.Cut(word, "=")
		if !found || list == "" {
			return nil, usagef("--bind: found %q, expected ACTION=KEY such as quit=ctrl+q", word)
		}
		keys[name] = strings.Split(list, ",")
	}
	return keys, nil
}

// forms knows commands by the project's .proto files and, where there are none, by
// what the system says of the types of its events.
type forms struct {
	system *asking
	s      streams

	once   sync.Once
	schema *payload.Schema // of the project; nil without one
}

func (f *forms) load(ctx context.Context) {
	loaded, err := around(f.s)
	if err != nil || f.system.conn == nil {
		return
	}
	var folders []string
	for _, folder := range loaded.Protos {
		if !filepath.IsAbs(folder) {
			folder = filepath.Join(loaded.Dir, folder)
		}
		folders = append(folders, folder)
	}
	if len(folders) > 0 {
		f.schema, _ = payload.Load(ctx, folders, nil) // without it the system is asked
	}
}

// Commands is part of tui.Forms.
func (f *forms) Commands(ctx context.Context, domain string) (names []string) {
	f.once.Do(func() { f.load(ctx) })
	found := inspect.Commands(f.schema.Files(), domain)
	if len(found) == 0 {
		found = inspect.Commands(f.ofEvents(ctx, domain), domain)
	}
	for _, message := range found {
		names = append(names, string(message.FullName()))
	}
	return names
}

// ofEvents returns the file in which the newest event of a domain is described.
func (f *forms) ofEvents(ctx context.Context, domain string) []protoreflect.FileDescriptor {
	page, err := f.system.Summaries(ctx, inspect.SummariesRequest{Domain: domain, Order: inspect.ByActivity, Limit: 1})
	if err != nil || len(page.Aggregates) == 0 {
		return nil
	}
	message, known := f.system.types.Message(page.Aggregates[0].Type)
	if !known {
		return nil
	}
	return []protoreflect.FileDescriptor{message.ParentFile()}
}

// Fields is part of tui.Forms.
func (f *forms) Fields(ctx context.Context, typeName string) ([]inspect.Field, error) {
	message, err := f.described(ctx, typeName)
	if err != nil {
		return nil, err
	}
	return inspect.Fields(message), nil
}

// described returns what is known of a type by its full name.
func (f *forms) described(ctx context.Context, typeName string) (protoreflect.MessageDescriptor, error) {
	f.once.Do(func() { f.load(ctx) })
	message, known := f.schema.Message(typeName)
	if !known {
		message, known = f.system.types.Message(typeName)
	}
	if !known {
		return nil, fmt.Errorf("the type %s is not known; its fields cannot be asked for", typeName)
	}
	return message, nil
}

// message returns what is known of a command, which may be named in short.
func (f *forms) message(ctx context.Context, domain, typeName string) (protoreflect.MessageDescriptor, error) {
	typeName = typeName[strings.LastIndexByte(typeName, '/')+1:]
	for _, name := range f.Commands(ctx, domain) {
		if name == typeName || strings.HasSuffix(name, "."+typeName) {
			return f.described(ctx, name)
		}
	}
	return f.described(ctx, typeName)
}
