package features_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cucumber/godog"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/types/known/anypb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/runtimetest"
)

const someService = `(business logic of|projector|saga) "([^"]*)"`

// serviceSteps are the sentences about the user's services.
func (w *world) serviceSteps(steps *godog.ScenarioContext) {
	steps.Step(`^a domain "([^"]*)"$`, func(name string) { w.domain(name) })
	steps.Step(`^a domain "([^"]*)" whose service (.+)$`, w.domainWith)
	steps.Step(`^on "([^"]*)" the business logic of "([^"]*)" (.+)$`, w.businessLogicOn)
	steps.Step(`^the `+someService+` is held$`, w.with((*standIn).hold))
	steps.Step(`^the `+someService+` is released$`, w.with((*standIn).release))
	steps.Step(`^the `+someService+` is at work$`, w.isAtWork)
	steps.Step(`^the `+someService+` is down$`, w.isDown)
	steps.Step(`^the `+someService+` is up again$`, w.with(func(s *standIn) { s.service.Start() }))
	steps.Step(`^the business logic of "([^"]*)" may take (\w+)$`, w.mayTake)
	steps.Step(`^the health of the (gateway|aggregate|query|stream) comes to be (SERVING|NOT_SERVING)$`, w.healthComesToBe)
	steps.Step(`^the call of the `+someService+` is given up$`, w.callIsGivenUp)
	steps.Step(`^the business logic receives the command with (\d+) prior events?$`, w.receivesPriorEvents)
	steps.Step(`^the business logic receives the command with a snapshot at (\d+) and (\d+) later events?$`, w.receivesSnapshot)
	steps.Step(`^the business logic receives the command with (\d+) pages$`, w.receivesPages)
	steps.Step(`^the business logic of "([^"]*)" has been called (\d+) times?$`, w.calledTimes)
	steps.Step(`^the business logic of "([^"]*)" has received no "([^"]*)"$`, w.receivedNone)
}

// domain returns the stand-in for a domain, a well-behaved one unless the
// scenario has said otherwise.
func (w *world) domain(name string) *standIn {
	if known, err := find(w.domains, name); err == nil {
		return known
	}
	return w.addDomain(name, runtimetest.CountsPages)
}

func (w *world) addDomain(name string, rules runtimetest.Rules, options ...runtimetest.Option) *standIn {
	added := newStandIn("business logic of", name, w.happen)
	added.rules[""] = rules
	added.service = runtimetest.Aggregate(w.t, added.decide, options...)
	w.domains = append(w.domains, added)
	return added
}

func (w *world) domainWith(name, manner string) error {
	if options, ok := serving[manner]; ok {
		w.addDomain(name, runtimetest.CountsPages, options)
		return nil
	}
	rules, err := rulesFor(manner)
	if err != nil {
		return err
	}
	w.addDomain(name, rules)
	return nil
}

func (w *world) businessLogicOn(command, domain, manner string) error {
	rules, err := rulesFor(manner)
	if err != nil {
		return err
	}
	service := w.domain(domain)
	service.mu.Lock()
	defer service.mu.Unlock()
	service.rules[command] = rules
	return nil
}

// with turns something that can be done to a stand-in into a step.
func (w *world) with(do func(*standIn)) func(kind, name string) error {
	return func(kind, name string) error {
		service, err := w.service(kind, name)
		if err == nil {
			do(service)
		}
		return err
	}
}

func (w *world) isAtWork(kind, name string) error {
	service, err := w.service(kind, name)
	if err != nil {
		return err
	}
	return w.until(service.isAtWork)
}

// isDown stops a service behind the back of a node that runs.
func (w *world) isDown(kind, name string) error {
	if err := w.start(); err != nil {
		return err
	}
	return w.with(func(s *standIn) { s.service.Stop() })(kind, name)
}

