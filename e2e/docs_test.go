package e2e_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// outcome says what becomes of examples that do not simply run and end with exit
// code 0 beside a shop that runs.
type outcome struct {
	lines  string // which of them, a pattern for the whole line
	notRun string // why they cannot be run; their flags are checked all the same
	code   int    // the exit code, when it is not 0
	says   string // a pattern for what is seen
	runs   bool   // it runs until it is interrupted, which it is when it says that
	before string // what is typed before, in the same place
	where  place
}

// place is where an example is typed.
type place string

const (
	besideShop   place = "shop"       // in a shop that runs
	closedShop   place = "closed"     // in one that does not
	overShop     place = "top"        // at the top of the repository, where the shop does not run
	inQuickstart place = "quickstart" // in the quickstart, which does not run
	inNewProject place = "new"        // in an empty folder, or what angz new has made there before
)

// outcomes are the examples of which there is more to say. The first that fits
// counts.
var outcomes = []outcome{
	{lines: `angz dev examples/shop`, where: overShop, runs: true, says: `is ready after`},
	{lines: `angz dev reset examples/shop.*`, where: overShop},
	{lines: `angz dev reset`, where: closedShop, code: 2, says: `--yes`}, // it asks, and here is nobody
	{lines: `angz dev --detach.*logs -f`, where: closedShop, runs: true, says: `ready`},
	{lines: `angz dev --config other.yaml.*`, where: closedShop, before: "cp angz.yaml other.yaml", runs: true, says: `is ready after`},
	{lines: `angz dev --fresh --seed seed.yaml`, where: closedShop, runs: true, says: `is ready after`,
		before: `echo '{domain: inventory, id: prod-1, command: AddStock, payload: {quantity: 10}}' >seed.yaml`},
	{lines: `angz dev --from case.jsonl`, where: closedShop, runs: true, says: `is ready after`,
		before: "angz dev --detach --wait 120s 2>&1 && angz send inventory prod-1 AddStock '{\"quantity\": 1}' && angz export case.jsonl; angz stop"},
	{lines: `angz dev.*`, where: closedShop, runs: true, says: `is ready after`},
	{lines: `angz stop.*`, where: closedShop, before: "angz dev --detach --wait 120s"},
	{lines: `angz exec .*todo.*`, where: inQuickstart, says: `TaskAdded`},
	{lines: `angz exec .*`, where: closedShop},
	{lines: `.*\bangz serve .*`, notRun: "serves production, which e2e/production_test.go starts"},
	{lines: `angz logs .*-f`, runs: true, says: `order`},
	{lines: `angz send customer alice@example.com CreateCustomer.*`, code: 1, says: `already exists`},
	{lines: `angz send order order-1 CreateOrder --file.*`, code: 1, says: `exists`, before: `echo '{"customer_id": "x"}' >order.json`},
	{lines: `jq .*CreateOrder -`, code: 1, says: `exists`, before: `echo '{"command": {"customer_id": "x"}}' >request.json`},
	{lines: `angz events .*--follow`, runs: true, says: `OrderCreated`},
	{lines: `angz events --correlation.*`, says: ``},
	{lines: `angz dlq show .*\| jq.*`, says: `dead letter|not found|NOT_FOUND`}, // the exit code is jq's
	{lines: `angz dlq (show|retry|skip) .* (17|4711).*`, code: 1, says: `no .*dead letter|not found|NOT_FOUND`},
	{lines: `angz dlq (retry|skip) .*`, code: 1, says: `no dead letters that wait are selected`},
	{lines: `angz export --address.*`, notRun: "needs a system in production"},
	{lines: `angz import --merge.*`, before: "angz export monday.jsonl"},
	{lines: `angz import .*`, code: 1, says: `the log holds \d+ events already`},
	{lines: `gunzip .*`, code: 1, says: `the log holds \d+ events already`, before: "angz export - | gzip >backup.jsonl.gz"},
	{lines: `.*/etc/angz/.*`, notRun: "needs a configuration for production"},
	{lines: `angz migrate --new-epoch`, notRun: "needs PostgreSQL; cmd/angz/migrate_test.go runs it"},
	{lines: `angz config check --role.*`, notRun: "needs a configuration for production; testdata/script/config_check.txtar runs it"},
	{lines: `angz completion (fish|powershell).*`, notRun: "is for another shell; TestShellsComplete runs it in fish"},
	{lines: `angz doctor examples/shop`, where: overShop},
	{lines: `angz new project .*`, where: inNewProject, before: "rm -rf ./* .gitignore"},
	{lines: `angz new domain.*`, where: inNewProject, before: newProject},
	{lines: `angz new .*`, where: inNewProject, before: newProject + " && angz new domain order --lang go"},
	{lines: `angz proto breaking .*--address.*`, notRun: "needs a system in production"},
	{lines: `angz proto.*`, where: inNewProject, before: newProject + " && git init -q -b main && git add . && git -c user.name=a -c user.email=a@example.com commit -q --allow-empty -m first"},
	{lines: `angz context use prod`, before: "angz context add prod --address localhost:1", where: inNewProject},
	{lines: `angz context use --none`, before: "angz context add prod --address localhost:1 && angz context use prod", where: inNewProject},
	{lines: `angz context remove staging`, before: "angz context add staging --address localhost:1", where: inNewProject},
	{lines: `angz tui.*`, notRun: "is a program for a terminal; e2e/tui_test.go runs it"},
	{lines: `angz send .* --edit`, notRun: "opens an editor; testdata/script/dev/projections.txtar runs it"},
	{lines: `angz tail .*--once.*`},
	{lines: `angz tail.*`, runs: true},
	{lines: `angz trace .*`, says: `no events of correlation|"commands":0`},
	{lines: `angz test --watch`, where: inQuickstart, runs: true, says: `waiting until something is saved`},
	{lines: `angz test --tags.*`, where: inQuickstart, says: `scenarios`},
	{lines: `angz test.*`, where: inQuickstart},
	{lines: `angz generate.*`, where: inNewProject, before: newProject + " && angz generate"},
}

