package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// printedCase is a line that is typed and prints JSON.
type printedCase struct {
	verb      string // whose schema holds
	before    string // what is typed before, in the same place
	line      string
	where     place
	code      int
	documents int    // how many are printed, or some
	holds     string // a pattern for what is printed
	says      string // a pattern for what is said on standard error
	meanwhile string // typed when the first document is there; the line is interrupted when all are
}

// some is any number of documents.
const some = -1

// printedCases are typed one after the other: each finds what those before it did.
var printedCases = []printedCase{
	// What a shop prints that has something to show.
	{verb: "send", line: `angz send order order-1 CompleteOrder --sync cascade --output json`, documents: 1, holds: `"type":"examples.Receipt","result":\{`},
	{verb: "events", line: `angz events order order-1 --output json`, documents: 3, holds: `"payload":\{"customerId":"alice@example.com"\}`},
	{verb: "tail", line: `angz tail --last 4 --once --output json`, documents: 4},
	{verb: "domains", line: `angz domains --output json`, documents: 3, holds: `"served":true`},
	{verb: "roots", line: `angz roots --output json`, documents: 3},
	{verb: "roots", line: `angz roots order --limit 1 --output json`, documents: 1, holds: `"aggregate_id":"order-1"`},
	{verb: "trace", line: `angz trace $(angz events order order-1 --from 2 --output json | jq -r .correlation_id) --output json`, documents: 1, holds: `"cause":\{"by":"loyalty"`},
	{verb: "state", line: `angz state order order-1 --output json`, documents: 1, holds: `"completed":true`},
	{verb: "diff", line: `angz diff order order-1 0 --output json`, documents: 1, holds: `"path":"completed","before":false,"after":true`},
	{verb: "projections", line: `angz projections --output json`, documents: 3, holds: `"component":"projector/receipt"`},
	{verb: "projections list", line: `angz projections list receipt --output json`, documents: 1, holds: `"state":"running"`},
	{verb: "projections pause", line: `angz projections pause receipt --note why --output json`, documents: 1, holds: `"state":"paused".*"note":"pause by .*: why"`},
	{verb: "projections resume", line: `angz projections resume receipt --output json`, documents: 1, holds: `"note":"resume by`},
	{verb: "projections reset", line: `angz projections reset receipt --after 1 --yes --output json`, documents: 1, holds: `"rewinds":1`},
	{verb: "projections rebuild", line: `angz projections rebuild receipt --yes --output json`, documents: 1, holds: `"lag":0.*"rewinds":2`},
	{verb: "projections rebuild", line: `angz projections rebuild loyalty --yes --output json`, code: 1, says: `^refused: saga loyalty cannot get events again`},
	{verb: "projections rebuild", before: hideLines, line: `angz projections rebuild receipt --yes --output json`, code: 1, says: `^error: the events of projector/receipt do not come again: .*no such table`},
	{verb: "projections", line: `angz projections receipt --output json`, documents: 1, holds: `"failed":"`},
	{verb: "projections rebuild", before: showLines, line: `angz projections rebuild receipt --yes --output json`, documents: 1, holds: `"rewinds":4`},
	{verb: "topology", line: `angz topology --output json`, documents: 1, holds: `"to":\["customer"\]`},
	{verb: "logs", line: `angz logs angz --tail 1 --output json`, documents: 1, holds: `"raw":`},
	{verb: "ps", line: `angz ps --output json`, documents: 1, holds: `"ready":true`},
	{verb: "ps", line: `angz ps --all --output json`, documents: 1},
	{verb: "restart", line: `angz restart order --timeout 2m --output json`, documents: 1, holds: `"starts":2`},
	{verb: "doctor", line: `angz doctor --output json`, documents: 1, holds: `"problems":0`},
	{verb: "proto lint", line: `angz proto lint --output json`, documents: 1, holds: `"findings": \[\]`},
	{verb: "proto breaking", line: `angz proto breaking --against store --output json`, documents: 1, holds: `"reads": true`},
	{verb: "config show", line: `angz config show --output json`, documents: 1},
	{verb: "config show", line: `angz config show --role dev --origin --output json`, documents: 1, holds: `"origins": \{`},
	{verb: "config check", line: `angz config check --output json`, documents: 1, holds: `"file":"angz.yaml","right":true,"mistakes":\[\]`},
	{verb: "migrate", line: `angz migrate --dry-run --output json`, documents: 1, holds: `"needed":false`},
	{verb: "export", line: `angz export --no-snapshots -`, documents: some, holds: `"causation":"loyalty `, says: `exported`},
	{verb: "version", line: `angz version --output json`, documents: 1},
	{verb: "schema", line: `angz schema --output json`, documents: some},

	// There is nothing.
	{verb: "events", line: `angz events order nothing --output json`, says: `^no events of order nothing yet\n$`},
	{verb: "events", line: `angz events --correlation nothing --output json`, says: `^no events of correlation nothing\n$`},
	{verb: "tail", line: `angz tail --domain nothing --once --output json`},
	{verb: "roots", line: `angz roots nothing --output json`, says: `^no aggregates\n$`},
	{verb: "trace", line: `angz trace nothing --output json`, documents: 1, holds: `"commands":0,.*"steps":\[\]`},
	{verb: "state", line: `angz state order nothing --output json`, says: `^no events of order nothing yet\n$`},
	{verb: "diff", line: `angz diff order nothing 0 --output json`, says: `^no events of order nothing yet\n$`},
	{verb: "diff", line: `angz diff order order-1 2 2 --output json`, documents: 1, holds: `"changes":\[\]`},
	{verb: "dlq list", line: `angz dlq list --output json`},
	{verb: "logs", line: `angz logs order --level error --output json`},
	{verb: "send", line: `angz send inventory prod-1 AddStock '{"quantity": 1}' --idempotency-key once --output json`, documents: 1, holds: `"projections":\[\]`},
	{verb: "context list", line: `angz context list --output json`, where: inNewProject},
	{verb: "ps", line: `angz ps --all --output json`, where: inNewProject, documents: 1},
	{verb: "stop", line: `angz stop --output json`, where: closedShop, says: `^nothing to stop: no project runs\n$`},
	{verb: "ps", line: `angz ps --output json`, where: closedShop, code: 1, says: `^error: `},

	// Somebody says no, or nobody is there: standard output stays empty.
	{verb: "send", line: `angz send order order-1 CreateOrder '{"customer_id": "x"}' --output json`, code: 1, says: `^refused: Order already exists`},
	{verb: "send", line: `angz send order order-1 NoSuchCommand --output json`, code: 1, says: `^(error|refused): `},
	{verb: "send", line: `angz send order order-1 CreateOrder '{"no": "such field"}' --output json`, code: 1, says: `^(error|refused): `},
	{verb: "events", line: `angz events order order-1 --address localhost:1 --output json`, code: 1, says: `^error: `},
	{verb: "domains", line: `angz domains --no-such-flag --output json`, code: 2, says: `^error: unknown flag`},
	{verb: "dlq show", line: `angz dlq show projector/receipt 17 --output json`, code: 1, says: `^refused: `},
	{verb: "config check", line: `angz config check --config no-such.yaml --output json`, code: 2, documents: 1, holds: `"right":false`},
	{verb: "config check", before: `echo 'gateway: {prt: 1}' >wrong.yaml`, line: `GRPC_PORT=many angz config check --config wrong.yaml --output json`, code: 2, documents: 1,
		holds: `"line":1,"column":11,.*"origin":`},
	{verb: "config show", line: `angz config show --config no-such.yaml --output json`, code: 2, says: `^error: `},

	// Lines that are printed as things happen.
	{verb: "tail", line: `angz tail --last 1 --output json`, documents: 3, meanwhile: twoEvents("order-2")},
	{verb: "events", line: `angz events order order-2 --follow --output json`, documents: 4, meanwhile: twoEvents("order-2 --idempotency-key again")},
	{verb: "logs", line: `angz logs order -f --tail 1 --output json`, documents: 2, meanwhile: `angz restart order --timeout 2m`},

	// Types that nobody knows, and dead letters.
	{verb: "import", before: writePoison, line: `angz import --merge poison.jsonl --output json`, documents: 1, holds: `"books":3,"events":3,"snapshots":2`},
	{verb: "import", line: `angz import --merge poison.jsonl --output json`, documents: 1, holds: `"skipped":3`},
	{verb: "import", line: `angz import poison.jsonl --output json`, code: 1, says: `^.*\nrefused: the log holds`},
	{verb: "import", before: `sed s/AQID/AQIE/ poison.jsonl >conflict.jsonl`, line: `angz import --merge --dry-run conflict.jsonl --output json`, code: 1, documents: 1, holds: `"problems":\[\{`, says: `refused: 1 mistake`},
	{verb: "export", line: `angz export --domain strange --raw -`, documents: 4, holds: `"payload_base64":"AQID"`, says: `exported`},
	{verb: "events", line: `angz events strange ` + strangeRoot + ` --output json`, documents: 1, holds: `"payload":\{"@type":"type.googleapis.com/nobody.Knows","@value":"AQID"\}`},
	{verb: "tail", line: `angz tail --domain strange --once --output json`, documents: 1, holds: `"@value":"AQID"`},
	{verb: "state", line: `angz state strange ` + strangeRoot + ` --output json`, documents: 1, holds: `"snapshot":true,"state":\{"@type"`},
	{verb: "roots", line: `angz roots strange --output json`, documents: 1, holds: `"snapshot":true`},
	{verb: "domains", line: `angz domains --output json`, documents: 4, holds: `"served":false`},
	{verb: "dlq list", before: await(`[ $(angz dlq list --output json | wc -l) -eq 6 ]`), line: `angz dlq list --output json`, documents: 6, holds: `"attempts":0,"reason":"waits behind`},
	{verb: "dlq show", line: `angz dlq show $(` + firstLetter + `) --output json`, documents: 1, holds: `"events":\[\{.*"@value":"/////w=="`},
	{verb: "dlq retry", line: `angz dlq retry $(` + firstLetter + `) --wait --timeout 2m --output json`, code: 1, documents: 1, holds: `"outcome":"failed","failed_at":\{`, says: `^error: 1 of 1 failed again`},
	{verb: "dlq retry", line: `angz dlq retry projector/receipt --all --output json`, documents: 1, holds: `"state":"retry"`},
	{verb: "dlq skip", before: await(`[ $(angz dlq list projector/receipt --state parked --output json | wc -l) -eq 2 ]`), line: `angz dlq skip projector/receipt --all --note poison --output json`, documents: 2, holds: `"state":"skipped"`},
	{verb: "dlq show", line: `angz dlq show projector/receipt $(angz dlq list receipt --state skipped --output json | head -n 1 | jq .position) --output json`, documents: 1, holds: `"note":"skip`},
	{verb: "dlq list", line: `angz dlq list --all --output json`, documents: 6, holds: `"note":"skip`},
	{verb: "send", line: addOne + ` --wait --timeout 2m --output json`, documents: 1, holds: `"settled":true,"effects":\[\{.*"cause":\{"by":"reservation"`},
	{verb: "send", before: `angz projections pause receipt`, line: addOne + ` --wait --timeout 2m --output json`, code: 1, documents: 1, holds: `"settled":false,.*"behind":\["projector/receipt"\]`, says: `paused`},
	{verb: "send", before: `angz projections resume receipt && ` + await(`angz projections receipt --output json | jq -e '.lag == 0'`) + ` && ` + hideLines,
		line: addOne + ` --wait --timeout 2m --output json`, code: 1, documents: 1, holds: `"dead_letters":\["projector/receipt `},
	{verb: "dlq retry", before: showLines, line: `angz dlq retry projector/receipt --all --wait --timeout 2m --output json`, documents: 1, holds: `"outcome":"handled"`},
	{verb: "export", before: `angz send order order-5 CreateOrder '{"customer_id": "alice@example.com"}' && ` +
		`angz send order order-5 AddItem '{"product_id": "none", "quantity": 1, "price_cents": 1}' --sync cascade`,
		line: `angz export -`, documents: some, holds: `"refused":\[\{"saga":"reservation"`},

	// A system with names, services that do not come up, and .proto files with mistakes.
	{verb: "context list", before: `touch ca cert key token && angz context add prod --address localhost:1 --ca ca --cert cert --key key --token-file token && angz context use prod`,
		line: `angz context list --output json`, where: inNewProject, documents: 1, holds: `"name":"prod","current":true,"address":"localhost:1"`},
	{verb: "dev", before: `angz context use --none && ` + writeTrouble, line: `angz dev --detach --output json`, where: inNewProject, documents: 1, holds: `"detached":true`},
	{verb: "ps", before: await(`angz ps --output json | grep '"problem"'`),
		line: `angz ps --output json`, where: inNewProject, documents: 1, holds: `"elsewhere":true`},
	{verb: "topology", line: `angz topology --output json`, where: inNewProject, documents: 1, holds: `"synchronous":true`},
	{verb: "stop", line: `angz stop --output json`, where: inNewProject, documents: 1, holds: `"stopped":true`},
	{verb: "doctor", line: `angz doctor --output json`, where: inNewProject, code: 1, documents: 1, holds: `"state":"problem".*"fix":.*"look":`},
	{verb: "import", before: `rm -f all.jsonl && (cd $OPEN && angz export -) >all.jsonl`, line: `angz import all.jsonl --output json`, where: closedShop, documents: 1, holds: `"skipped":0`},
	{verb: "proto breaking", before: `sed -i 's/string customer_id = 1/int32 customer_id = 1/' proto/examples/order.proto`,
		line: `angz proto breaking --against store --output json`, where: closedShop, code: 1, documents: 1, holds: `"rule": "stored-type"`},
	{verb: "new project", before: `rm -rf ./* .gitignore`, line: `angz new project . --lang go --dry-run --output json`, where: inNewProject, documents: 1, holds: `"dry_run":true,.*"path":"proto/customer.proto","action":"create"`},
	{verb: "new project", line: `angz new project . --lang go --output json`, where: inNewProject, documents: 1, holds: `"dry_run":false`},
	{verb: "new domain", line: `angz new domain order --lang go --output json`, where: inNewProject, documents: 1, holds: `"path":"angz.yaml","action":"change"`},
	{verb: "new projector", line: `angz new projector list --from order --lang go --output json`, where: inNewProject, documents: 1},
	{verb: "new saga", line: `angz new saga welcome --from customer --to order --lang go --dry-run --output json`, where: inNewProject, documents: 1},
	{verb: "generate", line: `angz generate --check --output json`, where: inNewProject, code: 1, documents: 1, holds: `"action":"create"`},
	{verb: "generate", line: `angz generate --output json`, where: inNewProject, documents: 1, holds: `"dry_run":false`},
	{verb: "generate", line: `angz generate --output json`, where: inNewProject, documents: 1, holds: `"files":\[\]`},
	{verb: "proto lint", before: newProject + ` && sed -i 's/message CustomerCreated/message customer_created/' proto/customer.proto`, line: `angz proto lint --output json`, where: inNewProject,
		code: 1, documents: 1, holds: `"rule": "message-name"`},
}

