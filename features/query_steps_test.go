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
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
)

// querySteps are the sentences about EventQuery.
func (w *world) querySteps(steps *godog.ScenarioContext) {
	steps.Step(`^I ask for the events of aggregate "([^"]*)" as (one book|stored books|a synchronized book)(?: with (.+))?$`, w.ask)
	steps.Step(`^I ask for the events with (.+)$`, w.askFor)
	steps.Step(`^the query answers the numbers "([^"]*)"$`, w.answersNumbers)
	steps.Step(`^the query answers (\d+) books?$`, w.answersBooks)
	steps.Step(`^the query answers the events:$`, func(table *godog.Table) error {
		return errors.Join(w.queryErr, compare(table, w.answers))
	})
	steps.Step(`^the query answers for aggregate "([^"]*)"$`, w.answersFor)
	steps.Step(`^the query fails with ([A-Z_]+) and says "(.*)"$`, func(code, part string) error {
		return checkStatus(w.queryErr, code, func(found string) bool { return strings.Contains(found, part) })
	})
	steps.Step(`^I list the aggregates$`, w.list)
	steps.Step(`^the list holds:$`, w.listHolds)
}

var condition = regexp.MustCompile(`(\w+) (?:"([^"]*)"|(\S+?))(?:,? and |, |$)`)

// conditions are what a query may be restricted by.
var conditions = map[string]func(query *pb.Query, value string) error{
	"lower_bound":   func(q *pb.Query, value string) error { return number(value, func(n uint32) { q.LowerBound = n }) },
	"upper_bound":   func(q *pb.Query, value string) error { return number(value, func(n uint32) { q.UpperBound = n }) },
	"from_sequence": func(q *pb.Query, value string) error { return number(value, func(n uint32) { q.FromSequence = n }) },
	"as_of_sequence": func(q *pb.Query, value string) error {
		return number(value, func(n uint32) { q.AsOfSequence = &n })
	},
	"as_of_time": func(q *pb.Query, value string) error {
		at, err := time.Parse(time.RFC3339Nano, value)
		q.AsOfTime = timestamppb.New(at)
		return err
	},
	"correlation_id": func(q *pb.Query, value string) error { q.CorrelationId = value; return nil },
	"domain":         func(q *pb.Query, value string) error { q.Domain = value; return nil },
	"aggregate_id":   func(q *pb.Query, value string) error { q.AggregateId = value; return nil },
	"root":           func(q *pb.Query, value string) error { q.Root = &pb.UUID{Value: []byte(value)}; return nil },
}

func number(text string, set func(uint32)) error {
	parsed, err := strconv.ParseUint(text, 10, 32)
	set(uint32(parsed))
	return err
}

func restrict(query *pb.Query, text string) error {
	for _, words := range condition.FindAllStringSubmatch(text, -1) {
		set, ok := conditions[words[1]]
		if !ok {
			return fmt.Errorf("a query has no %q", words[1])
		}
		if err := set(query, words[2]+words[3]); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) ask(aggregate, how, text string) error {
	key := w.key(aggregate, "")
	query := &pb.Query{Domain: key.Domain, Root: key.Cover("").Root}
	if err := restrict(query, text); err != nil {
		return err
	}
	return w.query(query, how)
}

func (w *world) askFor(text string) error {
	query := &pb.Query{}
	if err := restrict(query, text); err != nil {
		return err
	}
	return w.query(query, "stored books")
}

func (w *world) query(query *pb.Query, how string) error {
	conn, err := w.door("query")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	w.answers, w.queryErr = nil, nil
	switch how {
	case "one book":
		w.answers = make([]*pb.EventBook, 1)
		w.answers[0], w.queryErr = pb.NewEventQueryClient(conn).GetEventBook(ctx, query)
	case "stored books":
		stream, err := pb.NewEventQueryClient(conn).GetEvents(ctx, query)
		if err != nil {
			return err
		}
		w.answers, w.queryErr = all[pb.EventBook](stream)
	default:
		w.answers, w.queryErr = synchronize(ctx, conn, query)
	}
	return nil
}

func synchronize(ctx context.Context, conn *grpc.ClientConn, query *pb.Query) ([]*pb.EventBook, error) {
	stream, err := pb.NewEventQueryClient(conn).Synchronize(ctx)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(stream.Send(query), stream.CloseSend()); err != nil {
		return nil, err
	}
	return all[pb.EventBook](stream)
}

func (w *world) answersNumbers(wanted string) error {
	var found []string
	for _, events := range w.answers {
		for _, page := range events.GetPages() {
			found = append(found, fmt.Sprint(page.GetNum()))
		}
	}
	if text := strings.Join(found, ","); text != wanted {
		return errors.Join(w.queryErr, fmt.Errorf("it answers %q", text))
	}
	return w.queryErr
}

func (w *world) answersBooks(count int) error {
	if len(w.answers) != count {
		return fmt.Errorf("it answers %d books", len(w.answers))
	}
	return w.queryErr
}

func (w *world) answersFor(aggregate string) error {
	if w.queryErr != nil {
		return w.queryErr
	}
	found, err := book.KeyOf(w.answers[0].GetCover())
	if err == nil && found != w.key(aggregate, "") {
		err = fmt.Errorf("it answers for %s", found)
	}
	return err
}

func (w *world) list() error {
	conn, err := w.gateway()
	if err != nil {
		return err
	}
	stream, err := pb.NewEventQueryClient(conn).GetAggregateRoots(w.ctx, &emptypb.Empty{})
	if err != nil {
		return err
	}
	w.roots, err = all[pb.AggregateRoot](stream)
	return err
}

func (w *world) listHolds(table *godog.Table) error {
	rows, err := rowsOf(table, "domain", "name", "root")
	if err != nil {
		return err
	}
	var found []map[string]string
	for _, root := range w.roots {
		id, err := uuid.FromBytes(root.Root.GetValue())
		if err != nil {
			return err
		}
		found = append(found, map[string]string{"domain": root.Domain, "name": root.AggregateId, "root": id.String()})
	}
	if difference := cmp.Diff(rows, found); difference != "" {
		return fmt.Errorf("the lists differ (-wanted +found):\n%s", difference)
	}
	return nil
}