// newProject makes a project with the domain customer where one stands.
const newProject = "rm -rf ./* .gitignore && angz new project . --lang go"

// outcomeOf returns what becomes of an example.
func outcomeOf(line string) outcome {
	for _, o := range outcomes {
		if regexp.MustCompile("^(?:" + o.lines + ")$").MatchString(line) {
			return o
		}
	}
	return outcome{}
}

// helpExamples returns the examples of a command's help and those below it.
func helpExamples(t *testing.T, s *scenes, command string) (lines []string) {
	t.Helper()
	section := ""
	var below []string
	help, _ := s.typed("", command+" --help")
	for _, line := range strings.Split(help, "\n") {
		switch {
		case line != "" && !strings.HasPrefix(line, " "):
			section = line
		case strings.TrimSpace(line) == "":
		case section == "Examples:":
			lines = append(lines, strings.TrimSpace(line))
		case section == "Available Commands:":
			below = append(below, strings.Fields(line)[0])
		}
	}
	if len(lines) == 0 {
		t.Errorf("%s --help has no example", command)
	}
	for _, name := range below {
		lines = append(lines, helpExamples(t, s, command+" "+name)...)
	}
	return lines
}

// TestExamplesOfHelp types every example of every command's help as it is printed.
func TestExamplesOfHelp(t *testing.T) {
	t.Parallel()
	scenes := newScenes(t)
	lines := helpExamples(t, scenes, "angz")
	slices.SortStableFunc(lines, func(a, b string) int { // what stops the shop, too, comes last
		return strings.Count(a, "stop --all") - strings.Count(b, "stop --all")
	})
	used := map[string]bool{}
	for _, line := range lines {
		o := outcomeOf(line)
		used[o.lines] = true
		if o.notRun != "" {
			scenes.checkFlags(line)
			t.Logf("not run: %s: %s", line, o.notRun)
			continue
		}
		scenes.try(line, o)
	}
	for _, o := range outcomes {
		if !used[o.lines] {
			t.Errorf("no example fits %s any more: take it out of outcomes", o.lines)
		}
	}
}

// scenes are the places where examples are typed, on ports and with a home of
// their own.
type scenes struct {
	t       *testing.T
	environ []string
	mark    string
	top     map[place]string // the top of each copy of the repository
	ports   map[place]ports
}