// neverSeen are the fields of documents that no case can show, and why.
var neverSeen = map[string]string{
	"export-line/book.trace_context": "is there where tracing is on",
	"migration.epoch":                "needs PostgreSQL; cmd/angz/migrate_test.go has it",
	"version.commit":                 "is there when the binary knows the commit, which depends on how it was built",
	"version.time":                   "as commit",
	"version.modified":               "as commit",
	"project/service.paused":         "only a key of angz dev pauses a service",
	"service.paused":                 "as project/service.paused",
	"service.elsewhere":              "angz restart prints what angz starts; it is the document of angz ps",
	"service.problem":                "angz restart fails when there is one; it is the document of angz ps",
	"service.tail":                   "as service.problem",
}

const (
	strangeRoot = "33333333-3333-4333-8333-333333333333"
	firstLetter = `angz dlq list projector/receipt --output json | head -n 1 | jq -r '"\(.component) \(.position)"'`
	addOne      = `angz send order order-2 AddItem '{"product_id": "prod-1", "quantity": 1, "price_cents": 1}'`
	// What the projector receipt writes to, away and back again.
	hideLines = `.venv/bin/python -c 'import sqlite3; sqlite3.connect(".angz/receipts.db", timeout=60).execute("ALTER TABLE lines RENAME TO hidden")'`
	showLines = `.venv/bin/python -c 'import sqlite3; sqlite3.connect(".angz/receipts.db", timeout=60).execute("ALTER TABLE hidden RENAME TO lines")'`
)

