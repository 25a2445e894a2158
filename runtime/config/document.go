package config

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// maxFileBytes bounds a file, far above any that a person writes.
const maxFileBytes = 1 << 20

// document is a parsed file with what is needed to point into it.
type document struct {
	name  string
	lines []string
	root  *yaml.Node // nil if the file holds nothing
}

// place is where a value came from: a point in the file, or the name of
// something else. The zero place is the default.
type place struct {
	line, column int
	origin       string
	secret       bool // nothing from here on is shown
	shown        int  // how many characters from here on are shown; 0 means all
}

// parseDocument parses a file's content. The name is for messages.
func parseDocument(name string, data []byte) (*document, *Error) {
	if len(data) > maxFileBytes {
		return nil, &Error{File: name, Message: fmt.Sprintf("found more than %d bytes, expected a configuration file", maxFileBytes)}
	}
	text := lineBreaks.Replace(strings.TrimPrefix(string(data), "\ufeff"))
	doc := &document{name: name, lines: strings.Split(text, "\n")}
	if bad := doc.checkCharacters(); bad != nil {
		return nil, bad
	}
	parts, err := parseAll(text)
	if err != nil {
		return nil, doc.syntaxError(text, err)
	}
	if len(parts) > 1 {
		second := place{line: parts[1].Line, column: parts[1].Column}
		return nil, doc.mistake(second, "found a second document, expected one only: remove the line with --- or what follows it")
	}
	if len(parts) == 1 && len(parts[0].Content) > 0 {
		doc.root = parts[0].Content[0]
	}
	return doc, nil
}

// lineBreaks makes one of all that YAML takes for a line break, so that its line
// numbers are ours.
var lineBreaks = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u0085", "\n", "\u2028", "\n", "\u2029", "\n")

// parseAll parses the documents of a text.
func parseAll(text string) ([]*yaml.Node, error) {
	decoder := yaml.NewDecoder(strings.NewReader(text))
	var parts []*yaml.Node
	for {
		part := &yaml.Node{}
		err := decoder.Decode(part)
		if errors.Is(err, io.EOF) {
			return parts, nil
		}
		if err != nil {
			return nil, err
		}
		parts = append(parts, part)
	}
}

// checkCharacters finds what makes a file not text. The YAML parser would say
// only that it is so, not where.
func (d *document) checkCharacters() *Error {
	for i, line := range d.lines {
		column := 1
		for at, r := range line {
			if r == utf8.RuneError && strings.HasPrefix(line[at:], string(utf8.RuneError)) {
				r = ' ' // the character itself, well encoded
			}
			if r == utf8.RuneError {
				return d.mistake(place{line: i + 1, column: column}, fmt.Sprintf("found the byte 0x%02x, expected UTF-8 text: is this a configuration file?", line[at]))
			}
			if r != '\t' && unicode.IsControl(r) {
				return d.mistake(place{line: i + 1, column: column}, fmt.Sprintf("found the control character %U, expected text", r))
			}
			column++
		}
	}
	return nil
}

var lineInError = regexp.MustCompile(`line (\d+): `)

// syntaxError says where the text stops being YAML. The parser's own line is
// that of the token it was reading, often another than the one to correct, and
// it knows no column.
func (d *document) syntaxError(text string, err error) *Error {
	cause := lineInError.ReplaceAllString(strings.TrimPrefix(err.Error(), "yaml: "), "")
	line := d.brokenLine(text, err)
	content := d.lines[line-1]
	column := utf8.RuneCountInString(content[:len(content)-len(strings.TrimLeft(content, " \t"))]) + 1
	switch {
	case strings.Contains(content[:len(content)-len(strings.TrimLeft(content, " \t"))], "\t"):
		column = utf8.RuneCountInString(content[:strings.IndexByte(content, '\t')]) + 1
		cause = "found a tab in the indentation, expected spaces"
	case strings.HasPrefix(cause, "mapping values are not allowed"):
		if first, second, found := cutSecondColon(content); found {
			column = utf8.RuneCountInString(first+second) + 1
		}
		cause = "found a second colon, expected one value: put text that holds a colon in quotes, or begin a new line"
	default:
		cause = "this is not YAML: " + cause
	}
	return d.mistake(place{line: line, column: column}, cause)
}

