package story

import (
	"strings"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc/status"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/observe"
)

const (
	modeCascade = pb.SyncMode_SYNC_MODE_CASCADE
	// mostEvents are listed of one command.
	mostEvents = 20
	// longestReason is how much of a reason is kept, in bytes.
	longestReason = 1000
)

// origin is what made a saga send a command.
type origin struct {
	place place
	id    string // of the aggregate whose events they are
	saga  string
	index uint32
}

// commandOf reads a decision. The origin is nil for a command that no saga sent.
func commandOf(decision observe.Decision) (*Command, *origin) {
	given := decision.Command
	command := &Command{Domain: given.GetCover().GetDomain(), Took: decision.Took, Waited: decision.Waited}
	if pages := given.GetPages(); len(pages) > 0 {
		command.Type = book.ShortName(pages[0].GetCommand().GetTypeUrl())
	}
	cover := given.GetCover()
	if decision.Events.GetCover().GetAggregateId() != "" {
		cover = decision.Events.Cover
	}
	key, _ := book.KeyOf(cover) // what names nothing was refused for that
	command.ID = idOf(cover, key)
	switch {
	case decision.Err != nil:
		said := status.Convert(decision.Err)
		command.Outcome, command.Code, command.Reason = Rejected, code.Code(said.Code()).String(), clipped(said.Message())
	case len(decision.Events.GetPages()) == 0:
		command.Outcome = Unchanged
	case decision.Duplicate:
		command.Outcome = Duplicate
	default:
		command.Outcome = Accepted
	}
	command.Events, command.More = eventsOf(decision.Events)
	from, undoes := cause(given)
	command.Undoes = undoes
	return command, originOf(from)
}

// cause returns the provenance of a command: its own, or that of the command
// which it compensates for.
func cause(command *pb.CommandBook) (from *pb.SagaCommandOrigin, undoes bool) {
	if command.GetSagaOrigin().GetSagaName() != "" || len(command.GetPages()) == 0 || !command.GetFact() && !command.GetAutoResequence() {
		return command.GetSagaOrigin(), false
	}
	message := command.Pages[0].GetCommand()
	var revoke pb.RevokeEventCommand
	var failed pb.SagaCompensationFailed
	switch {
	case message.MessageIs(&revoke) && message.UnmarshalTo(&revoke) == nil:
		return revoke.GetRejectedCommand().GetSagaOrigin(), true
	case message.MessageIs(&failed) && message.UnmarshalTo(&failed) == nil:
		return failed.GetRejectedCommand().GetSagaOrigin(), true
	}
	return nil, false
}

func originOf(from *pb.SagaCommandOrigin) *origin {
	if from.GetSagaName() == "" {
		return nil
	}
	key, err := book.KeyOf(from.TriggeringAggregate)
	if err != nil {
		return nil
	}
	return &origin{
		place: place{key, from.TriggeringEventSequence}, id: idOf(from.TriggeringAggregate, key), saga: from.SagaName, index: from.CommandIndex,
	}
}

// placeOf names the events of a book; false when there are none.
func placeOf(events *pb.EventBook) (place, bool) {
	if len(events.GetPages()) == 0 {
		return place{}, false
	}
	key, err := book.KeyOf(events.Cover)
	return place{key, book.Last(events)}, err == nil
}

// idOf returns what people call an aggregate.
func idOf(cover *pb.Cover, key book.Key) string {
	if id := cover.GetAggregateId(); id != "" {
		return clipped(id)
	}
	if key == (book.Key{}) {
		return ""
	}
	return key.Root.String()
}

func eventsOf(events *pb.EventBook) (listed []Event, more int) {
	pages := events.GetPages()
	shown := min(len(pages), mostEvents)
	if shown == 0 {
		return nil, 0
	}
	listed = make([]Event, shown)
	for i, page := range pages[:shown] {
		listed[i] = Event{book.ShortName(page.GetEvent().GetTypeUrl()), page.GetNum()}
	}
	return listed, len(pages) - shown
}

// clipped bounds what somebody else said.
func clipped(text string) string {
	if len(text) <= longestReason {
		return text
	}
	return strings.ToValidUTF8(text[:longestReason], "") + "…"
}

// split divides the name of a subscription.
func split(component string) (kind, name string) {
	kind, name, found := strings.Cut(component, "/")
	if !found {
		return "", component
	}
	return kind, name
}