// twoEvents sends two commands to an order, each of which stores one event.
func twoEvents(order string) string {
	if id, flags, has := strings.Cut(order, " "); has {
		return `angz send order ` + id + ` AddItem '{"product_id": "prod-1", "quantity": 1, "price_cents": 1}' && angz send order ` + id + ` AddItem '{"product_id": "prod-1", "quantity": 1, "price_cents": 2}' ` + flags
	}
	return `angz send order ` + order + ` CreateOrder '{"customer_id": "alice@example.com"}' && angz send order ` + order + ` AddItem '{"product_id": "prod-1", "quantity": 1, "price_cents": 1}'`
}

// await is a line that ends when a condition holds. Whoever types it bounds how
// long it may take.
func await(condition string) string { return `until ` + condition + `; do sleep 0.1; done` }

// writePoison writes an export that has an event that cannot be read, one behind
// it, and a domain and a type that nobody knows.
const writePoison = `cat >poison.jsonl <<'END'
{"kind":"header","format":"angz export","version":1}
{"kind":"book","domain":"order","aggregate_id":"poison","root":"11111111-1111-4111-8111-111111111111","sequence":0,"command_id":"22222222-2222-4222-8222-222222222221","correlation_id":"poison","events":[{"created_at":"2026-01-31T12:00:00Z","type_url":"type.googleapis.com/examples.ItemAdded","payload_base64":"/////w=="}]}
{"kind":"book","domain":"order","aggregate_id":"poison","root":"11111111-1111-4111-8111-111111111111","sequence":1,"command_id":"22222222-2222-4222-8222-222222222222","correlation_id":"poison","events":[{"created_at":"2026-01-31T12:00:00Z","type_url":"type.googleapis.com/examples.OrderCreated","payload_base64":""}]}
{"kind":"book","domain":"strange","root":"` + strangeRoot + `","sequence":0,"command_id":"22222222-2222-4222-8222-222222222223","correlation_id":"strange","events":[{"created_at":"2026-01-31T12:00:00Z","type_url":"type.googleapis.com/nobody.Knows","payload_base64":"AQID"}]}
{"kind":"snapshot","domain":"strange","root":"` + strangeRoot + `","sequence":0,"type_url":"type.googleapis.com/nobody.Knows","payload_base64":"AQID"}
{"kind":"snapshot","domain":"order","aggregate_id":"poison","root":"11111111-1111-4111-8111-111111111111","sequence":1,"type_url":"type.googleapis.com/examples.OrderCreated","payload":{"customerId":"x"}}
{"kind":"end","books":3,"events":3,"snapshots":2}
END`

