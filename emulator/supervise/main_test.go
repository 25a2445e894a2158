//go:build unix

package supervise_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/angz-dev/angz/emulator/supervise"
)

// The test binary plays all processes: which one, it is told by this variable,
// and where to listen by the other.
const (
	roleVariable    = "SUPERVISE_TEST_ROLE"
	addressVariable = "SUPERVISE_TEST_ADDRESS"
)

func TestMain(m *testing.M) {
	// The guardian is started without an environment.
	if len(os.Args) == 2 && os.Args[1] == "guard" {
		if err := supervise.Guard(os.Stdin); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	if role := os.Getenv(roleVariable); role != "" {
		play(role)
		return
	}
	os.Exit(m.Run())
}

// play is the life of a process that the test binary plays.
func play(role string) {
	switch role {
	case "healthy":
		serve(healthpb.HealthCheckResponse_SERVING)
	case "late":
		fmt.Println("warming up")
		serve(healthpb.HealthCheckResponse_NOT_SERVING)
	case "plain":
		serveOn(grpc.NewServer())
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		serve(healthpb.HealthCheckResponse_SERVING)
	case "deaf":
		signal.Ignore(syscall.SIGTERM)
		select {}
	case "parent", "deserter":
		offspring(role == "deserter")
		serve(healthpb.HealthCheckResponse_SERVING)
	case "crash":
		crash()
	case "unfinished":
		fmt.Print("last words")
	case "flood":
		flood()
	case "supervisor":
		superviseAll()
	default:
		panic("no such role: " + role)
	}
}

// serve runs a service with this health. A SIGHUP makes it well.
func serve(state healthpb.HealthCheckResponse_ServingStatus) {
	server, checks := grpc.NewServer(), health.NewServer()
	checks.SetServingStatus("", state)
	healthpb.RegisterHealthServer(server, checks)
	well := make(chan os.Signal, 1)
	signal.Notify(well, syscall.SIGHUP)
	go func() { <-well; checks.SetServingStatus("", healthpb.HealthCheckResponse_SERVING) }()
	serveOn(server)
}

func serveOn(server *grpc.Server) {
	address, network := os.Getenv(addressVariable), "tcp"
	if strings.HasPrefix(address, "/") {
		network = "unix"
	}
	listener, err := net.Listen(network, address)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	if err := server.Serve(listener); err != nil {
		os.Exit(1)
	}
}

// offspring starts a process that does not want to end and keeps the output
// open; one that leaves also goes out of reach of its process group.
func offspring(leaves bool) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleVariable+"=deaf")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: leaves}
	if err := cmd.Start(); err != nil {
		panic(err)
	}
	fmt.Println("offspring", cmd.Process.Pid)
}

func crash() {
	for i := range 12 {
		fmt.Println("line", i)
	}
	os.Exit(3)
}

// flood prints what no service should, then serves.
func flood() {
	_, _ = os.Stdout.Write(bytes.Repeat([]byte("x"), floodBytes))
	_, _ = os.Stderr.Write([]byte("\n\x00\xff\x1b[2J garbage\nend of the flood\n"))
	serve(healthpb.HealthCheckResponse_SERVING)
}

const floodBytes = 3 << 20

// superviseAll is an angz that is going to be killed: it runs a service of each
// hard kind, in the folder it is given, and says when all are ready.
func superviseAll() {
	var specs []supervise.Spec
	for _, role := range []string{"healthy", "parent", "deserter", "stubborn"} {
		specs = append(specs, spec(role, os.Getenv(addressVariable)+"/"+role))
	}
	ready := 0
	_ = supervise.New(supervise.Options{
		Environ: os.Environ(), Guard: []string{os.Args[0], "guard"}, Logger: slog.New(slog.DiscardHandler),
		OnChange: func(status supervise.Status) {
			if status.State == supervise.Ready {
				if ready++; ready == len(specs) {
					fmt.Println("all ready")
				}
			}
		},
	}).Run(context.Background(), specs)
}

// spec describes a service that the test binary plays.
func spec(role, address string) supervise.Spec {
	return supervise.Spec{
		Name: role, Dir: os.TempDir(), Address: address, Run: supervise.Command{Argv: []string{os.Args[0]}},
		Env: []string{roleVariable + "=" + role, addressVariable + "=" + address},
	}
}
