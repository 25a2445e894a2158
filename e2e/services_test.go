package e2e_test

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/book"
)

// played is the configuration of a service that this test binary plays.
func played(t *testing.T, name, as string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("  - name: %s\n    run: [%q, %q]\n", name, self, as)
}

// writeProject makes a project of a folder.
func writeProject(t *testing.T, folder, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(folder, "angz.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// play is the main function of a user's service.
func play(name string) {
	server := grpc.NewServer()
	healthpb.RegisterHealthServer(server, health.NewServer())
	if misbehave(name) {
		name = "aggregate"
	}
	switch name {
	case "aggregate":
		pb.RegisterAggregateServer(server, echo{})
	case "saga":
		pb.RegisterSagaServer(server, copier{})
	case "projector":
		pb.RegisterProjectorServer(server, openLines(os.Getenv("LINES")))
	default:
		fmt.Fprintf(os.Stderr, "there is no service %q to play\n", name)
		os.Exit(2)
	}
	network, address := listenAt()
	listener, err := net.Listen(network, address)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go func() {
		<-stop
		server.GracefulStop()
	}()
	if err := server.Serve(listener); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// listenAt follows the variables of the wire contract.
func listenAt() (network, address string) {
	if os.Getenv("TRANSPORT_TYPE") != "uds" {
		return "tcp", "127.0.0.1:" + os.Getenv("PORT")
	}
	name := cmp.Or(os.Getenv("DOMAIN"), os.Getenv("SAGA_NAME"), os.Getenv("PROJECTOR_NAME"))
	path := filepath.Join(os.Getenv("UDS_BASE_PATH"), os.Getenv("SERVICE_NAME")+"-"+name+".sock")
	_ = os.Remove(path) // of a predecessor that was killed
	return "unix", path
}

// echo stores every command's bytes as an event's.
type echo struct {
	pb.UnimplementedAggregateServer
}

func (echo) Handle(_ context.Context, request *pb.ContextualCommand) (*pb.BusinessResponse, error) {
	events := &pb.EventBook{Cover: request.Command.Cover}
	for _, page := range request.Command.Pages {
		events.Pages = append(events.Pages, &pb.EventPage{Event: &anypb.Any{TypeUrl: "e2e.Happened", Value: page.Command.Value}})
	}
	return &pb.BusinessResponse{Result: &pb.BusinessResponse_Events{Events: events}}, nil
}

// copier sends every event of the domain "source" to the domain "target".
type copier struct{ pb.UnimplementedSagaServer }

func (copier) Handle(_ context.Context, events *pb.EventBook) (*pb.SagaResponse, error) {
	response := &pb.SagaResponse{}
	for _, page := range events.Pages {
		response.Commands = append(response.Commands, &pb.CommandBook{
			Cover:          &pb.Cover{Domain: "target", Root: events.Cover.Root},
			Pages:          []*pb.CommandPage{{Command: &anypb.Any{TypeUrl: "e2e.Copy", Value: line(events, page)}}},
			AutoResequence: true,
		})
	}
	return response, nil
}

func line(events *pb.EventBook, page *pb.EventPage) []byte {
	return fmt.Appendf(nil, "%x/%d/%s", events.Cover.Root.Value, page.GetNum(), page.Event.Value)
}

// poison is what no read model can take.
const poison = "poison"

// lines is a read model in a file: a line for each event, once.
type lines struct {
	pb.UnimplementedProjectorServer
	mu   sync.Mutex
	file *os.File
	seen map[string]bool
}

func openLines(path string) *lines {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		panic(err)
	}
	l := &lines{file: file, seen: map[string]bool{}}
	for scanner := bufio.NewScanner(file); scanner.Scan(); {
		l.seen[scanner.Text()] = true
	}
	return l
}

func (l *lines) Handle(_ context.Context, events *pb.EventBook) (*pb.Projection, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, page := range events.Pages {
		if string(page.Event.Value) == poison {
			return nil, status.Error(codes.InvalidArgument, "this event cannot be projected")
		}
		text := string(line(events, page))
		if l.seen[text] {
			continue
		}
		if _, err := l.file.WriteString(text + "\n"); err != nil {
			return nil, err
		}
		l.seen[text] = true
	}
	return &pb.Projection{Sequence: book.Last(events)}, nil
}

// Reset empties the file.
func (l *lines) Reset(context.Context, *pb.ProjectorReset) (*emptypb.Empty, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.seen)
	return &emptypb.Empty{}, l.file.Truncate(0)
}

// large returns a command that needs room.
func large() *anypb.Any { return &anypb.Any{TypeUrl: "e2e.Do", Value: make([]byte, 1<<20)} }
