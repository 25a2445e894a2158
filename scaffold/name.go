package scaffold

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Name is a name as a list of words in lower case, so that each language can
// write it by its own conventions.
type Name []string

// Kebab returns order-item: domains, files of features, angz.yaml.
func (n Name) Kebab() string { return strings.Join(n, "-") }

// Snake returns order_item: packages of messages, fields, Python, Rust and C++.
func (n Name) Snake() string { return strings.Join(n, "_") }

// Flat returns orderitem: packages of Go and Java.
func (n Name) Flat() string { return strings.Join(n, "") }

// Pascal returns OrderItem: messages and types.
func (n Name) Pascal() string {
	var text strings.Builder
	for _, word := range n {
		text.WriteString(capital(word))
	}
	return text.String()
}

// Camel returns orderItem: functions and fields of Java and TypeScript.
func (n Name) Camel() string {
	if len(n) == 0 {
		return ""
	}
	return n[0] + Name(n[1:]).Pascal()
}

// Title returns "Order item": text for people.
func (n Name) Title() string { return capital(strings.Join(n, " ")) }

// String returns the name as people write it in commands.
func (n Name) String() string { return n.Kebab() }

func capital(word string) string {
	if word == "" {
		return ""
	}
	return strings.ToUpper(word[:1]) + word[1:]
}

const longestName = 50 // it becomes part of file names, with words around it

// ParseName reads a name written in any of the usual ways: order-item,
// order_item, OrderItem or orderItem. It refuses what would not be a name in one
// of the languages, since a project may come to use any of them.
func ParseName(text string) (Name, error) {
	switch {
	case text == "":
		return nil, fmt.Errorf("the name is empty; expected a word such as customer or order-item")
	case len(text) > longestName:
		return nil, fmt.Errorf("the name %.20q… has %d characters, expected at most %d", text, len(text), longestName)
	}
	for i, r := range text {
		if r == '-' || r == '_' || r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r)) {
			continue
		}
		return nil, fmt.Errorf("the name %q has %q at position %d, expected letters, digits and hyphens, as in order-item", text, r, i+1)
	}
	name := words(text)
	if len(name) == 0 {
		return nil, fmt.Errorf("the name %q has no letters, expected a word such as customer or order-item", text)
	}
	if unicode.IsDigit(rune(name[0][0])) {
		return nil, fmt.Errorf("the name %q begins with a digit, expected a letter first, as in order-2", text)
	}
	if why := reserved(name); why != "" {
		return nil, fmt.Errorf("the name %q cannot be used: %s; take another, such as %s", text, why, alternative(name))
	}
	return name, nil
}

// alternative suggests a name near one that cannot be used.
func alternative(name Name) string { return "my-" + name.Kebab() }

// words splits a name at hyphens, underscores and changes of case: HTTPServer is
// http-server.
func words(text string) Name {
	var name Name
	var word []rune
	end := func() {
		if len(word) > 0 {
			name = append(name, strings.ToLower(string(word)))
		}
		word = nil
	}
	runes := []rune(text)
	for i, r := range runes {
		if r == '-' || r == '_' {
			end()
			continue
		}
		if unicode.IsUpper(r) && i > 0 {
			before := runes[i-1]
			beginsWord := i+1 < len(runes) && unicode.IsLower(runes[i+1])
			if unicode.IsLower(before) || unicode.IsDigit(before) || unicode.IsUpper(before) && beginsWord {
				end()
			}
		}
		word = append(word, r)
	}
	end()
	return name
}

// reserved says why a name cannot be used; empty when it can.
func reserved(name Name) string {
	if name[0] == "angzarr" || name[0] == "angz" || name[0] == "google" {
		return fmt.Sprintf("names that begin with %q are taken", name[0])
	}
	for _, spelling := range []string{name.Snake(), name.Flat()} {
		if i := slices.IndexFunc(languageWords, func(l languageWord) bool { return slices.Contains(l.words, spelling) }); i >= 0 {
			return fmt.Sprintf("%q is a word of %s itself", spelling, languageWords[i].language)
		}
		if slices.Contains(folderNames, spelling) {
			return fmt.Sprintf("%q is the name of a folder that projects have for something else", spelling)
		}
	}
	return ""
}

// folderNames have a meaning of their own beside the folders of components.
var folderNames = []string{
	"proto", "features", "gen", "generated", "src", "lib", "bin", "build", "dist", "target", "test", "tests", "testdata", "main",
	"internal", "vendor", "classes", "docs", "scripts", "tools", "cmd", "go", "python", "rust", "typescript", "java", "cpp",
}

type languageWord struct {
	language string
	words    []string
}

// languageWords are the words that a language keeps for itself, where they can
// be the name of a package or a folder.
var languageWords = []languageWord{
	{"Go", strings.Fields("break case chan const continue default defer else fallthrough for func goto if import interface map package range return select struct switch type var any append bool byte cap clear close comparable complex copy delete error false float32 float64 init int int32 int64 iota len make max min new nil panic print println real recover rune string true uint uint32 uint64")},
	{"Python", strings.Fields("and as assert async await class def del elif except finally from global in is lambda none nonlocal not or pass raise try while with yield grpc typing logging json signal threading uuid")},
	{"Rust", strings.Fields("abstract become box crate do dyn enum extern final fn impl let loop macro match mod move mut override priv pub ref self static super trait typeof unsafe unsized use virtual where std core alloc tonic prost tokio log deps examples incremental")},
	{"Java and TypeScript", strings.Fields("boolean catch char debugger double extends float function implements instanceof int long native private protected public short strictfp synchronized this throw throws transient void volatile constructor declare module namespace number object require set symbol undefined get of readonly record sealed permits")},
	{"C++", strings.Fields("alignas alignof asm auto compl concept const_cast consteval constexpr constinit decltype delete explicit export friend inline mutable noexcept operator register signed sizeof template thread_local typedef typeid typename union unsigned using wchar_t xor std absl testing abort abs access alarm ceil clock clone close daemon daylight div environ exit exp floor fork free gamma index kill link log nice pause pipe raise random read remainder remove rename rewind round select signal sleep stat stderr stdin stdout sync system time timezone trunc truncate wait write")},
	{"Protocol Buffers", strings.Fields("syntax message service rpc option optional repeated required reserved oneof extend extensions group stream returns edition weak bytes fixed32 fixed64 sfixed32 sfixed64 sint32 sint64")},
}
