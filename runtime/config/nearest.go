package config

import "strings"

// nearest returns the candidate that word was probably meant to be.
func nearest(word string, candidates []string) (string, bool) {
	best, bestDistance := "", len(word)+1
	folded := fold(word)
	for _, candidate := range candidates {
		distance := editDistance(folded, fold(candidate))
		if distance < bestDistance {
			best, bestDistance = candidate, distance
		}
	}
	// One slip in a short word, or one in every three letters of a long one, is
	// a slip; more is another word.
	return best, best != "" && bestDistance <= max(1, min(len(folded), len(best))/3)
}

// didYouMean returns the question for a word that was probably meant to be one
// of the candidates, or nothing.
func didYouMean(word string, candidates []string) string {
	if best, ok := nearest(word, candidates); ok {
		return `did you mean "` + best + `"?`
	}
	return ""
}

// fold makes words equal that differ only in the style of writing: basePath,
// base-path and base_path.
func fold(word string) string {
	return strings.NewReplacer("_", "", "-", "", " ", "").Replace(strings.ToLower(word))
}

// editDistance counts the letters to insert, delete, replace or swap with their
// neighbour that make b of a.
func editDistance(a, b string) int {
	const longest = 64
	if len(a) > longest || len(b) > longest {
		return max(len(a), len(b))
	}
	var rows [3][longest + 1]int
	before, previous, current := &rows[0], &rows[1], &rows[2]
	for j := range len(b) + 1 {
		previous[j] = j
	}
	for i := 1; i <= len(a); i++ {
		current[0] = i
		for j := 1; j <= len(b); j++ {
			replace := previous[j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			current[j] = min(replace, previous[j]+1, current[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				current[j] = min(current[j], before[j-2]+1)
			}
		}
		before, previous, current = previous, current, before
	}
	return previous[len(b)]
}
