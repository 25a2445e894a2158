package features_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/cucumber/godog"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/runtimetest"
)

// commandSteps are the sentences about commands and what becomes of them.
func (w *world) commandSteps(steps *godog.ScenarioContext) {
	steps.Step(`^I send an? "([^"]*)" command for aggregate "([^"]*)"(.*)$`, w.send)
	steps.Step(`^I send the commands (".+") together for aggregate "([^"]*)"(.*)$`, w.sendTogether)
	steps.Step(`^I send (\d+) "([^"]*)" commands for aggregate "([^"]*)"(.*)$`, w.sendMany)
	steps.Step(`^(\d+) clients at once each send an? "([^"]*)" command for aggregate "([^"]*)"(.*)$`, w.sendAtOnce)
	steps.Step(`^the command is accepted$`, w.accepted)
	steps.Step(`^the command has not been answered$`, w.notAnswered)
	steps.Step(`^the command fails with ([A-Z_]+) "(.*)"$`, w.failsWith)
	steps.Step(`^the command fails with ([A-Z_]+) and says "(.*)"$`, w.failsAndSays)
	steps.Step(`^the error carries (\w+) "([^"]*)"$`, w.errorCarries)
	steps.Step(`^the answer holds the events:$`, w.answerHolds)
	steps.Step(`^the answer holds no events$`, w.answerHoldsNone)
	steps.Step(`^the answer is the same as the first$`, w.sameAsFirst)
	steps.Step(`^all (\d+) commands are accepted$`, w.allAccepted)
	steps.Step(`^exactly (\d+) of the (\d+) commands (?:is|are) accepted and the others fail with ([A-Z_]+)$`, w.someAccepted)
	steps.Step(`^(\d+) commands have been answered$`, w.answered)
	steps.Step(`^the answer holds projections of (.+)$`, w.answerHoldsProjections)
}

// order is a command as a sentence describes it.
type order struct {
	aggregate string
	command   *pb.CommandBook
	key       book.Key
	mode      pb.SyncMode
	sync      bool // a mode was named
	deadline  time.Duration
	waits     bool
	role      string // at whose door
}

// outcome is what became of a command that was sent.
type outcome struct {
	order
	response *pb.CommandResponse
	err      error
	done     chan struct{}
	seen     bool // a sentence has spoken of it
}

// extras are the ways in which a sentence about a command may go on.
var extras = []struct {
	pattern *regexp.Regexp
	apply   func(o *order, words []string) error
}{
	{regexp.MustCompile(`^ at sequence (\d+)`), func(o *order, words []string) error {
		sequence, err := strconv.ParseUint(words[1], 10, 32)
		o.command.Pages[0].Sequence = uint32(sequence)
		return err
	}},
	{regexp.MustCompile(`^ (?:with|and) auto_resequence`), func(o *order, _ []string) error {
		o.command.AutoResequence = true
		return nil
	}},
	{regexp.MustCompile(`^ (?:with|and) correlation id "([^"]*)"`), func(o *order, words []string) error {
		o.command.CorrelationId = words[1]
		return nil
	}},
	{regexp.MustCompile(`^ (?:with|and) idempotency key "([^"]*)"`), func(o *order, words []string) error {
		o.command.IdempotencyKey = words[1]
		return nil
	}},
	{regexp.MustCompile(`^ (?:with|and) (\d+) MiB of payload`), func(o *order, words []string) error {
		size, err := strconv.Atoi(words[1])
		o.command.Pages[0].Command.Value = make([]byte, size<<20)
		return err
	}},
	{regexp.MustCompile(`^ by its name`), func(o *order, _ []string) error {
		o.command.Cover.Root, o.command.Cover.AggregateId = nil, o.aggregate
		return nil
	}},
	{regexp.MustCompile(`^ in mode (NONE|SIMPLE|CASCADE)`), func(o *order, words []string) error {
		o.sync, o.mode = true, pb.SyncMode(pb.SyncMode_value["SYNC_MODE_"+words[1]])
		return nil
	}},
	{regexp.MustCompile(`^ within (\w+)`), func(o *order, words []string) (err error) {
		o.deadline, err = time.ParseDuration(words[1])
		return err
	}},
	{regexp.MustCompile(`^ without waiting`), func(o *order, _ []string) error {
		o.waits = false
		return nil
	}},
	{regexp.MustCompile(`^ at the gateway`), func(*order, []string) error { return nil }},
	{regexp.MustCompile(`^ at the coordinator`), func(o *order, _ []string) error {
		o.role = "aggregate"
		return nil
	}},
}

