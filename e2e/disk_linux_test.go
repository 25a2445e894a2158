package e2e_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/status"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
)

// smallDisk mounts a file system of its own, which needs root or a machine that
// lets everybody mount: CI has it.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	folder := t.TempDir()
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("no file system can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(folder, 0); err != nil {
			t.Error(err)
		}
	})
	return folder
}

// TestAFullDiskLosesNothing fills the disk of the store under load. Whoever sends
// a command is told, nothing that was acknowledged is lost, and when there is room
// again everything goes on by itself.
func TestAFullDiskLosesNothing(t *testing.T) {
	disk := smallDisk(t, "6m")
	ballast := filepath.Join(disk, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	project := killProject(t, fmt.Sprintf("storage: {sqlite: {path: %q}}\n", filepath.Join(disk, "dev.db")))
	d := startDev(t, project, freePorts(t))
	commands := pb.NewAggregateCoordinatorClient(d.dial(d.ports.aggregate))
	clients := make([]*writer, 4)
	send := func(ctx context.Context) {
		var working sync.WaitGroup
		for _, client := range clients {
			working.Go(func() { client.work(ctx, commands) })
		}
		working.Wait()
	}
	for i := range clients {
		clients[i] = &writer{name: fmt.Sprint("client-", i)}
	}
	filling, enough := context.WithTimeout(t.Context(), 2*time.Minute)
	defer enough()
	send(filling)
	if filling.Err() != nil {
		t.Fatal("the disk does not fill")
	}
	_, err := commands.Handle(t.Context(), &pb.CommandBook{
		Cover: &pb.Cover{Domain: "source", AggregateId: "other"}, Pages: []*pb.CommandPage{{Command: large()}},
	})
	if err == nil || !strings.Contains(status.Convert(err).Message(), "full") {
		t.Errorf("on a full disk a command got %v", err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	before := clients[0].sent
	for deadline := time.Now().Add(time.Minute); clients[0].sent < before+5; {
		if time.Now().After(deadline) {
			t.Fatalf("with room again there are no more than %d commands after %d:\n%s", clients[0].sent, before, tail(d.output.String()))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond) // or it is full again
		send(ctx)
		cancel()
	}
	checkAll(t, d, project, clients)
	if t.Failed() {
		letters, said, _ := cli(project, "dlq", "list")
		t.Log(letters, said, d.output)
	}
}
