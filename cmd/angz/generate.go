package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/angz-dev/angz/generate"
)

func newGenerateCommand(s streams) *cobra.Command {
	var check bool
	var output outputFormat
	cmd := &cobra.Command{
		Use:   "generate [DIR]",
		Short: "Write the code for the messages in .proto files",
		Long: "Write what services need for their messages, in each folder that generate in angz.yaml names: the\n" +
			"language's own stubs, and the code that finds the function for each command and event. Neither protoc\n" +
			"nor buf is needed. Files that stay the same are not touched. \"angz dev\" does this by itself.",
		Example: "  angz generate\n" +
			"  angz generate --check",
		Args: between(0, "DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := ""
			if len(args) > 0 {
				dir = args[0]
			}
			return runGenerate(cmd.Context(), s, dir, check, output)
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "write nothing; fail when the code is out of date")
	output.register(cmd)
	return cmd
}

func runGenerate(ctx context.Context, s streams, dir string, check bool, output outputFormat) error {
	place, err := findProject(s, dir)
	if err != nil {
		return err
	}
	if len(place.generate.Targets) == 0 {
		return usagef("%s names no folder to generate code into; expected generate: with a folder and its language, such as\n  generate:\n    go: go", printable(place.file))
	}
	work := generate.Run
	if check {
		work = generate.Plan
	}
	result, err := work(ctx, place.generate)
	if faults := (*generate.Faults)(nil); errors.As(err, &faults) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	changed := result.Changed()
	for _, step := range changed {
		fmt.Fprintf(s.err, "%s %s\n", step.Action, printable(step.File.Path))
	}
	if output.forPrograms() {
		if err := output.write(s.out, newFilesDocument(place.generate.Dir, changed, check)); err != nil {
			return err
		}
	}
	if check && len(changed) > 0 {
		return fmt.Errorf("%s out of date; run angz generate", isOrAre(len(changed), "file"))
	}
	if len(changed) == 0 {
		fmt.Fprintf(s.err, "up to date: %d files\n", len(result.Steps))
	}
	return nil
}

func isOrAre(n int, noun string) string {
	if n == 1 {
		return "1 " + noun + " is"
	}
	return fmt.Sprintf("%d %ss are", n, noun)
}

// nearestOf returns the word that somebody may have meant, empty when none is
// near.
func nearestOf(word string, words []string) string {
	for _, candidate := range words {
		if strings.HasPrefix(candidate, strings.ToLower(word)) || strings.HasPrefix(strings.ToLower(word), candidate) {
			return candidate
		}
	}
	if near := map[string]string{"golang": "go", "py": "python", "rs": "rust", "ts": "typescript", "javascript": "typescript", "js": "typescript", "node": "typescript", "c++": "cpp", "kotlin": "java"}[strings.ToLower(word)]; near != "" {
		return near
	}
	return ""
}
