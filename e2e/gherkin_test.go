package e2e_test

import (
	"encoding/xml"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestFeaturesOfTheExamples runs what the examples bring, beside each other.
func TestFeaturesOfTheExamples(t *testing.T) {
	t.Parallel()
	for _, folder := range []string{"../examples/quickstart", "../examples/shop"} {
		t.Run(filepath.Base(folder), func(t *testing.T) {
			t.Parallel()
			out, said, code := cli(folder, "test", "--format", "progress", "--random-order")
			if code != 0 || !regexp.MustCompile(`\d+ scenarios \(\d+ passed\)`).MatchString(out) {
				t.Errorf("exit code %d\n%s%s", code, out, said)
			}
		})
	}
}

// TestFeaturesThatFail sees what is said about them.
func TestFeaturesThatFail(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	write(t, filepath.Join(folder, "wrong.feature"), `Feature: wrong
  Scenario: another title
    When I send an "AddTask" command for aggregate "a" in domain "todo":
      | title |
      | milk  |
    Then the events are:
      | event_type | title |
      | TaskAdded  | tea   |
  Scenario: nobody speaks of the refusal
    When I send an "AddTask" command for aggregate "a" in domain "todo"
  Scenario: another field
    When I send an "AddTask" command for aggregate "a" in domain "todo":
      | titel |
      | milk  |
  Scenario: another message
    When I send an "AddTsk" command for aggregate "a" in domain "todo"
  Scenario: another number
    Given prior events for aggregate "a" in domain "todo":
      | sequence | event_type | title |
      | 3        | TaskAdded  | milk  |
    Then 1 event total exists for aggregate "a"
`, 0o600)
	out, said, code := cli("../examples/quickstart", "test", folder)
	if code != 1 {
		t.Fatalf("exit code %d, want 1\n%s%s", code, out, said)
	}
	for _, want := range []string{
		`title: found "milk", expected "tea"`, `the last command was refused, and no step says so: INVALID_ARGUMENT "A task needs a title"`,
		`AddTask has no field "titel", expected one of title`, `no type is called "AddTsk"`, `sequence: found "3", expected 0`, "5 scenarios (5 failed)",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("nothing says %s:\n%s%s", want, out, said)
		}
	}
	if strings.Contains(out, ".go:") {
		t.Errorf("the report speaks of angz's own code:\n%s", out)
	}
}

// TestReports reads the report that CI servers read.
func TestReports(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "report.xml")
	if out, said, code := cli("../examples/quickstart", "test", "--format", "junit", "--output-file", file, "features/todo.feature:3"); code != 0 || out != "" {
		t.Fatalf("exit code %d\n%s%s", code, out, said)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var report struct {
		Tests int `xml:"tests,attr"`
		Suite []struct {
			Case []struct {
				Name string `xml:"name,attr"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(content, &report); err != nil || report.Tests != 1 || report.Suite[0].Case[0].Name != "A task is added" {
		t.Errorf("the report is %+v, %v\n%s", report, err, content)
	}
}

// BenchmarkHundredScenarios runs a hundred scenarios against a service that is
// started for it.
func BenchmarkHundredScenarios(b *testing.B) {
	folder := b.TempDir()
	content, err := os.ReadFile("../examples/quickstart/features/todo.feature")
	if err != nil {
		b.Fatal(err)
	}
	for i := range 25 {
		if err := os.WriteFile(filepath.Join(folder, string(rune('a'+i))+".feature"), content, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		command := exec.Command(binary, "test", "--format", "progress", folder)
		command.Dir = "../examples/quickstart"
		output, err := command.CombinedOutput()
		if err != nil {
			b.Fatalf("%v\n%s", err, output)
		}
		took := regexp.MustCompile(`(?m)^[\d.]+m?s$`).Find(output)
		b.Logf("the scenarios themselves: %s", took)
	}
}
