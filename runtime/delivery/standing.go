package delivery

import (
	"context"
	"fmt"

	"github.com/angz-dev/angz/runtime/eventstore"
	"github.com/angz-dev/angz/runtime/observe"
)

// Standings asks a store how all components stand, those of other processes and
// those that do not run included. It is for observe.Metrics.Subscriptions.
func Standings(store interface {
	eventstore.Subscriptions
	eventstore.Parking
}) func(context.Context) ([]observe.Standing, error) {
	return func(ctx context.Context) ([]observe.Standing, error) {
		positions, err := store.Positions(ctx)
		if err != nil {
			return nil, fmt.Errorf("ask how components stand: %w", err)
		}
		standings := slowest(positions)
		for i := range standings {
			blocked, err := store.Blocked(ctx, standings[i].Component)
			if err != nil {
				return nil, fmt.Errorf("ask which aggregates are blocked: %w", err)
			}
			standings[i].Blocked = len(blocked)
		}
		return standings, nil
	}
}

// slowest returns for each subscription the slice that is furthest behind. The
// positions are in the order of names.
func slowest(positions []eventstore.Position) []observe.Standing {
	var standings []observe.Standing
	for _, p := range positions {
		last := len(standings) - 1
		if last < 0 || standings[last].Component != p.Name {
			standings = append(standings, observe.Standing{Component: p.Name, Position: p.Position, UpdatedAt: p.UpdatedAt})
			continue
		}
		if p.Position < standings[last].Position {
			standings[last].Position, standings[last].UpdatedAt = p.Position, p.UpdatedAt
		}
	}
	return standings
}
