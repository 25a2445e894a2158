package main

import (
	"math/rand/v2"

	"github.com/spf13/pflag"

	"github.com/angz-dev/angz/emulator/chaos"
)

// devChaos are the flags of "angz dev" that make delivery bad.
type devChaos struct {
	on   bool
	seed uint64
}

func (c *devChaos) register(flags *pflag.FlagSet) {
	flags.BoolVar(&c.on, "chaos", false, "double, drop, delay and reorder deliveries, and slow down and crash services, to see that projectors and sagas can bear it")
	flags.Uint64Var(&c.seed, "chaos-seed", 0, "what --chaos does: the same number does the same again (default: any; it is said at the end)")
}

// check reports wrong usage, and chooses a seed if none is given.
func (c *devChaos) check(flags *pflag.FlagSet) error {
	chosen := flags.Changed("chaos-seed")
	switch {
	case chosen && !c.on:
		return usagef("--chaos-seed: found it without --chaos; add --chaos, or leave --chaos-seed out")
	case c.on && !chosen:
		c.seed = rand.Uint64N(seeds)
	}
	return nil
}

// seeds is how many there are to choose from: few enough that one is remembered
// while it is typed again.
const seeds = 1_000_000

// options returns how bad it gets, nil for not at all.
func (c *devChaos) options() *chaos.Options {
	if !c.on {
		return nil
	}
	return &chaos.Options{Seed: c.seed}
}
