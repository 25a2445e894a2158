package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/angz-dev/angz/examples/quickstart/todopb"
	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"google.golang.org/protobuf/types/known/anypb"
)

// BenchmarkStartUp measures from the start of "angz dev" on the quickstart, whose
// service has been built before, to its first accepted command.
func BenchmarkStartUp(b *testing.B) {
	var resident int
	for range b.N {
		b.StopTimer()
		at, store := freePorts(b), filepath.Join(b.TempDir(), "dev.db")
		d := &dev{t: b, output: &buffer{}, ports: at, mark: "ANGZ_E2E_MARK=bench", done: make(chan struct{})}
		d.process = exec.Command(binary, "dev", "../examples/quickstart")
		d.process.Env = append(append(os.Environ(), at.environ()...), "ANGZARR_STORAGE__SQLITE__PATH="+store, d.mark)
		d.process.Stdout, d.process.Stderr = d.output, d.output
		commands := pb.NewAggregateCoordinatorClient(d.dial(at.aggregate))
		task, err := anypb.New(&todopb.AddTask{Title: "measure"})
		if err != nil {
			b.Fatal(err)
		}
		command := &pb.CommandBook{
			Cover: &pb.Cover{Domain: "todo", AggregateId: "bench"}, Pages: []*pb.CommandPage{{Command: task}}, AutoResequence: true,
		}
		b.StartTimer()
		if err := d.process.Start(); err != nil {
			b.Fatal(err)
		}
		for {
			// The client's own back-off would be measured otherwise.
			if _, err = commands.Handle(b.Context(), command, grpc.WaitForReady(false)); err == nil {
				break
			}
			commands = pb.NewAggregateCoordinatorClient(d.dial(at.aggregate))
			time.Sleep(2 * time.Millisecond)
		}
		b.StopTimer()
		resident = max(resident, residentKiB(b, d.process.Process.Pid))
		if err := d.process.Process.Signal(syscall.SIGTERM); err != nil {
			b.Fatal(err)
		}
		if err := d.process.Wait(); err != nil {
			b.Fatalf("%v\n%s", err, d.output)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/start")
	b.ReportMetric(float64(resident)/1024, "MiB-resident")
}

// residentKiB reads how much memory a process has, 0 where it cannot be read.
func residentKiB(b *testing.B, pid int) int {
	b.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0
	}
	found := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(text)
	if found == nil {
		return 0
	}
	kib, err := strconv.Atoi(string(found[1]))
	if err != nil {
		b.Fatal(err)
	}
	return kib
}

// BenchmarkVersion measures the start of a command that does next to nothing,
// and tells the size of the binary.
func BenchmarkVersion(b *testing.B) {
	for range b.N {
		if err := exec.Command(binary, "version").Run(); err != nil {
			b.Fatal(err)
		}
	}
	info, err := os.Stat(binary)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/start")
	b.ReportMetric(float64(info.Size())/(1<<20), "MiB-binary")
}
