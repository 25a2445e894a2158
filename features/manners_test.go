package features_test

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/runtimetest"
)

// serving holds the ways in which a domain's service can be served.
var serving = map[string]runtimetest.Option{
	"has no health service": runtimetest.WithoutHealth,
	"listens on TCP":        runtimetest.OverTCP,
	"answers garbage":       runtimetest.AnswersGarbage,
}

// manner is one way of deciding on commands, as a sentence says it.
type manner struct {
	pattern *regexp.Regexp
	rules   func(words []string) (runtimetest.Rules, error)
}

func always(rules runtimetest.Rules) func([]string) (runtimetest.Rules, error) {
	return func([]string) (runtimetest.Rules, error) { return rules, nil }
}

var manners = []manner{
	{regexp.MustCompile(`^counts pages$`), always(runtimetest.CountsPages)},
	{regexp.MustCompile(`^numbers from its snapshot$`), always(runtimetest.NumbersFromSnapshot)},
	{regexp.MustCompile(`^leaves numbers out$`), always(runtimetest.LeavesNumbersOut)},
	{regexp.MustCompile(`^uses force$`), always(runtimetest.UsesForce)},
	{regexp.MustCompile(`^leaves the cover out$`), always(runtimetest.WithoutCover)},
	{regexp.MustCompile(`^answers for another aggregate$`), always(runtimetest.AnswersForAnother)},
	{regexp.MustCompile(`^leaves a gap$`), always(runtimetest.LeavesAGap)},
	{regexp.MustCompile(`^never answers$`), always(runtimetest.NeverAnswers)},
	{regexp.MustCompile(`^answers with nothing$`), always(runtimetest.AnswersNothing)},
	{regexp.MustCompile(`^starts over$`), always(runtimetest.StartsOver)},
	{regexp.MustCompile(`^answers with an empty page$`), always(runtimetest.LeavesEventOut)},
	{regexp.MustCompile(`^answers for another domain$`), always(runtimetest.AnswersForAnotherDomain)},
	{regexp.MustCompile(`^names its domain only$`), always(runtimetest.NamesDomainOnly)},
	{regexp.MustCompile(`^sets its own times$`), always(runtimetest.SetsTimes)},
	{regexp.MustCompile(`^answers with unknown fields$`), always(runtimetest.AddsUnknownFields)},
	{regexp.MustCompile(`^writes type URLs like "([^"]*)"$`), func(words []string) (runtimetest.Rules, error) {
		return runtimetest.WithPrefix(words[1]), nil
	}},
	{regexp.MustCompile(`^answers with (\d+) MiB$`), func(words []string) (runtimetest.Rules, error) {
		size, err := strconv.Atoi(words[1])
		return runtimetest.AnswersHugely(size << 20), err
	}},
	{regexp.MustCompile(`^answers with the events? (".+")$`), func(words []string) (runtimetest.Rules, error) {
		return answersWith(quoted(words[1])), nil
	}},
	{regexp.MustCompile(`^keeps a snapshot every (\d+) events$`), func(words []string) (runtimetest.Rules, error) {
		every, err := strconv.Atoi(words[1])
		return snapshotEvery(uint32(every)), err
	}},
	{regexp.MustCompile(`^refuses with ([A-Z_]+) "(.*)"$`), func(words []string) (runtimetest.Rules, error) {
		refusal, err := statusOf(words[1], words[2])
		return runtimetest.Refuses(refusal), err
	}},
	{regexp.MustCompile(`^refuses the first (\d+) times with ([A-Z_]+) "(.*)"$`), func(words []string) (runtimetest.Rules, error) {
		times, err := strconv.Atoi(words[1])
		if err != nil {
			return nil, err
		}
		refusal, err := statusOf(words[2], words[3])
		return refusesFirst(times, runtimetest.Refuses(refusal)), err
	}},
	{regexp.MustCompile(`^revokes because "(.*)"(?: and asks for (.+))?$`), func(words []string) (runtimetest.Rules, error) {
		return revokes(words[1], words[2])
	}},
}

// rulesFor returns the rules that a sentence describes.
func rulesFor(sentence string) (runtimetest.Rules, error) {
	for _, manner := range manners {
		if words := manner.pattern.FindStringSubmatch(sentence); words != nil {
			return manner.rules(words)
		}
	}
	return nil, fmt.Errorf("no stand-in %s", sentence)
}

// statusOf returns the status with a code as people write it.
func statusOf(code, message string) (*status.Status, error) {
	var parsed codes.Code
	if err := parsed.UnmarshalJSON([]byte(strconv.Quote(code))); err != nil {
		return nil, err
	}
	return status.New(parsed, message), nil
}

// quoted returns the words between quotation marks.
func quoted(text string) []string {
	var words []string
	for i, word := range strings.Split(text, `"`) {
		if i%2 == 1 {
			words = append(words, word)
		}
	}
	return words
}

func answersWith(types []string) runtimetest.Rules {
	return func(_ context.Context, request *pb.ContextualCommand) (*pb.BusinessResponse, error) {
		var pages []*pb.EventPage
		for _, name := range types {
			pages = append(pages, runtimetest.Event("type.googleapis.com/"+name))
		}
		return runtimetest.Answer(request, pages...), nil
	}
}

// snapshotEvery numbers from its snapshot, and keeps one only when enough events
// have come together.
func snapshotEvery(every uint32) runtimetest.Rules {
	return func(ctx context.Context, request *pb.ContextualCommand) (*pb.BusinessResponse, error) {
		answer, err := runtimetest.NumbersFromSnapshot(ctx, request)
		pages := answer.GetEvents().GetPages()
		if len(pages) > 0 && (pages[len(pages)-1].GetNum()+1)%every != 0 {
			answer.GetEvents().SnapshotState = nil
		}
		return answer, err
	}
}

func refusesFirst(times int, refusal runtimetest.Rules) runtimetest.Rules {
	var mu sync.Mutex
	return func(ctx context.Context, request *pb.ContextualCommand) (*pb.BusinessResponse, error) {
		mu.Lock()
		defer mu.Unlock()
		if times--; times >= 0 {
			return refusal(ctx, request)
		}
		return runtimetest.CountsPages(ctx, request)
	}
}

var flags = map[string]func(*pb.RevocationResponse){
	"a dead letter":       func(r *pb.RevocationResponse) { r.SendToDeadLetterQueue = true },
	"escalation":          func(r *pb.RevocationResponse) { r.Escalate = true },
	"abort":               func(r *pb.RevocationResponse) { r.Abort = true },
	"a system revocation": func(r *pb.RevocationResponse) { r.EmitSystemRevocation = true },
}

func revokes(reason, wishes string) (runtimetest.Rules, error) {
	revocation := &pb.RevocationResponse{Reason: reason}
	for _, wish := range slices.DeleteFunc(regexp.MustCompile(`, | and `).Split(wishes, -1), func(wish string) bool { return wish == "" }) {
		set, ok := flags[wish]
		if !ok {
			return nil, fmt.Errorf("a revocation cannot ask for %q", wish)
		}
		set(revocation)
	}
	return runtimetest.Revokes(revocation), nil
}
