package tui

import (
	"strings"
	"unicode"
)

// match reports whether the characters of every word that was typed are in a text in
// their order, how well they are, and where. What begins a word or follows the one
// before is worth more, and a short text more than a long one.
func match(typed, text string) (score int, at []int, ok bool) {
	letters := []rune(text)
	for word := range strings.FieldsSeq(strings.ToLower(typed)) {
		places, worth := placeOfWord([]rune(word), letters)
		if places == nil {
			return 0, nil, false
		}
		score += worth
		at = append(at, places...)
	}
	return score - len(letters)/4, at, true
}

// What a character that is found is worth.
const (
	worthFound  = 1
	worthNext   = 6 // it follows the one before
	worthBegins = 8 // it begins a word
	worthFirst  = 4 // it begins the text
)

// placeOfWord finds the best place of a word among letters: it tries every place where it
// could begin, and takes from there what comes first.
func placeOfWord(word, letters []rune) (best []int, most int) {
	for start := range letters {
		if unicode.ToLower(letters[start]) != word[0] {
			continue
		}
		places, worth := placeFrom(word, letters, start)
		if places == nil {
			return best, most // nor is it further on
		}
		if best == nil || worth > most {
			best, most = places, worth
		}
	}
	return best, most
}

func placeFrom(word, letters []rune, start int) (places []int, worth int) {
	next := 0
	for i := start; i < len(letters) && next < len(word); i++ {
		if unicode.ToLower(letters[i]) != word[next] {
			continue
		}
		worth += worthFound
		switch {
		case i == 0:
			worth += worthBegins + worthFirst
		case begins(letters[i-1], letters[i]):
			worth += worthBegins
		}
		if next > 0 && places[next-1] == i-1 {
			worth += worthNext
		}
		places = append(places, i)
		next++
	}
	if next < len(word) {
		return nil, 0
	}
	return places, worth
}

// begins reports whether a word begins with a character, as in ItemAdded and order-1.
func begins(before, r rune) bool {
	isWord := func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
	return isWord(r) && !isWord(before) || unicode.IsUpper(r) && !unicode.IsUpper(before)
}
