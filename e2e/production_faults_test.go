package e2e_test

import (
	"testing"

	"github.com/angz-dev/angz/runtime/servertest"
)

// The servers of this test process, started when a test first wants them.
var (
	postgres = servertest.NewDurablePostgres()
	rabbit   = servertest.NewRabbit()
)

// production returns a plant that runs, over a database of its own and the broker
// of the process.
func production(t *testing.T) *plant {
	t.Helper()
	rabbit.Begin() // it takes long
	p := newPlant(t, plantOptions{database: postgres.Use(t), broker: rabbit.Use(t)})
	p.begin()
	return p
}

// TestProductionWithoutFaults is what the others are compared with.
func TestProductionWithoutFaults(t *testing.T) {
	p := production(t)
	load := p.startLoad("calm", writers)
	within(30e9, 1, func() []string {
		if load.acknowledged() > 2000 {
			return []string{"enough"}
		}
		return nil
	})
	p.settle(load)
	if text := load.failures.String(); text != "" {
		t.Errorf("without any fault clients were told: %s", text)
	}
}