// writeTrouble writes a project with a service that dies and one that is nowhere.
const writeTrouble = `cat >angz.yaml <<'END'
domains:
  - {name: broken, run: "sh -c 'echo no luck; exit 3'"}
  - {name: away, address: "127.0.0.1:1"}
projectors:
  - {name: list, domains: [broken], address: "127.0.0.1:1", synchronous: true}
END
`

// TestOutputKeepsToItsSchema types every verb that has --output json, and holds
// what it prints against what "angz schema" says.
func TestOutputKeepsToItsSchema(t *testing.T) {
	t.Parallel()
	s := newScenes(t)
	s.environ = append(s.environ, "OPEN="+s.folder(besideShop))
	books := readSchemas(t, s)
	tried := map[string]bool{}
	for _, c := range printedCases {
		book := books[c.verb]
		if book == nil {
			t.Errorf("%s: angz schema has nothing of %q", c.line, c.verb)
			continue
		}
		if !strings.Contains(c.line, "angz "+c.verb+" ") {
			t.Errorf("%s is not about angz %s", c.line, c.verb)
		}
		tried[c.verb] = tried[c.verb] || c.documents != 0
		if c.before != "" {
			if seen, code := s.typed(c.where, c.before); code != 0 {
				t.Fatalf("before %s\n%s ends with exit code %d\n%s", c.line, c.before, code, seen)
			}
		}
		book.check(t, c, s.printed(c))
	}
	for verb, book := range books {
		if !tried[verb] {
			t.Errorf("no case prints a document of angz %s", verb)
		}
		for _, field := range book.unseen() {
			if neverSeen[field] == "" {
				t.Errorf("no document had %s: is it ever there? add a case, or take it out of the struct", field)
			}
		}
	}
}

