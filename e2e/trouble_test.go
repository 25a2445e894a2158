package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/anypb"

	"github.com/angz-dev/angz/emulator/control"
	"github.com/angz-dev/angz/emulator/supervise"
	pb "github.com/angz-dev/angz/proto/angzarrpb"
)

// flood is how much a service says that cannot stop.
const flood = 100 << 20

// misbehave does what services should not do and reports whether it was asked to.
// Those that come back from it serve as an aggregate.
func misbehave(name string) bool {
	switch name {
	case "crashing":
		fmt.Println("I cannot go on")
		os.Exit(3)
	case "deaf":
		signal.Ignore(syscall.SIGTERM)
		time.AfterFunc(time.Second, func() { signal.Ignore(syscall.SIGTERM) }) // after play has listened for it
	case "late":
		time.Sleep(7 * time.Second)
	case "parent":
		child := exec.Command(os.Args[0], "orphan")
		child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := child.Start(); err != nil {
			panic(err)
		}
	case "orphan":
		signal.Ignore(syscall.SIGTERM, syscall.SIGHUP)
		time.Sleep(time.Hour)
	case "flooding":
		go func() {
			line := append(bytes.Repeat([]byte("flood "), 200), '\n')
			for sent := 0; sent < flood; sent += len(line) {
				_, _ = os.Stdout.Write(line)
			}
			fmt.Println("the flood is over")
		}()
	case "binary":
		_, _ = os.Stdout.Write(bytes.Repeat([]byte{0, 1, 27, '[', '2', 'J', 255, 254, '\n'}, 1000))
	default:
		return false
	}
	return true
}

// TestMisbehavingServicesDisturbNobody runs one of each bad kind beside a good
// one, which has to serve all the time.
func TestMisbehavingServicesDisturbNobody(t *testing.T) {
	folder := t.TempDir()
	text := "domains:\n" + played(t, "good", "aggregate")
	for _, name := range []string{"crashing", "deaf", "late", "parent", "flooding", "binary"} {
		text += played(t, name, name)
	}
	writeProject(t, folder, text)
	d := launchDev(t, folder, freePorts(t))
	t.Cleanup(d.stop)
	var client *control.Client
	if found := settled(t, 1, func() []string {
		var err error
		if client, err = control.Find(folder); err != nil {
			return nil
		}
		return []string{folder}
	}); len(found) == 0 {
		t.Fatalf("angz dev does not come up:\n%s", d.output)
	}
	defer client.Close()
	w := &workshop{dev: d, folder: folder, control: client}
	w.until("the good service is ready", func(s control.Status) bool { return service(s, "good").State == supervise.Ready })

	// Commands go through, other terminals are answered, memory is bounded.
	commands := pb.NewAggregateCoordinatorClient(d.dial(d.ports.aggregate))
	largest := 0
	over := func() bool {
		text, _ := os.ReadFile(filepath.Join(folder, ".angz", "logs", "flooding.log"))
		return bytes.Contains(text, []byte("the flood is over"))
	}
	sent := 0
	for deadline := time.Now().Add(2 * time.Minute); !over(); {
		if time.Now().After(deadline) {
			t.Fatalf("the flood does not end:\n%s", tail(d.output.String()))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		if _, err := commands.Handle(ctx, &pb.CommandBook{
			Cover: &pb.Cover{Domain: "good", AggregateId: "a"}, AutoResequence: true,
			Pages: []*pb.CommandPage{{Command: &anypb.Any{TypeUrl: "e2e.Do"}}},
		}); err != nil {
			t.Errorf("a command failed: %v", err)
		}
		sent++
		if _, err := client.Status(ctx); err != nil {
			t.Errorf("angz ps would fail: %v", err)
		}
		cancel()
		largest = max(largest, residentKiB(t, d.process.Process.Pid))
	}
	t.Logf("%d commands during a flood of %d MiB; angz had at most %d MiB", sent, flood>>20, largest>>10)
	if largest > 250<<10 {
		t.Errorf("angz grew to %d MiB", largest>>10)
	}
	if size := folderSize(t, filepath.Join(folder, ".angz", "logs")); size > 60<<20 {
		t.Errorf("the logs take %d MiB", size>>20)
	}

	// Each of them is spoken of.
	crashing := service(w.until("the crash is known", func(s control.Status) bool { return service(s, "crashing").State == supervise.Died }), "crashing")
	if crashing.Problem != "exit status 3" || !strings.Contains(strings.Join(crashing.Tail, "\n"), "I cannot go on") {
		t.Errorf("the crash is not explained: %+v", crashing)
	}
	w.awaitOutput("late is not ready yet")
	w.until("the late one is ready", func(s control.Status) bool { return service(s, "late").State == supervise.Ready })
	if _, said, code := cli(folder, "restart", "deaf"); code != 0 {
		t.Errorf("angz restart deaf: %d\n%s", code, said)
	}
	w.awaitOutput("deaf did not stop when it was asked to (SIGTERM) and was killed")
	if strings.Contains(d.output.String(), "\x1b[2J") {
		t.Error("a service has cleared the screen")
	}
	// The end of the test sees to it that nothing is left, of the orphan neither.
}

func folderSize(t *testing.T, folder string) (size int64) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	return size
}
