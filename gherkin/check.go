package gherkin

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	cucumber "github.com/cucumber/gherkin/go/v26"
	messages "github.com/cucumber/messages/go/v21"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/config"
	"github.com/angz-dev/angz/runtime/payload"
)

// page is an event with its number.
type page = pb.EventPage

// step is a step of a scenario, with its place.
type step struct {
	file string
	line int64
	text string
	arg  *messages.PickleStepArgument
}

// read reads the steps of all scenarios of the features asked for. Mistakes in
// them are a *Mistake.
func read(paths []string) ([]step, error) {
	files, err := featureFiles(paths)
	if err != nil {
		return nil, err
	}
	var steps []step
	var mistakes []string
	for _, file := range files {
		found, err := readFile(file)
		if err != nil {
			mistakes = append(mistakes, err.Error())
		}
		steps = append(steps, found...)
	}
	if len(mistakes) > 0 {
		return nil, &Mistake{strings.Join(mistakes, "\n")}
	}
	return steps, nil
}

// lineSuffix is how one scenario of a file is asked for.
var lineSuffix = regexp.MustCompile(`:\d+$`)

func featureFiles(paths []string) ([]string, error) {
	var files []string
	for _, path := range paths {
		path = lineSuffix.ReplaceAllString(path, "")
		info, err := os.Stat(path)
		if err != nil {
			return nil, &Mistake{fmt.Sprintf("there is no %s; name files or folders of features", path)}
		}
		if !info.IsDir() {
			files = append(files, path)
			continue
		}
		err = filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
			if err == nil && !entry.IsDir() && filepath.Ext(name) == ".feature" {
				files = append(files, name)
			}
			return err
		})
		if err != nil {
			return nil, &Mistake{err.Error()}
		}
	}
	if len(files) == 0 {
		return nil, &Mistake{fmt.Sprintf("there is no .feature file in %s", strings.Join(paths, ", "))}
	}
	slices.Sort(files)
	return slices.Compact(files), nil
}

func readFile(file string) (steps []step, err error) {
	opened, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, opened.Close()) }()
	ids := (&messages.Incrementing{}).NewId
	document, err := cucumber.ParseGherkinDocument(opened, ids)
	if err != nil {
		return nil, errors.New(placed(file, err))
	}
	lines := map[string]int64{}
	note := func(all []*messages.Step) {
		for _, one := range all {
			lines[one.Id] = one.Location.Line
		}
	}
	if document.Feature != nil {
		for _, child := range document.Feature.Children {
			noteChild(child.Background, child.Scenario, note)
			if child.Rule != nil {
				for _, inner := range child.Rule.Children {
					noteChild(inner.Background, inner.Scenario, note)
				}
			}
		}
	}
	for _, pickle := range cucumber.Pickles(*document, file, ids) {
		for _, one := range pickle.Steps {
			steps = append(steps, step{file: file, line: lines[one.AstNodeIds[0]], text: one.Text, arg: one.Argument})
		}
	}
	return steps, nil
}

func noteChild(background *messages.Background, scenario *messages.Scenario, note func([]*messages.Step)) {
	if background != nil {
		note(background.Steps)
	}
	if scenario != nil {
		note(scenario.Steps)
	}
}

// parserPlace is how the parser says where a mistake is.
var parserPlace = regexp.MustCompile(`\((\d+):(\d+)\): `)

// placed turns the parser's messages into file:line:column: message.
func placed(file string, err error) string {
	var lines []string
	for _, line := range strings.Split(err.Error(), "\n") {
		if match := parserPlace.FindStringSubmatchIndex(line); match != nil {
			lines = append(lines, file+":"+line[match[2]:match[3]]+":"+line[match[4]:match[5]]+": "+line[match[1]:])
		}
	}
	if lines == nil {
		return file + ": " + err.Error()
	}
	return strings.Join(lines, "\n")
}

// check finds steps that mean nothing, or more than one thing, and domains that
// the project does not have.
func check(steps []step, loaded *config.Config, schema *payload.Schema) error {
	sentences := vocabulary(newWorld(Options{}, schema))
	patterns := make([]*regexp.Regexp, len(sentences))
	for i, sentence := range sentences {
		patterns[i] = regexp.MustCompile(sentence.pattern)
	}
	var mistakes []string
	complain := func(at step, text string) {
		if line := fmt.Sprintf("%s:%d: %s", at.file, at.line, text); !slices.Contains(mistakes, line) {
			mistakes = append(mistakes, line)
		}
	}
	for _, at := range steps {
		var fitting []int
		for i, pattern := range patterns {
			if pattern.MatchString(at.text) {
				fitting = append(fitting, i)
			}
		}
		switch len(fitting) {
		case 0:
			complain(at, fmt.Sprintf("nothing is known of the step %q; the nearest are\n    %s", at.text, strings.Join(nearest(at.text, sentences), "\n    ")))
		case 1:
			checkNames(at, loaded, func(text string) { complain(at, text) })
		default:
			var meanings []string
			for _, i := range fitting {
				meanings = append(meanings, sentences[i].example)
			}
			complain(at, fmt.Sprintf("the step %q can mean\n    %s", at.text, strings.Join(meanings, "\n    ")))
		}
	}
	if len(mistakes) > 0 {
		return &Mistake{strings.Join(mistakes, "\n")}
	}
	return nil
}

// named finds what steps name.
var named = map[string]*regexp.Regexp{
	"domain":    regexp.MustCompile(`\bin domain "([^"]*)"`),
	"projector": regexp.MustCompile(`\bthe projector "([^"]*)"`),
	"saga":      regexp.MustCompile(`\bthe saga "([^"]*)"`),
}

// checkNames finds domains, projectors and sagas that angz.yaml does not have.
func checkNames(at step, loaded *config.Config, complain func(string)) {
	for kind, services := range map[string][]config.Service{"domain": loaded.Domains, "projector": loaded.Projectors, "saga": loaded.Sagas} {
		for _, match := range named[kind].FindAllStringSubmatch(at.text, -1) {
			known := serviceNames(services)
			if !slices.Contains(known, match[1]) {
				complain(fmt.Sprintf("there is no %s %q in %s, expected %s", kind, match[1], filepath.Base(loaded.File), oneOf(known)))
			}
		}
	}
}

func serviceNames(services []config.Service) []string {
	names := make([]string, len(services))
	for i, service := range services {
		names[i] = service.Name
	}
	return names
}

func oneOf(words []string) string {
	if len(words) == 0 {
		return "none: it has none"
	}
	return strings.Join(words, ", ")
}

// nearest returns the sentences that share the most words with a step.
func nearest(text string, sentences []sentence) []string {
	const shown = 3
	words := strings.Fields(strings.ToLower(quotedText.ReplaceAllString(text, `""`)))
	score := func(s sentence) int {
		theirs := strings.Fields(strings.ToLower(quotedText.ReplaceAllString(s.example, `""`)))
		common := 0
		for _, word := range theirs {
			if slices.Contains(words, word) {
				common++
			}
		}
		return 2*common - len(theirs) - len(words)
	}
	sorted := slices.Clone(sentences)
	slices.SortStableFunc(sorted, func(a, b sentence) int { return score(b) - score(a) })
	var examples []string
	for _, s := range sorted[:shown] {
		examples = append(examples, s.example)
	}
	return examples
}

var quotedText = regexp.MustCompile(`"[^"]*"`)
