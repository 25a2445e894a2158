package scaffold

import (
	"bytes"
	"slices"
	"strings"
	"unicode"
)

// rustRaw are the words of Rust that can be names when they are written r#word,
// rustSuffixed those that cannot, and get an underscore instead: so prost does it.
var (
	rustRaw = strings.Fields("as break const continue else enum false fn for if impl in let loop match mod move mut pub ref return static struct trait true type unsafe use where while " +
		"dyn abstract become box do final macro override priv typeof unsized virtual yield async await try gen")
	rustSuffixed = strings.Fields("_ super self Self extern crate")
)

// rustWord writes a name so that it is none of Rust's own words, as prost does.
func rustWord(name string) string {
	switch {
	case slices.Contains(rustRaw, name):
		return "r#" + name
	case slices.Contains(rustSuffixed, name):
		return name + "_"
	}
	return name
}

// rustModule returns where prost's modules have the messages of a package.
func rustModule(pkg string) string {
	module := "crate::proto"
	for part := range strings.SplitSeq(pkg, ".") {
		if part != "" {
			module += "::" + rustSnake(part)
		}
	}
	return module
}

// rustType returns what prost calls a message: CreateB2BShop is CreateB2bShop.
func rustType(message *Message) string {
	var text strings.Builder
	for _, word := range rustWords(message.Spelling) {
		text.WriteString(capital(strings.ToLower(word)))
	}
	return rustWord(text.String())
}

// rustField returns what prost calls a field.
func rustField(field Field) string { return rustSnake(field.Spelling) }

func rustSnake(name string) string {
	return rustWord(strings.ToLower(strings.Join(rustWords(name), "_")))
}

// rustWords splits a name as the crate heck does, which prost uses: where upper
// case follows lower case, and before the last of several capitals if a word
// begins there. A digit is what the letter before it is.
func rustWords(name string) []string {
	var words []string
	for _, part := range strings.FieldsFunc(name, func(r rune) bool { return r == '_' }) {
		runes := []rune(part)
		start, letter := 0, '_' // the last one
		for i, r := range runes {
			next := i+1 < len(runes) && unicode.IsLower(runes[i+1])
			if i > start && unicode.IsUpper(r) && (unicode.IsLower(letter) || unicode.IsUpper(letter) && next) {
				words, start = append(words, string(runes[start:i])), i
			}
			if unicode.IsLetter(r) {
				letter = r
			}
		}
		words = append(words, string(runes[start:]))
	}
	return words
}

// rustValue writes a made-up value of a field.
func rustValue(field Field) string {
	switch field.Type {
	case "string":
		return literal(field) + ".into()"
	case "float", "double":
		return "1.0"
	}
	return literal(field)
}

// sortedLock puts the packages of a Cargo.lock into the order of their names, in
// which Cargo writes them; where the project's own belongs depends on its name.
func sortedLock(content []byte) []byte {
	const start = "\n[[package]]\n"
	parts := bytes.Split(content, []byte(start))
	slices.SortStableFunc(parts[1:], func(a, b []byte) int { return bytes.Compare(lockName(a), lockName(b)) })
	return bytes.Join(parts, []byte(start))
}

// lockName returns the first line of a package, which has its name.
func lockName(block []byte) []byte {
	line, _, _ := bytes.Cut(block, []byte("\n"))
	return bytes.TrimSuffix(bytes.TrimPrefix(line, []byte(`name = "`)), []byte(`"`))
}

// up returns the way from a folder of the project back to the project, with a
// slash at its end; nothing when that is the folder.
func up(folder string) string {
	if folder == "" || folder == "." {
		return ""
	}
	return strings.Repeat("../", strings.Count(folder, "/")+1)
}
