package e2e_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// cli runs angz in a folder.
func cli(folder string, words ...string) (stdout, stderr string, code int) {
	command := exec.Command(binary, words...)
	command.Dir = folder
	var out, err strings.Builder
	command.Stdout, command.Stderr = &out, &err
	_ = command.Run() // how it ended is read from its state
	return out.String(), err.String(), command.ProcessState.ExitCode()
}

// answers returns where the roles of a folder's project answer, as angz ps says.
func answers(t *testing.T, folder string) map[string]string {
	t.Helper()
	out, said, code := cli(folder, "ps", "--output", "json")
	if code != 0 {
		t.Fatalf("angz ps: %d\n%s", code, said)
	}
	var status struct {
		Endpoints []struct{ Role, Address string }
	}
	if err := json.Unmarshal([]byte(out), &status); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	at := map[string]string{}
	for _, endpoint := range status.Endpoints {
		at[endpoint.Role] = endpoint.Address
	}
	return at
}

func TestTwoProjectsRunSideBySide(t *testing.T) {
	t.Parallel()
	ports := freePorts(t)
	var at []map[string]string
	var folders []string
	for _, flags := range [][]string{nil, {"--ports", "auto"}} {
		folder := terminalProject(t)
		command := exec.Command(binary, append([]string{"dev", folder, "--detach", "--wait", "1m"}, flags...)...)
		command.Env = append(os.Environ(), ports.environ()...)
		if output, err := command.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, output)
		}
		t.Cleanup(func() {
			if _, said, code := cli(folder, "stop"); code != 0 {
				t.Errorf("angz stop: %d\n%s", code, said)
			}
		})
		folders, at = append(folders, folder), append(at, answers(t, folder))
	}
	if want := fmt.Sprintf("127.0.0.1:%d", ports.gateway); at[0]["gateway"] != want {
		t.Errorf("the first gateway is at %s, want %s", at[0]["gateway"], want)
	}
	for role, address := range at[0] {
		if at[1][role] == "" || at[1][role] == address {
			t.Errorf("both projects have their %s at %q", role, address)
		}
	}
	// Whoever works in a folder reaches that folder's project.
	for i, text := range []string{"first", "second"} {
		send(t, folders[i], text)
	}
	for i, want := range []string{"first", "second"} {
		out, said, code := cli(folders[i], "events", "order", "o-1", "--output", "json")
		bytes := base64.StdEncoding.EncodeToString([]byte("\n" + string(rune(len(want))) + want))
		if code != 0 || strings.Count(out, "\n") != 1 || !strings.Contains(out, bytes) {
			t.Errorf("the events of the %s project: %d\n%s\n%s", want, code, out, said)
		}
	}
}

// send sends a command to an aggregate of a terminalProject.
func send(t *testing.T, folder, text string) {
	t.Helper()
	if out, said, code := cli(folder, "send", "order", "o-1", "Place", fmt.Sprintf(`{"text": %q}`, text)); code != 0 {
		t.Fatalf("angz send: %d\n%s%s", code, out, said)
	}
}

func TestAProjectRunsOnce(t *testing.T) {
	t.Parallel()
	folder := terminalProject(t)
	first := startDev(t, folder, freePorts(t))
	second := exec.Command(binary, "dev", folder)
	second.Env = append(os.Environ(), freePorts(t).environ()...)
	output, err := second.CombinedOutput()
	if second.ProcessState.ExitCode() != 1 {
		t.Errorf("the second angz dev ended with %v", err)
	}
	for _, want := range []string{"runs already", fmt.Sprint("process ", first.process.Process.Pid), "angz stop"} {
		if !strings.Contains(string(output), want) {
			t.Errorf("it does not say %q:\n%s", want, output)
		}
	}
}
