package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/angz-dev/angz/emulator/supervise"
)

// hopelessStarts is how often a service may be started without success before
// nobody waits for it any more.
const hopelessStarts = 3

// Unready says which services have not become ready, and why.
type Unready struct {
	Services []Service
	Late     bool // the time was up; else there is no hope
}

// Error tells of each service, with its last lines.
func (e *Unready) Error() string {
	if len(e.Services) == 0 {
		return "the runtime has not reached the services yet"
	}
	var parts []string
	for _, service := range e.Services {
		parts = append(parts, service.trouble())
	}
	return strings.Join(parts, "\n")
}

// trouble says what keeps a service from being ready, in several lines.
func (s Service) trouble() string {
	text := fmt.Sprintf("%s is not ready: %s", s.Name, s.State)
	switch {
	case s.State.Serves():
		text = s.Name + " goes on with the code from before"
	case s.Starts > 1:
		text += fmt.Sprintf(", started %d times", s.Starts)
	}
	if s.Problem != "" {
		text += ": " + s.Problem
	}
	if s.Elsewhere && s.Problem == "" {
		text += ": you start it, and nothing answers at " + s.Address
	}
	for _, line := range s.Tail {
		text += "\n  | " + line
	}
	return text
}

// AwaitReady waits until the whole project is ready and returns how it is doing.
// It fails with *Unready when the context's time is up, and at once when a
// service cannot become ready by itself.
func (c *Client) AwaitReady(ctx context.Context) (Status, error) {
	return c.await(ctx, func(now Status) (bool, error) {
		if now.Ready {
			return true, nil
		}
		for _, service := range now.Services {
			if service.isHopeless(Service{}) {
				return false, &Unready{Services: now.unready()}
			}
		}
		return false, nil
	})
}

// AwaitRestarted waits until services, all of them if none is named, are ready
// after having been started once more than before. It fails as AwaitReady does.
func (c *Client) AwaitRestarted(ctx context.Context, before Status, names []string) (Status, error) {
	return c.await(ctx, func(now Status) (bool, error) {
		var waiting, lost []Service
		for _, service := range now.Services {
			if service.Elsewhere || len(names) > 0 && !slices.Contains(names, service.Name) {
				continue
			}
			was := before.service(service.Name)
			switch {
			case service.State == was.State && service.Since.Equal(was.Since):
				waiting = append(waiting, service) // it has not been begun with
			case service.isHopeless(was):
				lost = append(lost, service)
			case service.State != supervise.Ready || service.Starts <= was.Starts:
				waiting = append(waiting, service)
			}
		}
		if len(lost) > 0 {
			return false, &Unready{Services: lost}
		}
		return len(waiting) == 0, nil
	})
}

// await returns the first status that is done. When the context's time is up it
// says what was not ready then.
func (c *Client) await(ctx context.Context, done func(Status) (bool, error)) (Status, error) {
	var last Status
	for now, err := range c.Watch(ctx) {
		if errors.Is(err, context.DeadlineExceeded) {
			return last, &Unready{Services: last.unready(), Late: true}
		}
		if err != nil {
			return last, err
		}
		last = now
		if ready, err := done(now); ready || err != nil {
			return now, err
		}
	}
	return last, ErrEnded
}

// unready returns the services that are not ready.
func (s Status) unready() []Service {
	return slices.DeleteFunc(slices.Clone(s.Services), func(each Service) bool { return each.State == supervise.Ready })
}

// service returns the service of a name, an empty one if there is none.
func (s Status) service(name string) Service {
	for _, service := range s.Services {
		if service.Name == name {
			return service
		}
	}
	return Service{}
}

// isHopeless reports whether it would take a person to make the service ready,
// which was like that before.
func (s Service) isHopeless(before Service) bool {
	switch s.State {
	case supervise.BuildFailed, supervise.Outdated, supervise.Stopped:
		return true
	case supervise.Died:
		return s.Starts-before.Starts >= hopelessStarts
	}
	return false
}
