package main

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/angz-dev/angz/emulator/chaos"
)

func TestChaosFlags(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		want *chaos.Options
		err  string
	}{
		"off":              {nil, nil, ""},
		"off by name":      {[]string{"--chaos=false"}, nil, ""},
		"with a seed":      {[]string{"--chaos", "--chaos-seed", "42"}, &chaos.Options{Seed: 42}, ""},
		"with the seed 0":  {[]string{"--chaos", "--chaos-seed=0"}, &chaos.Options{}, ""},
		"a seed and no on": {[]string{"--chaos-seed", "42"}, nil, "--chaos-seed: found it without --chaos; add --chaos, or leave --chaos-seed out"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := chaosOf(c.args)
			if c.err != "" {
				if !errors.As(err, new(usageError)) || err.Error() != c.err {
					t.Errorf("said %v", err)
				}
				return
			}
			if diff := cmp.Diff(c.want, got, cmp.Comparer(func(a, b *chaos.Options) bool {
				return (a == nil) == (b == nil) && (a == nil || a.Seed == b.Seed)
			})); diff != "" || err != nil {
				t.Error(diff, err)
			}
		})
	}
}

func chaosOf(args []string) (*chaos.Options, error) {
	var c devChaos
	flags := pflag.NewFlagSet("dev", pflag.ContinueOnError)
	c.register(flags)
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if err := c.check(flags); err != nil {
		return nil, err
	}
	return c.options(), nil
}

func TestAChaosSeedIsChosenForWhoNamesNone(t *testing.T) {
	t.Parallel()
	chosen := map[uint64]bool{}
	for range 20 {
		options, err := chaosOf([]string{"--chaos"})
		if err != nil || options == nil || options.Seed >= seeds {
			t.Fatal(options, err)
		}
		chosen[options.Seed] = true
	}
	if len(chosen) < 2 {
		t.Errorf("always %v", chosen)
	}
}
