// Package eventlog is the role that prints every event for people to read: where
// it stands, what it is, and what it says.
package eventlog

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"unicode"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/anypb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/bus"
	"github.com/angz-dev/angz/runtime/follow"
	"github.com/angz-dev/angz/runtime/rpcerr"
)

// Payloads reads payloads as JSON; known is false for a type without a schema.
type Payloads interface {
	JSON(message *anypb.Any) (json []byte, known bool, err error)
}

// Options describe the role.
type Options struct {
	Output io.Writer
	Color  bool
	// Lines prints each event on one line, with the aggregate's human name.
	Lines bool
	// Payloads may be nil: then payloads are printed as hex.
	Payloads Payloads
	// Bus and Log are what Run follows.
	Bus    bus.Subscriber
	Log    follow.Log
	Logger *slog.Logger
}

// Server prints events. It also serves Projector, so that it can stand behind a
// projector coordinator. It is safe for concurrent use.
type Server struct {
	pb.UnimplementedProjectorServer
	options Options

	mu sync.Mutex // keeps the lines of one book together
}

// New returns a server that has not started.
func New(options Options) *Server {
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	return &Server{options: options}
}

// Run prints what is appended from now on until the context ends.
func (s *Server) Run(ctx context.Context) error {
	live := follow.Live{Name: "log", Bus: s.options.Bus, Log: s.options.Log, Logger: s.options.Logger}
	if err := live.Run(ctx, s.print); err != nil {
		return fmt.Errorf("follow the events to print them: %w", err)
	}
	return nil
}

// Handle prints the events of one book.
func (s *Server) Handle(_ context.Context, events *pb.EventBook) (*pb.Projection, error) {
	if _, err := book.CheckStored(events); err != nil {
		return nil, rpcerr.Status(err)
	}
	return &pb.Projection{}, rpcerr.Status(s.print(events))
}

const (
	rule = "────────────────────────────────────────────────────────────"
	// shownBytes is how much of a payload without a schema is printed.
	shownBytes = 64
)

func (s *Server) print(events *pb.EventBook) error {
	var out bytes.Buffer
	for _, page := range events.Pages {
		if s.options.Lines {
			fmt.Fprintf(&out, "%s %s #%d %s %s\n", oneLine(events.Cover.GetDomain()), oneLine(name(events.Cover)), page.GetNum(),
				s.typeName(page.Event.GetTypeUrl()), s.payload(page.Event))
			continue
		}
		fmt.Fprintf(&out, "%s\n%s:%x:%010d\n%s\n%s\n", rule,
			oneLine(events.Cover.GetDomain()), first(events.Cover.GetRoot().GetValue()), page.GetNum(),
			s.typeName(page.Event.GetTypeUrl()), s.payload(page.Event))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.options.Output.Write(out.Bytes()); err != nil {
		return fmt.Errorf("print events: %w", err)
	}
	return nil
}

// name returns what people call an aggregate, or its identity if angz does not
// know that.
func name(cover *pb.Cover) string {
	if id := cover.GetAggregateId(); id != "" {
		return id
	}
	if root, err := uuid.FromBytes(cover.GetRoot().GetValue()); err == nil {
		return root.String()
	}
	return "?"
}

// colors says by the end of a type's name how it is printed.
var colors = []struct{ ending, color string }{
	{"Created", "\x1b[32m"}, {"Completed", "\x1b[36m"}, {"Cancelled", "\x1b[31m"}, {"Failed", "\x1b[31m"},
	{"Added", "\x1b[33m"}, {"Applied", "\x1b[33m"}, {"", "\x1b[34m"},
}

func (s *Server) typeName(typeURL string) string {
	name := oneLine(book.ShortName(typeURL))
	if !s.options.Color {
		return name
	}
	for _, candidate := range colors {
		if strings.HasSuffix(name, candidate.ending) {
			return candidate.color + name + "\x1b[0m"
		}
	}
	return name
}

func (s *Server) payload(event *anypb.Any) string {
	if s.options.Payloads != nil {
		if json, known, err := s.options.Payloads.JSON(event); err == nil && known {
			return printable(string(json))
		}
	}
	value := event.GetValue()
	return hex.EncodeToString(value[:min(len(value), shownBytes)])
}

// printable keeps what others have written from steering the reader's terminal,
// also from turning the direction of writing, which unicode.Bidi_Control does.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Bidi_Control, r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// oneLine also keeps a name from looking like further lines of the log.
func oneLine(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return unicode.ReplacementChar
		}
		return r
	}, printable(name))
}

// first returns the first 8 bytes of a root, which tell aggregates apart well
// enough for a reader.
func first(root []byte) []byte { return root[:min(len(root), 8)] }