var inDomain = regexp.MustCompile(`^ in domain "([^"]*)"`)

// order understands a sentence about a command of these names. Unless it says
// otherwise the sender knows the aggregate's next number.
func (w *world) order(names []string, aggregate, rest string) (*order, error) {
	domain := ""
	if words := inDomain.FindStringSubmatch(rest); words != nil {
		domain, rest = words[1], strings.TrimPrefix(rest, words[0])
	}
	if err := w.start(); err != nil {
		return nil, err
	}
	key := w.key(aggregate, domain)
	info, err := w.system.Store().Aggregate(w.ctx, key)
	if err != nil {
		return nil, err
	}
	command := runtimetest.Command(key.Domain, aggregate, info.Next, names[0])
	for _, name := range names[1:] {
		command.Pages = append(command.Pages, runtimetest.Command(key.Domain, aggregate, 0, name).Pages...)
	}
	o := &order{aggregate: aggregate, command: command, key: key, waits: true, deadline: patience, role: "gateway"}
	for rest != "" {
		if rest, err = o.extra(rest); err != nil {
			return nil, err
		}
	}
	return o, nil
}

func (o *order) extra(rest string) (string, error) {
	for _, extra := range extras {
		if words := extra.pattern.FindStringSubmatch(rest); words != nil {
			return strings.TrimPrefix(rest, words[0]), extra.apply(o, words)
		}
	}
	return "", fmt.Errorf("a command cannot be sent%q", rest)
}

func (w *world) send(name, aggregate, rest string) error {
	return w.sendNames([]string{name}, aggregate, rest)
}

func (w *world) sendTogether(names, aggregate, rest string) error {
	return w.sendNames(quoted(names), aggregate, rest)
}

func (w *world) sendNames(names []string, aggregate, rest string) error {
	o, err := w.order(names, aggregate, rest)
	if err != nil {
		return err
	}
	return w.dispatch(o)
}

// dispatch sends a command and waits for its answer unless the sentence says
// otherwise.
func (w *world) dispatch(o *order) error {
	if err := w.unchecked(); err != nil {
		return err
	}
	sent := w.begun(o)
	if o.waits {
		<-sent.done
	}
	return nil
}

// begun sends a command in the background.
func (w *world) begun(o *order) *outcome {
	sent := &outcome{order: *o, done: make(chan struct{})}
	w.outcomes = append(w.outcomes, sent)
	conn := w.conns[o.role]
	go func() {
		defer w.happen.fire()
		defer close(sent.done)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), o.deadline)
		defer cancel()
		client := pb.NewAggregateCoordinatorClient(conn)
		switch {
		case !o.sync:
			sent.response, sent.err = client.Handle(ctx, o.command)
		case o.role == "gateway":
			sent.response, sent.err = pb.NewCommandGatewayClient(conn).ExecuteSync(ctx, &pb.SyncCommandBook{Command: o.command, SyncMode: o.mode})
		default:
			sent.response, sent.err = client.HandleSync(ctx, &pb.SyncCommandBook{Command: o.command, SyncMode: o.mode})
		}
	}()
	return sent
}

