package guard

import (
	"slices"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
)

// readable reports whether a caller may see what belongs to a domain: what it
// may query, and what its own command did.
func (v *visit) readable(domain string) bool {
	return v.allows(domain, Rule.queries) || v.kind == command && domain == v.own
}

// hides reports whether a message of a stream is not for the caller. What a
// correlation joins, and a list of everything, is answered in part.
func (v *visit) hides(message any) bool {
	switch answer := message.(type) {
	case *pb.EventBook:
		return !v.readable(answer.GetCover().GetDomain())
	case *pb.AggregateRoot:
		return !v.readable(answer.GetDomain())
	}
	return false
}

// visible returns the part of an answer that the caller may see.
func (v *visit) visible(message any) any {
	answer, ok := message.(*pb.CommandResponse)
	if v.free || v.admin || !ok {
		return message
	}
	hidden := func(p *pb.Projection) bool { return !v.readable(p.GetCover().GetDomain()) }
	if !slices.ContainsFunc(answer.GetProjections(), hidden) {
		return message
	}
	return &pb.CommandResponse{ // messages are not changed once they are handed over
		Events: answer.GetEvents(), Projections: slices.DeleteFunc(slices.Clone(answer.GetProjections()), hidden),
	}
}
