// Package guard decides at a door who may do what: which callers are believed to
// be who they say they are, whose commands each of them may send and whose events
// each may read, and how often. Services behind the door need not know of it.
package guard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"google.golang.org/grpc"
)

// Mode is a way in which callers show who they are.
type Mode string

// A caller shows a bearer token, or a client certificate.
const (
	Token Mode = "token"
	MTLS  Mode = "mtls"
)

// Rule says what callers may do. In its patterns * stands for any number of
// characters. A caller may do what any of the rules for it says, and nothing
// else.
type Rule struct {
	Identity string   // pattern of the names that the rule is for
	Commands []string // patterns of the domains that commands may be sent to
	Queries  []string // patterns of the domains whose events may be read
	Admin    bool     // whether everything else is allowed: dead letters, facts, the doors of coordinators
}

// Options describe a guard. The zero Options let everybody do everything.
type Options struct {
	// Modes are the ways in which a caller may show who it is; none turns
	// identities and rules off.
	Modes      []Mode
	TokensFile string // of lines name:token or name:sha256:hex; for the mode Token
	Rules      []Rule
	// PublicReflection lets callers whom nobody knows ask what is served.
	PublicReflection bool
	// RequestsPerSecond is how many calls one identity, or one address where
	// there are no identities, may make on average; zero is any number. Burst is
	// how many it may make at once; zero is twice the rate.
	RequestsPerSecond float64
	Burst             int
	Logger            *slog.Logger
}

// Guard is what stands at a door. It is safe for concurrent use.
type Guard struct {
	options Options
	tokens  *tokens // nil without the mode Token
	limits  *limits // nil without a rate
}

// New returns a guard. Its errors name the key to change, and never a token.
func New(options Options) (*Guard, error) {
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	if err := options.check(); err != nil {
		return nil, err
	}
	g := &Guard{options: options, limits: newLimits(options.RequestsPerSecond, options.Burst)}
	if slices.Contains(options.Modes, Token) {
		tokens, err := openTokens(options.TokensFile, options.Logger)
		if err != nil {
			return nil, err
		}
		g.tokens = tokens
	}
	return g, nil
}

func (o Options) check() error {
	for _, mode := range o.Modes {
		if mode != Token && mode != MTLS {
			return fmt.Errorf("gateway.auth.mode: found %q, expected token or mtls", string(mode))
		}
	}
	if slices.Contains(o.Modes, Token) && o.TokensFile == "" {
		return errors.New("gateway.auth.mode has token, but nothing says which tokens there are: set gateway.auth.tokens_file")
	}
	if len(o.Modes) > 0 && len(o.Rules) == 0 {
		return errors.New("gateway.auth.mode is set, but gateway.auth.rules is empty, so that nobody may do anything: add a rule")
	}
	for i, rule := range o.Rules {
		if rule.Identity == "" {
			return fmt.Errorf("gateway.auth.rules[%d].identity is empty: set it to the name of a token or of a certificate, or to * for every caller that is known", i)
		}
		if len(rule.Commands)+len(rule.Queries) == 0 && !rule.Admin {
			return fmt.Errorf("gateway.auth.rules[%d] for %q allows nothing: set commands, queries or admin", i, rule.Identity)
		}
	}
	if o.RequestsPerSecond < 0 || o.Burst < 0 {
		return errors.New("limits.requests_per_second and limits.burst cannot be below zero")
	}
	return nil
}

// Checks reports whether callers must show who they are.
func (g *Guard) Checks() bool { return g != nil && len(g.options.Modes) > 0 }

// Unary guards calls with one answer. It stands outside of what looks at the
// request, and inside of what logs and traces.
func (g *Guard) Unary() grpc.UnaryServerInterceptor {
	return func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		visit, err := g.admit(ctx, info.FullMethod)
		if err != nil {
			return nil, err
		}
		if err := visit.checkRequest(request); err != nil {
			return nil, err
		}
		response, err := handler(withCaller(ctx, visit.names), request)
		if err != nil {
			return response, err
		}
		if visit.hides(response) { // of another domain than was asked about
			return nil, visit.denied("read this answer", "queries")
		}
		return visit.visible(response), nil
	}
}

// callerKey is the context's key for who calls.
type callerKey struct{}

func withCaller(ctx context.Context, names []string) context.Context {
	if len(names) == 0 {
		return ctx
	}
	return context.WithValue(ctx, callerKey{}, strings.Join(names[:min(len(names), mostNames)], ", "))
}

// Caller returns who makes the unary call with this context, as far as a guard
// has found that out; empty where nobody is asked. A caller whose certificate has
// several names is called by the first ones.
func Caller(ctx context.Context) string {
	caller, _ := ctx.Value(callerKey{}).(string)
	return caller
}

// Stream guards calls with streams.
func (g *Guard) Stream() grpc.StreamServerInterceptor {
	return func(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		visit, err := g.admit(stream.Context(), info.FullMethod)
		if err != nil {
			return err
		}
		return handler(server, &guarded{ServerStream: stream, visit: visit})
	}
}

// guarded is a stream whose messages are checked on their way.
type guarded struct {
	grpc.ServerStream
	visit    *visit
	received int
}

func (s *guarded) RecvMsg(message any) error {
	if err := s.ServerStream.RecvMsg(message); err != nil {
		return err
	}
	if s.received++; s.received > 1 {
		if err := s.visit.wait(s.Context()); err != nil {
			return err
		}
	}
	return s.visit.checkRequest(message)
}

func (s *guarded) SendMsg(message any) error {
	if s.visit.hides(message) {
		return nil
	}
	return s.ServerStream.SendMsg(s.visit.visible(message))
}