// newScenes copies the examples, starts one of the shops and gives it something
// to show.
func newScenes(t *testing.T) *scenes {
	t.Helper()
	s := &scenes{t: t, mark: fmt.Sprintf("ANGZ_E2E_MARK=docs-%d", time.Now().UnixNano()), top: map[place]string{}}
	home, err := os.MkdirTemp("/tmp", "angz-home") // short, for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	goEnv, err := exec.Command("go", "env", "GOCACHE", "GOMODCACHE", "GOPATH").Output()
	if err != nil {
		t.Fatal(err)
	}
	caches := strings.Fields(string(goEnv))
	others := freePorts(t) // one of them runs at a time
	s.ports = map[place]ports{besideShop: freePorts(t), closedShop: others, overShop: others, inQuickstart: others, inNewProject: others}
	s.environ = append([]string{s.mark},
		"HOME="+home, "XDG_RUNTIME_DIR="+home, "XDG_STATE_HOME="+home, "TMPDIR="+home, "MANPATH="+home+"/.local/share/man", "PAGER=cat",
		"GOCACHE="+caches[0], "GOMODCACHE="+caches[1], "GOPATH="+caches[2])
	bin := filepath.Join(home, "bin")
	for _, program := range []string{"npm", "pytest"} { // a person's tests
		if err := errors.Join(os.MkdirAll(bin, 0o700), os.WriteFile(filepath.Join(bin, program), []byte("#!/bin/sh\n"), 0o700)); err != nil {
			t.Fatal(err)
		}
	}
	s.environ = append(s.environ, "PATH="+strings.Join([]string{filepath.Dir(binary), bin, os.Getenv("PATH")}, string(os.PathListSeparator)))
	open, closed := filepath.Dir(filepath.Dir(copyShop(t))), filepath.Dir(filepath.Dir(copyShop(t)))
	if err := copyTree("../examples/quickstart", filepath.Join(closed, "examples/quickstart")); err != nil {
		t.Fatal(err)
	}
	s.top[besideShop], s.top[closedShop], s.top[overShop], s.top[inQuickstart], s.top[inNewProject] = open, closed, closed, closed, closed
	if err := os.MkdirAll(s.folder(inNewProject), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.end)
	for _, line := range []string{
		"angz dev --detach --wait 120s", `angz send inventory prod-1 AddStock '{"quantity": 10}'`,
		`angz send customer alice@example.com CreateCustomer '{"name": "Alice", "email": "alice@example.com"}'`,
		`angz send order order-1 CreateOrder '{"customer_id": "alice@example.com"}'`,
		`angz send order order-1 AddItem '{"product_id": "prod-1", "quantity": 2, "price_cents": 1250}' --sync cascade`,
	} {
		if seen, code := s.typed(besideShop, line); code != 0 {
			t.Fatalf("%s: exit code %d\n%s", line, code, seen)
		}
	}
	return s
}

// end stops whatever still runs here.
func (s *scenes) end() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.t.Context()), time.Minute)
	defer cancel()
	stop := s.command(ctx, besideShop, "angz stop --all")
	if output, err := stop.CombinedOutput(); err != nil {
		s.t.Errorf("angz stop --all: %v\n%s", err, output)
	}
	(&dev{t: s.t, output: &buffer{}, mark: s.mark}).checkNothingLeft()
}

// folder returns where a person stands who types in a place.
func (s *scenes) folder(at place) string {
	switch at {
	case overShop:
		return s.top[at]
	case inQuickstart:
		return filepath.Join(s.top[at], "examples/quickstart")
	case inNewProject:
		return filepath.Join(s.top[at], "new/shop")
	case "":
		at = besideShop
	}
	return filepath.Join(s.top[at], "examples/shop")
}

// environment returns the variables of a person in a place.
func (s *scenes) environment(at place) []string {
	return slices.Concat(os.Environ(), s.environ, s.ports[cmp.Or(at, besideShop)].environ())
}

func (s *scenes) command(ctx context.Context, at place, line string) *exec.Cmd {
	command := exec.CommandContext(ctx, "bash", "-c", line)
	command.Dir, command.Env = s.folder(at), s.environment(at)
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.WaitDelay = 10 * time.Second
	return command
}

// typed runs a line and returns what is seen and the exit code.
func (s *scenes) typed(at place, line string) (seen string, code int) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 3*time.Minute)
	defer cancel()
	output, err := s.command(ctx, at, line).CombinedOutput()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return string(output), exit.ExitCode()
	case err != nil:
		s.t.Fatalf("%s: %v\n%s", line, err, output)
	}
	return string(output), 0
}

// try types a line and checks what becomes of it.
func (s *scenes) try(line string, o outcome) {
	s.t.Helper()
	if o.before != "" {
		if seen, code := s.typed(o.where, o.before); code != 0 {
			s.t.Errorf("%s\nbefore it, %s ends with exit code %d\n%s", line, o.before, code, seen)
		}
	}
	if o.runs {
		s.interrupted(line, o)
		return
	}
	seen, code := s.typed(o.where, line)
	if code != o.code || !regexp.MustCompile(o.says).MatchString(seen) {
		s.t.Errorf("%s\nended with exit code %d, expected %d and a match of %q, seen was\n%s", line, code, o.code, o.says, seen)
	}
}

