package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
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
	startUp(b) // builds the service
	var took []time.Duration
	resident := 0
	for range b.N {
		first, kib := startUp(b)
		took, resident = append(took, first), max(resident, kib)
	}
	report(b, took)
	b.ReportMetric(float64(resident)/1024, "MiB-resident")
}

// startUp measures one start, and how much memory angz has after it.
func startUp(b *testing.B) (took time.Duration, resident int) {
	b.Helper()
	task, err := anypb.New(&todopb.AddTask{Title: "measure"})
	if err != nil {
		b.Fatal(err)
	}
	at, store := freePorts(b), filepath.Join(b.TempDir(), "dev.db")
	began := time.Now()
	d := launchDev(b, "../examples/quickstart", at, "ANGZARR_STORAGE__SQLITE__PATH="+store)
	defer d.stop()
	_, err = pb.NewAggregateCoordinatorClient(d.dial(at.aggregate)).Handle(b.Context(), &pb.CommandBook{
		Cover: &pb.Cover{Domain: "todo", AggregateId: "bench"}, Pages: []*pb.CommandPage{{Command: task}},
	}, grpc.WaitForReady(true))
	if err != nil {
		b.Fatalf("%v\n%s", err, d.output)
	}
	return time.Since(began), residentKiB(b, d.process.Process.Pid)
}

// report says how long something took: usually, and at best, when nothing else
// was running.
func report(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	milliseconds := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(milliseconds(took[len(took)/2]), "ms-median")
	b.ReportMetric(milliseconds(took[0]), "ms-min")
	b.ReportMetric(0, "ns/op") // would count the stops, too
}

// residentKiB reads how much memory a process has, 0 where it cannot be read.
func residentKiB(b testing.TB, pid int) int {
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
	var took []time.Duration
	for range b.N {
		began := time.Now()
		if err := exec.Command(binary, "version").Run(); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	info, err := os.Stat(binary)
	if err != nil {
		b.Fatal(err)
	}
	report(b, took)
	b.ReportMetric(float64(info.Size())/(1<<20), "MiB-binary")
}
