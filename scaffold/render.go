package scaffold

import (
	"bytes"
	"errors"
	"fmt"
	"go/format"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"text/template"

	protofiles "github.com/angz-dev/angz/proto"
	"github.com/angz-dev/angz/templates"
)

// Render fills in every template below a folder of package templates. Names
// between @ in paths are replaced as replace says. The files come with the paths
// they have below the folder to.
func Render(from, to string, replace func(string) string, known any) ([]File, error) {
	var files []File
	err := fs.WalkDir(templates.Files, from, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		source, err := templates.Files.ReadFile(name)
		if err != nil {
			return err
		}
		content, err := renderText(name, string(source), known)
		if err != nil {
			return err
		}
		below := strings.TrimSuffix(strings.TrimPrefix(name, from+"/"), ".tmpl")
		file, err := newFile(path.Join(to, replace(undotted(below))), content)
		files = append(files, file)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return files, err
}

func newFile(name string, content []byte) (file File, err error) {
	file = File{Path: name, Content: content, Mode: 0o644}
	if bytes.HasPrefix(content, []byte("#!")) {
		file.Mode = 0o755
	}
	switch path.Ext(name) {
	case ".lock":
		file.Content = sortedLock(content)
	case ".feature":
		file.Content = aligned(content)
	case ".java":
		file.Content = importsSorted(content)
	case ".go":
		if file.Content, err = format.Source(content); err != nil {
			return file, fmt.Errorf("a template of angz is broken: %s: %w\n%s", name, err, content)
		}
	}
	return file, nil
}

// undotted writes dot-gitignore as .gitignore: templates have no hidden files.
func undotted(name string) string {
	parts := strings.Split(name, "/")
	for i, part := range parts {
		if after, found := strings.CutPrefix(part, "dot-"); found {
			parts[i] = "." + after
		}
	}
	return strings.Join(parts, "/")
}

var functions = template.FuncMap{
	"lower":   strings.ToLower,
	"upper":   strings.ToUpper,
	"join":    strings.Join,
	"quote":   strconv.Quote,
	"replace": func(old, new, text string) string { return strings.ReplaceAll(text, old, new) },
	"add":     func(a, b int) int { return a + b },
	"indent":  func(n int, text string) string { return strings.ReplaceAll(text, "\n", "\n"+strings.Repeat(" ", n)) },
	"article": article,
	"sample":  literal,
	"sorted":  func(words ...string) []string { return slices.Sorted(slices.Values(words)) },
	"pysample": func(field Field) string {
		return strings.NewReplacer("true", "True").Replace(literal(field))
	},
	"up": up,

	"rustField":  rustField,
	"rustModule": rustModule,
	"rustType":   rustType,
	"rustValue":  rustValue,
}

// article puts a or an before a word.
func article(words string) string {
	if words != "" && strings.ContainsRune("aeiou", rune(words[0])) {
		return "an " + words
	}
	return "a " + words
}

func renderText(name, source string, known any) ([]byte, error) {
	parsed, err := template.New(name).Funcs(functions).Option("missingkey=error").Parse(source)
	if err != nil {
		return nil, fmt.Errorf("a template of angz is broken: %w", err)
	}
	var out bytes.Buffer
	if err := parsed.Execute(&out, known); err != nil {
		return nil, fmt.Errorf("a template of angz is broken: %w", err)
	}
	return out.Bytes(), nil
}

// contractFiles are angz's own .proto files that services need.
var contractFiles = []string{"types", "options", "aggregate", "projector", "saga"}

// Contract returns angz's own .proto files, as projects have them.
func Contract() []File {
	files := make([]File, len(contractFiles))
	for i, name := range contractFiles {
		content, err := protofiles.Files.ReadFile("angzarr/" + name + ".proto")
		if err != nil {
			panic("angz was built without its .proto files: " + err.Error())
		}
		files[i] = File{Path: "proto/angzarr/" + name + ".proto", Content: content, Mode: 0o644}
	}
	return files
}

// importsSorted sorts each block of imports, whose order depends on the project's
// name.
func importsSorted(content []byte) []byte {
	lines := strings.Split(string(content), "\n")
	for start := 0; start < len(lines); start++ {
		end := start
		for end < len(lines) && strings.HasPrefix(lines[end], "import ") {
			end++
		}
		slices.Sort(lines[start:end])
		start = max(start, end)
	}
	return []byte(strings.Join(lines, "\n"))
}

// aligned gives the columns of Gherkin's tables the same width.
func aligned(content []byte) []byte {
	lines := strings.Split(string(content), "\n")
	for start := 0; start < len(lines); start++ {
		end := start
		for end < len(lines) && strings.HasPrefix(strings.TrimSpace(lines[end]), "|") {
			end++
		}
		if end > start {
			alignTable(lines[start:end])
			start = end
		}
	}
	return []byte(strings.Join(lines, "\n"))
}

func alignTable(lines []string) {
	var rows [][]string
	var widths []int
	for _, line := range lines {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i, cell := range cells {
			cells[i] = strings.TrimSpace(cell)
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], len(cells[i]))
		}
		rows = append(rows, cells)
	}
	indent := lines[0][:strings.Index(lines[0], "|")]
	for i, cells := range rows {
		var row strings.Builder
		row.WriteString(indent + "|")
		for j, cell := range cells {
			fmt.Fprintf(&row, " %-*s |", widths[j], cell)
		}
		lines[i] = row.String()
	}
}