// printed types a line and returns what it printed.
func (s *scenes) printed(c printedCase) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 3*time.Minute)
	defer cancel()
	command, out, said := s.command(ctx, c.where, c.line), &buffer{}, &buffer{}
	command.Stdout, command.Stderr = out, said
	if err := command.Start(); err != nil {
		s.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	if c.meanwhile != "" {
		s.awaitLines(ctx, out, 1, ended, c)
		if seen, code := s.typed(c.where, c.meanwhile); code != 0 {
			s.t.Errorf("beside %s\n%s ends with exit code %d\n%s", c.line, c.meanwhile, code, seen)
		}
		s.awaitLines(ctx, out, c.documents, ended, c)
		_ = syscall.Kill(-command.Process.Pid, syscall.SIGINT)
		<-ended
		return out.String()
	}
	err, code := <-ended, 0
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		s.t.Fatalf("%s: %v", c.line, err)
	}
	if code != c.code || !regexp.MustCompile(c.says).MatchString(said.String()) {
		s.t.Errorf("%s\nended with exit code %d, expected %d and a match of %q, seen was\n%s%s", c.line, code, c.code, c.says, out, said)
	}
	return out.String()
}

func (s *scenes) awaitLines(ctx context.Context, out *buffer, lines int, ended chan error, c printedCase) {
	s.t.Helper()
	for strings.Count(out.String(), "\n") < lines {
		select {
		case err := <-ended:
			s.t.Fatalf("%s\nended with %v, expected %d lines:\n%s", c.line, err, lines, out)
		case <-ctx.Done():
			s.t.Fatalf("%s\ndid not print %d lines:\n%s", c.line, lines, out)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// recorded is the schema of what a verb prints, and which of its fields were seen.
type recorded struct {
	name     string
	lines    bool // each document is a line
	compiled *jsonschema.Schema
	root     map[string]any
	seen     map[string]bool // of the fields of all verbs, NAME.FIELD
}

// readSchemas asks angz for the schemas of all verbs.
func readSchemas(t *testing.T, s *scenes) map[string]*recorded {
	t.Helper()
	list, said, code := cli("", "schema", "--output", "json")
	if code != 0 {
		t.Fatalf("angz schema: %d\n%s", code, said)
	}
	seen, books := map[string]bool{}, map[string]*recorded{}
	for decoder := json.NewDecoder(strings.NewReader(list)); ; {
		var entry struct{ Verb, Name, ID, Lines string }
		if err := decoder.Decode(&entry); errors.Is(err, io.EOF) {
			return books
		} else if err != nil {
			t.Fatal(err)
		}
		text, said, code := cli("", append([]string{"schema"}, strings.Fields(entry.Verb)...)...)
		if code != 0 {
			t.Fatalf("angz schema %s: %d\n%s", entry.Verb, code, said)
		}
		published, err := os.ReadFile(filepath.Join("..", "schemas", entry.Name+".json"))
		if err != nil || string(published) != text {
			t.Errorf("schemas/%s.json is not what angz schema %s prints: %v", entry.Name, entry.Verb, err)
		}
		document, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		compiler := jsonschema.NewCompiler()
		compiler.AssertFormat()
		if err := compiler.AddResource(entry.ID, document); err != nil {
			t.Fatal(err)
		}
		compiled, err := compiler.Compile(entry.ID)
		if err != nil {
			t.Fatal(err)
		}
		books[entry.Verb] = &recorded{entry.Name, entry.Lines != "", compiled, document.(map[string]any), seen}
	}
}

// check holds everything that a case printed against the schema.
func (b *recorded) check(t *testing.T, c printedCase, out string) {
	t.Helper()
	if !regexp.MustCompile(c.holds).MatchString(out) {
		t.Errorf("%s\nprinted, without a match of %q,\n%s", c.line, c.holds, out)
	}
	documents := 0
	for decoder := json.NewDecoder(strings.NewReader(out)); ; documents++ {
		var text json.RawMessage
		if err := decoder.Decode(&text); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Errorf("%s\nprinted what is not JSON: %v\n%s", c.line, err, out)
			return
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := b.compiled.Validate(value); err != nil {
			t.Errorf("%s\nprinted %s\n%v", c.line, text, err)
		}
		b.look(b.root, b.name, value)
	}
	if wrong := documents != c.documents; wrong && c.meanwhile == "" && c.documents != some || documents < c.documents {
		t.Errorf("%s\nprinted %d documents, expected %d:\n%s", c.line, documents, c.documents, out)
	}
	if lines := strings.Count(out, "\n"); b.lines && lines != documents {
		t.Errorf("%s\nprinted %d documents on %d lines, expected one on each:\n%s", c.line, documents, lines, out)
	}
}

// look remembers which fields of a schema a value has.
func (b *recorded) look(schema map[string]any, name string, value any) {
	schema, name = b.resolve(schema, name)
	switch value := value.(type) {
	case map[string]any:
		forms, _ := schema["anyOf"].([]any)
		for _, form := range forms {
			if described, inner := b.resolve(form.(map[string]any), name); has(value, described["required"]) {
				b.look(described, inner, value)
			}
		}
		properties, _ := schema["properties"].(map[string]any)
		for field, inner := range value {
			if described, has := properties[field].(map[string]any); has {
				b.seen[name+"."+field] = true
				b.look(described, name, inner)
			}
		}
	case []any:
		items, _ := schema["items"].(map[string]any)
		for _, inner := range value {
			b.look(items, name, inner)
		}
	}
}

// has reports whether a document has all fields that a form of it requires.
func has(value map[string]any, required any) bool {
	names, _ := required.([]any)
	return !slices.ContainsFunc(names, func(name any) bool { return value[name.(string)] == nil })
}

// resolve follows a reference to a part, whose fields are those of the schema that
// it is part of.
func (b *recorded) resolve(schema map[string]any, name string) (map[string]any, string) {
	reference, is := schema["$ref"].(string)
	if !is {
		return schema, name
	}
	part := strings.TrimPrefix(reference, "#/$defs/")
	parts, _ := b.root["$defs"].(map[string]any)
	described, _ := parts[part].(map[string]any)
	return described, b.name + "/" + part
}

// unseen lists the fields of a schema that no document had.
func (b *recorded) unseen() (fields []string) {
	if b.name == "config" {
		return nil // runtime/config has tests of its own for its schema
	}
	collect := func(name string, schema any) {
		described, _ := schema.(map[string]any)
		properties, _ := described["properties"].(map[string]any)
		for field := range properties {
			if !b.seen[name+"."+field] {
				fields = append(fields, name+"."+field)
			}
		}
	}
	collect(b.name, b.root)
	parts, _ := b.root["$defs"].(map[string]any)
	for part, schema := range parts {
		collect(b.name+"/"+part, schema)
	}
	slices.Sort(fields)
	return fields
}