// interrupted starts what runs until somebody interrupts it, and does so when it
// has said what it should.
func (s *scenes) interrupted(line string, o outcome) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 3*time.Minute)
	defer cancel()
	command, output := s.command(ctx, o.where, line), &buffer{}
	command.Stdout, command.Stderr = output, output
	if err := command.Start(); err != nil {
		s.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	for says := regexp.MustCompile(o.says); !says.MatchString(output.String()); {
		select {
		case err := <-ended:
			s.t.Errorf("%s\nended with %v before it said %q:\n%s", line, err, o.says, output)
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
	_ = syscall.Kill(-command.Process.Pid, syscall.SIGINT)
	err := <-ended
	if exit := new(exec.ExitError); errors.As(err, &exit) && exit.ExitCode() != 1 && exit.ExitCode() != 130 && exit.ExitCode() != -1 {
		s.t.Errorf("%s\nafter Ctrl-C ended with %v:\n%s", line, err, output)
	}
	if strings.Contains(line, "--detach") {
		s.try("angz stop", outcome{where: o.where})
	}
}

// checkFlags makes sure that a line that is not run has only flags that there are.
func (s *scenes) checkFlags(line string) {
	s.t.Helper()
	at := strings.Index(line, "angz ")
	if at < 0 {
		return
	}
	own := regexp.MustCompile(`\s*(\||>|&&).*`).ReplaceAllString(line[at:], "")
	if seen, code := s.typed("", own+" --help"); code != 0 {
		s.t.Errorf("%s\nwith --help ended with exit code %d:\n%s", line, code, seen)
	}
}

// block is one fenced block of a document.
type block struct {
	file     string
	line     int
	language string
	notRun   string // the reason, from the comment before it
	folder   string // where it is typed, seen from the top, from the comment before it
	writes   string // the file that it is, from the comment before it, in that folder
	lines    []string
}

// directive is a comment before a block. People do not see it.
var directive = regexp.MustCompile(`^<!-- (not run|run in|file): (.+) -->$`)

// blocksOf returns the fenced blocks of a document.
func blocksOf(t *testing.T, file string) (blocks []block) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before := ""
	var open *block
	for i, line := range strings.Split(string(text), "\n") {
		fence, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && open != nil:
			blocks, open = append(blocks, *open), nil
		case isFence:
			open = &block{file: file, line: i + 1, language: strings.TrimSpace(fence)}
			if comment := directive.FindStringSubmatch(before); comment != nil {
				switch comment[1] {
				case "not run":
					open.notRun = comment[2]
				case "run in":
					open.folder = comment[2]
				case "file":
					open.writes = comment[2]
				}
			}
		case open != nil:
			open.lines = append(open.lines, line)
		}
		if strings.TrimSpace(line) != "" {
			before = strings.TrimSpace(line)
		}
	}
	return blocks
}

// commands returns the lines to type: those that end in an open quote go on in
// the next. Comments go, but what they say about a refusal stays.
func (b block) commands() (commands []string) {
	open := ""
	for _, line := range b.lines {
		if open += line; strings.Count(open, "'")%2 != 0 {
			open += "\n"
			continue
		}
		if strings.TrimSpace(open) != "" && !strings.HasPrefix(open, "#") {
			commands = append(commands, open)
		}
		open = ""
	}
	return commands
}

// documents are those whose examples are run.
func documents(t *testing.T) (files []string) {
	t.Helper()
	for _, pattern := range []string{"../README.md", "../docs/*.md", "../examples/*/README.md", "../examples/*/*/README.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		files = append(files, found...)
	}
	return files
}

var (
	shellLanguages = []string{"sh", "bash", "console"}
	refusedComment = regexp.MustCompile(`#\s+(?:rejected|refused): (.+)$`)
	ownPorts       = regexp.MustCompile(`\b(1313|1314|1316|50051)\b`)
)

// TestExamplesOfDocuments types every shell block of the documents as it is
// printed, each document in a copy of the repository of its own.
func TestExamplesOfDocuments(t *testing.T) {
	t.Parallel()
	for _, file := range documents(t) {
		blocks := blocksOf(t, file)
		run := false
		for _, b := range blocks {
			switch {
			case b.language == "":
				t.Errorf("%s:%d: the block has no language: sh for what can be typed, text for what is only seen", b.file, b.line)
			case !slices.Contains(shellLanguages, b.language):
				if b.notRun != "" {
					t.Errorf("%s:%d: the comment is about nothing that could be run", b.file, b.line)
				}
			case b.notRun != "":
				t.Logf("not run: %s:%d: %s", b.file, b.line, b.notRun)
			default:
				run = true
			}
		}
		if run {
			t.Run(strings.TrimPrefix(file, "../"), func(t *testing.T) { t.Parallel(); newReader(t, blocks).read(blocks) })
		}
	}
}

