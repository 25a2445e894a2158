package guard

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
)

// kind is what a method does, as far as rules go.
type kind int

const (
	private kind = iota // everything that is not named below needs an administrator
	public
	reflection
	command
	query
)

// kindOf says what a method does. What it does not know is private.
func kindOf(method string) kind {
	service, _, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	switch service {
	case "grpc.health.v1.Health":
		return public
	case "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection":
		return reflection
	case pb.CommandGateway_ServiceDesc.ServiceName, pb.AggregateCoordinator_ServiceDesc.ServiceName, pb.BusinessCoordinator_ServiceDesc.ServiceName:
		return command
	case pb.EventQuery_ServiceDesc.ServiceName, pb.EventStream_ServiceDesc.ServiceName:
		return query
	}
	return private
}

// visit is one call and what its caller may do.
type visit struct {
	guard  *Guard
	kind   kind
	names  []string // of the caller
	rules  []int    // those for the caller
	admin  bool
	free   bool   // nothing is checked
	own    string // the domain that the call's command was for
	bucket *bucket
}

// admit lets a caller in whose identity and rate are right, and tells what it
// may do.
func (g *Guard) admit(ctx context.Context, method string) (*visit, error) {
	v := &visit{guard: g, kind: kindOf(method), free: true}
	if v.kind == public {
		return v, nil
	}
	if !g.Checks() {
		return v, v.count(address(ctx), false)
	}
	if v.kind == reflection && g.options.PublicReflection {
		return v, v.count(address(ctx), false)
	}
	names, err := g.identify(ctx)
	if err != nil {
		// Guesses count, so that nobody can make many.
		if tooMany := v.count(address(ctx), false); tooMany != nil {
			return nil, tooMany
		}
		return nil, err
	}
	v.free, v.names = false, names
	if err := v.count(names[0], true); err != nil {
		return nil, err
	}
	v.findRules()
	return v, v.checkMethod(method)
}

func (v *visit) count(who string, known bool) error {
	if v.guard.limits == nil {
		return nil
	}
	v.bucket = v.guard.limits.of(who, known)
	return v.bucket.take(v.guard.limits, who)
}

// wait waits until one more message of a stream may be taken.
func (v *visit) wait(ctx context.Context) error {
	if v.bucket == nil {
		return nil
	}
	if err := v.bucket.limiter.Wait(ctx); err != nil {
		return status.Error(codes.ResourceExhausted, "the stream brings more requests than limits.requests_per_second allows before its deadline")
	}
	return nil
}

// findRules collects the rules for the caller.
func (v *visit) findRules() {
	for i, rule := range v.guard.options.Rules {
		if slices.ContainsFunc(v.names, func(name string) bool { return matches(rule.Identity, name) }) {
			v.rules = append(v.rules, i)
			v.admin = v.admin || rule.Admin
		}
	}
}

// checkMethod checks what can be checked before the request is read.
func (v *visit) checkMethod(method string) error {
	if v.admin || v.kind == reflection {
		return nil
	}
	switch v.kind {
	case command:
		if !v.any(Rule.commands) {
			return v.denied("send commands", "commands")
		}
	case query:
		if !v.any(Rule.queries) {
			return v.denied("read events", "queries")
		}
	default:
		return v.denied("call "+method, "admin")
	}
	return nil
}

func (r Rule) commands() []string { return r.Commands }
func (r Rule) queries() []string  { return r.Queries }

func (v *visit) any(of func(Rule) []string) bool {
	return slices.ContainsFunc(v.rules, func(i int) bool { return len(of(v.guard.options.Rules[i])) > 0 })
}

func (v *visit) allows(domain string, of func(Rule) []string) bool {
	return v.free || v.admin || slices.ContainsFunc(v.rules, func(i int) bool {
		return slices.ContainsFunc(of(v.guard.options.Rules[i]), func(pattern string) bool { return matches(pattern, domain) })
	})
}

// denied says what a caller may not do and which key would allow it.
func (v *visit) denied(what, key string) error {
	keys := "no rule of gateway.auth.rules is for it: add one with " + key
	if len(v.rules) > 0 {
		var paths []string
		for _, i := range v.rules {
			paths = append(paths, fmt.Sprintf("gateway.auth.rules[%d].%s", i, key))
		}
		keys = strings.Join(paths, " or ") + " would allow it"
	}
	return status.Errorf(codes.PermissionDenied, "%s may not %s: %s", called(v.names), what, keys)
}

// checkRequest checks what a request is about.
func (v *visit) checkRequest(request any) error {
	if v.free || v.kind != command && v.kind != query {
		return nil
	}
	switch asked := request.(type) {
	case *pb.CommandBook:
		return v.checkCommand(asked)
	case *pb.SyncCommandBook:
		return v.checkCommand(asked.GetCommand())
	case *pb.BusinessRequest:
		return v.checkDomain(asked.GetCommand().GetDomain(), "command.domain")
	case *pb.Query:
		return v.checkQuery(asked)
	}
	return nil // of all kinds, and answered with what is visible
}

func (v *visit) checkCommand(commands *pb.CommandBook) error {
	if err := v.checkDomain(commands.GetCover().GetDomain(), "cover.domain"); err != nil {
		return err
	}
	if v.admin {
		return nil
	}
	// Both say that somebody else has decided: who may say so can make a saga's
	// command count as done, or write history.
	if commands.GetSagaOrigin() != nil {
		return v.denied("send commands in a saga's name (saga_origin)", "admin")
	}
	if commands.GetFact() {
		return v.denied("record facts (fact)", "admin")
	}
	return nil
}

func (v *visit) checkDomain(domain, field string) error {
	v.own = domain
	if v.allows(domain, Rule.commands) {
		return nil
	}
	if domain == "" {
		return status.Errorf(codes.InvalidArgument, "the command names no domain: set %s", field)
	}
	return v.denied(fmt.Sprintf("send commands to the domain %q", domain), "commands")
}

func (v *visit) checkQuery(asked *pb.Query) error {
	domain := asked.GetDomain()
	if domain == "" && asked.GetCorrelationId() != "" || v.allows(domain, Rule.queries) {
		return nil
	}
	if domain == "" {
		return status.Error(codes.InvalidArgument, "the query names neither a domain nor a correlation: set domain, or correlation_id")
	}
	return v.denied(fmt.Sprintf("read events of the domain %q", domain), "queries")
}
