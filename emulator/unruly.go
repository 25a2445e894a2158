package emulator

import (
	"github.com/angz-dev/angz/emulator/chaos"
	"github.com/angz-dev/angz/runtime/node"
	"github.com/angz-dev/angz/runtime/observe"
)

// newChaos prepares the faults of this run; nil for none.
func (e *emulation) newChaos() *chaos.Chaos {
	if e.options.Chaos == nil {
		return nil
	}
	options := *e.options.Chaos
	options.Logger = observe.Component(e.log.logger, "chaos")
	options.Restart = func(component, _ string) {
		for _, service := range e.current().services {
			if service.component() == component {
				e.group.Kill(service.label)
			}
		}
	}
	return chaos.New(options)
}

// component returns what the runtime calls the service.
func (s plannedService) component() string { return kindNames[s.kind] + "/" + s.config.Name }

// disturb has a node suffer the faults, if there are to be any.
func (e *emulation) disturb(options *node.Options) {
	if e.chaos == nil {
		return
	}
	options.Bus = func(good node.Bus) node.Bus { return e.chaos.Bus(good) }
	options.Calls = e.chaos.Calls
}

// confess says what was done to the project.
func (e *emulation) confess() {
	if e.chaos != nil {
		e.log.print("\n" + e.chaos.Summary().String() + "\n")
	}
}