// cutSecondColon splits a line before its second ": ".
func cutSecondColon(line string) (first, second string, found bool) {
	at := strings.Index(line, ": ")
	if at < 0 {
		return line, "", false
	}
	next := strings.Index(line[at+1:], ":")
	if next < 0 {
		return line, "", false
	}
	return line[:at+1], line[at+1 : at+1+next], true
}

// brokenLine returns the line from which on nothing makes sense any more: the
// one after the longest beginning of the text that can be read. A text that is
// only cut inside a list or quotes becomes readable again further down, and so
// does not count as broken there.
func (d *document) brokenLine(text string, err error) int {
	const mostLines, mostBytes = 300, 64 << 10 // each try reads the text anew
	lines := strings.SplitAfter(text, "\n")
	if len(lines) <= mostLines && len(text) <= mostBytes {
		for good := len(lines) - 1; good >= 0; good-- {
			if _, err := parseAll(strings.Join(lines[:good], "")); err == nil {
				return good + 1
			}
		}
	}
	if found := lineInError.FindStringSubmatch(err.Error()); found != nil {
		number, _ := strconv.Atoi(found[1]) // only digits; one too large is cut below
		return max(1, min(number, len(lines)))
	}
	return 1
}

// mistake returns an error about a place, with the line shown when it is one of
// the file.
func (d *document) mistake(at place, message string) *Error {
	made := &Error{Origin: at.origin, Message: message}
	if at.line == 0 {
		return made
	}
	made.File, made.Line, made.Column = d.name, at.line, max(1, at.column)
	made.Excerpt = d.excerpt(at)
	return made
}

// excerpt shows the line of a place, without secrets, and a caret below.
func (d *document) excerpt(at place) string {
	const longest = 4000 // no one reads more, and masking takes time
	if at.line > len(d.lines) || len(d.lines[at.line-1]) > longest {
		return ""
	}
	runes := []rune(strings.TrimRight(d.lines[at.line-1], "\r"))
	column := min(max(1, at.column), len(runes)+1)
	if end := column - 1 + at.shown; (at.secret || at.shown > 0) && end < len(runes) {
		runes = append(runes[:end:end], '…')
	}
	runes = []rune(maskSecrets(string(runes)))
	column = min(column, len(runes)+1)
	const before, after = 60, 60
	if from := column - 1 - before; from > 0 {
		runes, column = append([]rune("…"), runes[from:]...), before+2
	}
	if to := column - 1 + after; to < len(runes) {
		runes = append(runes[:to:to], '…')
	}
	var shown, indent strings.Builder
	for i, r := range runes {
		if unicode.IsControl(r) && r != '\t' || r == utf8.RuneError {
			r = '?'
		}
		shown.WriteRune(r)
		if i < column-1 {
			if r != '\t' {
				r = ' '
			}
			indent.WriteRune(r)
		}
	}
	number := fmt.Sprintf("%5d", at.line)
	return fmt.Sprintf("%s | %s\n%s | %s^", number, shown.String(), strings.Repeat(" ", len(number)), indent.String())
}

var (
	credentials = regexp.MustCompile(`://\S*@`)
	secretValue = regexp.MustCompile(`(?i)((?:(?:\b|_)ur[il]s?(?:\b|_)|\benv\b|passw|secret|token|credential|api_?key|access_?key)[\w.-]*["']?\s*[:=]\s*)\S.*$`)
)

// maskCredentials hides the user and password of every URL in a text.
func maskCredentials(text string) string { return credentials.ReplaceAllString(text, "://…@") }

// maskSecrets hides what looks like a secret in a line of a file, whether or not
// the file can be understood: the errors of a file are what people paste into
// public places.
func maskSecrets(line string) string {
	return maskCredentials(secretValue.ReplaceAllString(line, "${1}…"))
}
