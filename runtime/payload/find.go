package payload

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/angz-dev/angz/runtime/book"
)

// maxListed bounds how many names an error lists.
const maxListed = 6

// NotFound says that no type has a name, and which have a similar one.
type NotFound struct {
	Domain  string
	Name    string
	Nearest []string // full names, best first
	// NoSchema is set when there are no types of a project at all.
	NoSchema bool
}

func (e *NotFound) Error() string {
	switch {
	case e.NoSchema:
		return fmt.Sprintf("no schema is loaded that could know the type %q; list your .proto folders under \"protos\" in angz.yaml", e.Name)
	case len(e.Nearest) == 0:
		return fmt.Sprintf("no type is called %q", e.Name)
	}
	return fmt.Sprintf("no type is called %q; the nearest: %s", e.Name, strings.Join(e.Nearest, ", "))
}

// Ambiguous says that several types have a short name.
type Ambiguous struct {
	Domain     string
	Name       string
	Candidates []string // full names, sorted
}

func (e *Ambiguous) Error() string {
	return fmt.Sprintf("several types are called %q: %s; use the full name", e.Name, strings.Join(e.Candidates, ", "))
}

// Find returns the type that a person means in a domain by a type URL, a full
// name, or the end of one ("CreateCustomer", "v1.CreateCustomer"). Of several it
// prefers the one whose package ends with the domain's name, then the one whose
// package contains it. Errors: *NotFound and *Ambiguous.
func (s *Schema) Find(domain, name string) (protoreflect.MessageDescriptor, error) {
	if message, ok := s.Message(name); ok {
		return message, nil
	}
	if s.Empty() {
		return nil, &NotFound{Domain: domain, Name: name, NoSchema: true}
	}
	candidates := s.endingWith(book.TypeName(name))
	if len(candidates) == 0 {
		return nil, &NotFound{Domain: domain, Name: name, Nearest: s.nearest(domain, name)}
	}
	best := preferred(domain, candidates)
	if len(best) > 1 {
		return nil, &Ambiguous{Domain: domain, Name: name, Candidates: fullNames(best)}
	}
	return best[0], nil
}

// endingWith returns the project's types whose full name ends with name.
func (s *Schema) endingWith(name string) []protoreflect.MessageDescriptor {
	var found []protoreflect.MessageDescriptor
	for _, message := range s.own[book.ShortName(name)] {
		if strings.HasSuffix("."+string(message.FullName()), "."+name) {
			found = append(found, message)
		}
	}
	return found
}

// preferred returns those of the candidates that are closest to the domain.
func preferred(domain string, candidates []protoreflect.MessageDescriptor) []protoreflect.MessageDescriptor {
	var best []protoreflect.MessageDescriptor
	bestDistance := 0
	for _, candidate := range candidates {
		distance := domainDistance(domain, candidate)
		if len(best) == 0 || distance < bestDistance {
			best, bestDistance = nil, distance
		}
		if distance == bestDistance {
			best = append(best, candidate)
		}
	}
	return best
}

func domainDistance(domain string, message protoreflect.MessageDescriptor) int {
	elements := strings.Split(string(message.ParentFile().Package()), ".")
	if elements[len(elements)-1] == domain {
		return 0
	}
	if slices.Contains(elements, domain) {
		return 1
	}
	return 2
}

func fullNames(messages []protoreflect.MessageDescriptor) []string {
	names := make([]string, len(messages))
	for i, message := range messages {
		names[i] = string(message.FullName())
	}
	slices.Sort(names)
	return names
}

// nearest returns the full names of types whose short names look like name's.
func (s *Schema) nearest(domain, name string) []string {
	var names []string
	for _, short := range nearestWords(book.ShortName(name), slices.Collect(maps.Keys(s.own))) {
		messages := slices.Clone(s.own[short])
		slices.SortFunc(messages, func(a, b protoreflect.MessageDescriptor) int {
			return cmp.Or(cmp.Compare(domainDistance(domain, a), domainDistance(domain, b)), cmp.Compare(a.FullName(), b.FullName()))
		})
		for _, message := range messages {
			names = append(names, string(message.FullName()))
		}
	}
	return names[:min(len(names), maxListed)]
}

// nearestWords returns the words that a mistyped one may stand for, best first.
func nearestWords(word string, words []string) []string {
	type scored struct {
		word  string
		score int
	}
	var near []scored
	folded := strings.ToLower(word)
	for _, candidate := range words {
		lower := strings.ToLower(candidate)
		score := editDistance(folded, lower)
		if len(folded) >= 3 && strings.Contains(lower, folded) {
			score = min(score, 2)
		}
		if score <= max(2, len(word)/3) {
			near = append(near, scored{candidate, score})
		}
	}
	slices.SortFunc(near, func(a, b scored) int {
		return cmp.Or(cmp.Compare(a.score, b.score), cmp.Compare(a.word, b.word))
	})
	var result []string
	for _, n := range near[:min(len(near), maxListed)] {
		result = append(result, n.word)
	}
	return result
}

// editDistance is the number of letters to insert, remove or replace between
// two words.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
