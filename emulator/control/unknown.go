package control

import (
	"fmt"
	"slices"
	"strings"
)

// unknownName says that nothing is called as somebody asked for.
type unknownName struct {
	name  string
	known []string
}

// Error names the nearest of what there is, and all of it.
func (e *unknownName) Error() string {
	text := fmt.Sprintf("there is no service %q", e.name)
	if near, ok := nearest(e.name, e.known); ok {
		text += fmt.Sprintf("; did you mean %q?", near)
	}
	if len(e.known) == 0 {
		return text + " (the project has none)"
	}
	return text + " (known: " + strings.Join(e.known, ", ") + ")"
}

// checkNames returns an *unknownName for the first name that is not known.
func checkNames(names, known []string) error {
	for _, name := range names {
		if !slices.Contains(known, name) {
			return &unknownName{name, known}
		}
	}
	return nil
}

// serviceNames returns the names of the services.
func (s Status) serviceNames() []string {
	var names []string
	for _, service := range s.Services {
		names = append(names, service.Name)
	}
	return names
}

// nearest returns the candidate that word was probably meant to be: one slip in
// a short word, or one in every three letters of a long one.
func nearest(word string, candidates []string) (string, bool) {
	const longest = 64 // what is longer is no slip of a name
	best, fewest := "", len(word)+1
	for _, candidate := range candidates {
		if len(word) > longest || len(candidate) > longest {
			continue
		}
		if slips := distance(strings.ToLower(word), strings.ToLower(candidate)); slips < fewest {
			best, fewest = candidate, slips
		}
	}
	return best, best != "" && fewest <= max(1, min(len(word), len(best))/3)
}

// distance counts the bytes to insert, remove or replace to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0] // of the row above, one to the left
		row[0] = i + 1
		for j := range len(b) {
			slips := before
			if a[i] != b[j] {
				slips = 1 + min(before, row[j], row[j+1])
			}
			before, row[j+1] = row[j+1], slips
		}
	}
	return row[len(b)]
}