// reader types what a document says: angz dev in one terminal, the rest in
// another, beginning at the top of the repository.
type reader struct {
	t       *testing.T
	folder  string // where the second terminal is
	environ []string
	dev     *dev // what runs in the first
}

func (r *reader) read(blocks []block) {
	r.t.Helper()
	top := r.folder
	for _, b := range blocks {
		if b.writes != "" {
			if err := os.WriteFile(filepath.Join(top, b.writes), []byte(strings.Join(b.lines, "\n")+"\n"), 0o600); err != nil {
				r.t.Fatal(err)
			}
		}
		if b.notRun != "" || !slices.Contains(shellLanguages, b.language) {
			continue
		}
		if b.folder != "" {
			r.folder = filepath.Join(top, b.folder)
		}
		for _, command := range b.commands() {
			if r.t.Failed() {
				return // the next ones would only fail because of this one
			}
			r.types(command, fmt.Sprintf("%s:%d", b.file, b.line))
		}
	}
}

// types types one command.
func (r *reader) types(command, where string) {
	r.t.Helper()
	plain := strings.TrimSpace(regexp.MustCompile(`\s+#.*$`).ReplaceAllString(command, ""))
	switch {
	case strings.HasPrefix(plain, "cd "):
		r.folder = filepath.Join(r.folder, strings.TrimPrefix(plain, "cd "))
	case strings.HasPrefix(plain, "angz dev") && !strings.Contains(plain, "--detach"):
		r.start(plain)
	default:
		if strings.Contains(plain, "--detach") {
			r.dev.stop() // as a person does, since a project runs once
			folder := r.folder
			r.t.Cleanup(func() {
				_ = shell{r.t, folder, r.environ}.command(context.WithoutCancel(r.t.Context()), "angz stop").Run()
			})
		}
		seen := shell{r.t, r.folder, r.environ}.run(command)
		refused := refusedComment.FindStringSubmatch(command)
		switch ended := strings.Contains(seen, "exit status"); {
		case refused == nil && ended:
			r.t.Errorf("%s: %s\n%s", where, command, seen)
		case refused != nil && (!ended || !strings.Contains(seen, refused[1])):
			r.t.Errorf("%s: %s\nexpected a refusal that says %q, seen was\n%s", where, command, refused[1], seen)
		}
	}
}

// start runs angz dev in the first terminal, instead of what ran there.
func (r *reader) start(line string) {
	r.t.Helper()
	r.dev.stop()
	d := &dev{t: r.t, output: &buffer{}, mark: fmt.Sprintf("ANGZ_E2E_MARK=docs-%d", time.Now().UnixNano()), done: make(chan struct{})}
	d.process = exec.Command("sh", "-c", "exec "+line)
	d.process.Dir, d.process.Env = r.folder, append(slices.Clone(r.environ), d.mark)
	d.process.Stdout, d.process.Stderr = d.output, d.output
	if err := d.process.Start(); err != nil {
		r.t.Fatal(err)
	}
	go func() {
		d.err = d.process.Wait()
		close(d.done)
	}()
	r.t.Cleanup(d.stop)
	r.dev = d
	for deadline := time.Now().Add(2 * time.Minute); !strings.Contains(d.output.String(), "is ready after"); {
		select {
		case <-d.done:
			r.t.Fatalf("%s ended with %v:\n%s", line, d.err, d.output)
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("%s does not become ready:\n%s", line, d.output)
		}
	}
}

// newReader copies the repository as far as documents use it. A document that
// names the usual ports gets those, for which it waits until nobody else has them.
func newReader(t *testing.T, blocks []block) *reader {
	t.Helper()
	top := filepath.Dir(filepath.Dir(copyShop(t)))
	if err := copyTree("../examples/quickstart", filepath.Join(top, "examples/quickstart")); err != nil {
		t.Fatal(err)
	}
	at := freePorts(t)
	if slices.ContainsFunc(blocks, func(b block) bool {
		return b.notRun == "" && slices.ContainsFunc(b.lines, ownPorts.MatchString) && slices.Contains(shellLanguages, b.language)
	}) {
		lockSeedPorts(t)
		at = seedPorts
		if _, err := grpcurl(); err != nil {
			t.Fatal(err)
		}
	}
	r := &reader{t: t, folder: top, dev: &dev{done: make(chan struct{})}}
	close(r.dev.done) // nothing runs yet
	r.environ = newShell(t, top, at.environ()...).environ
	return r
}