func (w *world) callIsGivenUp(kind, name string) error {
	service, err := w.service(kind, name)
	if err != nil {
		return err
	}
	return w.until(func() error {
		service.mu.Lock()
		defer service.mu.Unlock()
		if service.cancelled == 0 {
			return fmt.Errorf("%s %q still works for the caller", kind, name)
		}
		return nil
	})
}

// mayTake limits how long the service has for one call.
func (w *world) mayTake(domain, text string) (err error) {
	service := w.domain(domain)
	configured := w.configs[service.kind+service.name]
	configured.Timeout, err = time.ParseDuration(text)
	w.configs[service.kind+service.name] = configured
	return err
}

func (w *world) healthComesToBe(role, wanted string) error {
	conn, err := w.door(role)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	stream, err := healthpb.NewHealthClient(conn).Watch(ctx, &healthpb.HealthCheckRequest{})
	if err != nil {
		return err
	}
	for {
		health, err := stream.Recv()
		if err != nil || health.Status.String() == wanted {
			return err
		}
	}
}

// isAtWork says what is missing while nobody waits for the stand-in's answer.
func (s *standIn) isAtWork() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.atWork == 0 {
		return fmt.Errorf("the %s %q is not at work", s.kind, s.name)
	}
	return nil
}

// newest returns the history that the newest command's service received.
func (w *world) newest() (*pb.ContextualCommand, error) {
	if len(w.outcomes) == 0 {
		return nil, errors.New("the scenario has sent no command")
	}
	sent := w.outcomes[len(w.outcomes)-1]
	service, err := find(w.domains, sent.key.Domain)
	if err != nil {
		return nil, err
	}
	<-sent.done
	requests := service.requests("")
	if len(requests) == 0 {
		return nil, errors.New("the business logic has not been called")
	}
	return requests[len(requests)-1], nil
}

func (w *world) receivesPriorEvents(count int) error {
	request, err := w.newest()
	if err != nil {
		return err
	}
	if request.Events.Snapshot != nil {
		return fmt.Errorf("the history is shortened by a snapshot at %d", request.Events.Snapshot.Sequence)
	}
	return consecutive(request.Events.Pages, 0, count)
}

func (w *world) receivesSnapshot(sequence, count int) error {
	request, err := w.newest()
	if err != nil {
		return err
	}
	if request.Events.Snapshot == nil {
		return fmt.Errorf("no snapshot, but %d events", len(request.Events.Pages))
	}
	if found := int(request.Events.Snapshot.Sequence); found != sequence {
		return fmt.Errorf("the snapshot is at %d", found)
	}
	return consecutive(request.Events.Pages, sequence+1, count)
}

func (w *world) receivesPages(count int) error {
	request, err := w.newest()
	if err != nil {
		return err
	}
	if found := len(request.Command.Pages); found != count {
		return fmt.Errorf("the command has %d pages", found)
	}
	return nil
}

func (w *world) calledTimes(domain string, times int) error {
	service, err := find(w.domains, domain)
	if err != nil {
		return err
	}
	if found := len(service.requests("")); found != times {
		return fmt.Errorf("it has been called %d times", found)
	}
	return nil
}

func (w *world) receivedNone(domain, command string) error {
	service, err := find(w.domains, domain)
	if err != nil {
		return err
	}
	if found := service.requests(command); len(found) > 0 {
		return fmt.Errorf("it has received %v", found[0])
	}
	return nil
}

// consecutive checks that pages are numbered from first, and how many they are.
func consecutive(pages []*pb.EventPage, first, count int) error {
	if len(pages) != count {
		return fmt.Errorf("there are %d events", len(pages))
	}
	for i, page := range pages {
		if int(page.GetNum()) != first+i {
			return fmt.Errorf("event number %d stands where %d should", page.GetNum(), first+i)
		}
	}
	return nil
}

func anyOf(typeURL string) *anypb.Any { return &anypb.Any{TypeUrl: typeURL, Value: []byte{}} }
