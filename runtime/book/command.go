package book

import (
	"fmt"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
)

// namespace is UUIDv5(DNS, "angzarr.dev"), the space of all ids derived here.
var namespace = uuid.MustParse("404f3bda-578a-5c4d-a7f4-2751b843698a")

// CheckCommand returns the aggregate a command is for, or an *Invalid that
// names the first thing that is wrong with the book.
func CheckCommand(command *pb.CommandBook) (Key, error) {
	key, err := KeyOf(command.GetCover())
	if err != nil {
		return Key{}, err
	}
	if len(command.Pages) == 0 {
		return Key{}, &Invalid{"pages", "no pages", "at least one command page"}
	}
	for i, page := range command.Pages {
		if page.GetCommand() == nil {
			return Key{}, &Invalid{fmt.Sprintf("pages[%d].command", i), "nothing", "a command in a google.protobuf.Any"}
		}
	}
	return key, nil
}

// CorrelationID returns the correlation id of a command: the one it carries, or
// else one derived from its content, so that the same book always has the same.
func CorrelationID(command *pb.CommandBook) (string, error) {
	if command.CorrelationId != "" {
		return command.CorrelationId, nil
	}
	// Deterministic marshalling writes the fields of these messages, none of
	// which sits in a oneof, in the order of their numbers.
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(command)
	if err != nil {
		return "", fmt.Errorf("derive the correlation id: %w", err)
	}
	return uuid.NewSHA1(namespace, body).String(), nil
}

// CommandID returns the id under which a command's events are stored, and
// whether the same id may have been used before. It is derived from the
// idempotency key or the saga's provenance where there is one; else it is new. A
// provenance that does not say which aggregate caused the command is none.
func CommandID(key Key, command *pb.CommandBook) (id uuid.UUID, repeatable bool) {
	if command.IdempotencyKey != "" {
		return DerivedID("idempotency-key", key.String(), command.IdempotencyKey), true
	}
	if origin := command.SagaOrigin; origin.GetSagaName() != "" {
		if source, err := KeyOf(origin.TriggeringAggregate); err == nil {
			return sagaCommandID(key, source, origin), true
		}
	}
	return uuid.Must(uuid.NewV7()), false
}

func sagaCommandID(target, source Key, origin *pb.SagaCommandOrigin) uuid.UUID {
	return DerivedID("saga-command", target.String(), origin.SagaName, source.Domain, string(source.Root[:]),
		fmt.Sprint(origin.TriggeringEventSequence), fmt.Sprint(origin.CommandIndex))
}

// DerivedID returns the id that belongs to these words, the same for the same
// words in every process and for ever. kind keeps the kinds of ids apart.
func DerivedID(kind string, words ...string) uuid.UUID {
	name := append([]byte(kind), 0)
	for _, word := range words {
		// The length before each word keeps ("ab","c") and ("a","bc") apart.
		name = fmt.Appendf(name, "%d:", len(word))
		name = append(name, word...)
	}
	return uuid.NewSHA1(namespace, name)
}