func (w *world) sendMany(count int, name, aggregate, rest string) error {
	for range count {
		if err := w.send(name, aggregate, rest); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) sendAtOnce(count int, name, aggregate, rest string) error {
	o, err := w.order([]string{name}, aggregate, rest)
	if err != nil {
		return err
	}
	for range count {
		w.begun(o)
	}
	return nil
}

// unchecked returns the failure of a command, or the books of a stream, of which
// no sentence has spoken.
func (w *world) unchecked() error {
	for _, sent := range w.outcomes {
		select {
		case <-sent.done:
			if sent.err != nil && !sent.seen {
				sent.seen = true
				return fmt.Errorf("a command failed unexpectedly: %w", sent.err)
			}
		default:
		}
	}
	for _, stream := range w.streams {
		if err := stream.surplus(); err != nil {
			return err
		}
	}
	return w.uncheckedDecision()
}

// outcome returns the newest command's outcome and waits for it.
func (w *world) outcome() (*outcome, error) {
	if len(w.outcomes) == 0 {
		return nil, errors.New("the scenario has sent no command")
	}
	newest := w.outcomes[len(w.outcomes)-1]
	<-newest.done
	newest.seen = true
	return newest, nil
}

func (w *world) accepted() error {
	sent, err := w.outcome()
	if err != nil {
		return err
	}
	return sent.err
}

func (w *world) notAnswered() error {
	select {
	case <-w.outcomes[len(w.outcomes)-1].done:
		return errors.New("it has been answered")
	default:
		return nil
	}
}

func (w *world) failsWith(code, message string) error {
	sent, err := w.outcome()
	if err != nil {
		return err
	}
	return checkStatus(sent.err, code, func(found string) bool { return found == message })
}

func (w *world) failsAndSays(code, part string) error {
	sent, err := w.outcome()
	if err != nil {
		return err
	}
	return checkStatus(sent.err, code, func(found string) bool { return strings.Contains(found, part) })
}

// checkStatus checks the code and message with which a call ended.
func checkStatus(err error, code string, fits func(message string) bool) error {
	wanted, parseErr := statusOf(code, "")
	if parseErr != nil {
		return parseErr
	}
	found := status.Convert(err)
	if found.Code() != wanted.Code() || !fits(found.Message()) {
		return fmt.Errorf("it ended with %s %q", found.Code(), found.Message())
	}
	return nil
}

func (w *world) errorCarries(name, value string) error {
	sent, err := w.outcome()
	if err != nil {
		return err
	}
	for _, detail := range status.Convert(sent.err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.Metadata[name] == value {
			return nil
		}
	}
	return fmt.Errorf("its details are %v", status.Convert(sent.err).Details())
}

func (w *world) answerHolds(table *godog.Table) error {
	sent, err := w.outcome()
	if err != nil {
		return err
	}
	if sent.err != nil {
		return sent.err
	}
	return compare(table, []*pb.EventBook{sent.response.Events})
}

func (w *world) answerHoldsNone() error {
	sent, err := w.outcome()
	if err != nil {
		return err
	}
	if pages := sent.response.GetEvents().GetPages(); len(pages) > 0 {
		return fmt.Errorf("it holds %v", pages)
	}
	return sent.err
}

func (w *world) sameAsFirst() error {
	sent, err := w.outcome()
	if err != nil {
		return err
	}
	return same(w.outcomes[0].response, sent.response)
}

func (w *world) allAccepted(count int) error {
	sent := w.outcomes[len(w.outcomes)-count:]
	for _, one := range sent {
		<-one.done
		one.seen = true
		if one.err != nil {
			return one.err
		}
	}
	return nil
}

func (w *world) someAccepted(accepted, count int, code string) error {
	wanted, err := statusOf(code, "")
	if err != nil {
		return err
	}
	found := map[codes.Code]int{}
	for _, one := range w.outcomes[len(w.outcomes)-count:] {
		<-one.done
		one.seen = true
		found[status.Code(one.err)]++
	}
	if found[codes.OK] != accepted || found[wanted.Code()] != count-accepted {
		return fmt.Errorf("they ended with %v", found)
	}
	return nil
}

// answered waits until so many commands have been answered.
func (w *world) answered(count int) error {
	return w.until(func() error {
		answered := 0
		for _, sent := range w.outcomes {
			select {
			case <-sent.done:
				answered++
			default:
			}
		}
		if answered < count {
			return fmt.Errorf("%d have been", answered)
		}
		return nil
	})
}

func (w *world) answerHoldsProjections(names string) error {
	sent, err := w.outcome()
	if err != nil {
		return err
	}
	var found []string
	for _, projection := range sent.response.GetProjections() {
		if projection.Cover.GetDomain() != sent.key.Domain || projection.Projection.GetTypeUrl() != "type.googleapis.com/Receipt" {
			return fmt.Errorf("unexpected projection %v", projection)
		}
		found = append(found, projection.Projector)
	}
	if wanted := quoted(names); !equal(found, wanted) {
		return fmt.Errorf("projections of %v", found)
	}
	return sent.err
}
