package config_test

import (
	"testing"

	"github.com/angz-dev/angz/runtime/config"
)

func TestWhatOnlyTheEmulatorLooksAtIsNoChangeForTheRuntime(t *testing.T) {
	t.Parallel()
	before := placed(loadText(t, "domains: [{name: order, run: ./order, address: \"localhost:5000\"}]\nsagas: []\n"))
	for text, same := range map[string]bool{
		"# more words\n\ndomains:\n- {name: order, run: [./other], build: make, watch: [x], dir: ., env: {A: b}, address: \"localhost:5000\"}\n": true,
		"domains: [{name: order, run: ./order, address: \"localhost:5001\"}]\n":                                                                  false,
		"domains: [{name: order, run: ./order, address: \"localhost:5000\"}]\ngateway: {port: 2000}\n":                                           false,
		"domains: [{name: order, run: ./order, address: \"localhost:5000\"}, {name: stock, run: ./stock}]\n":                                     false,
		"domains: [{name: order, run: ./order, address: \"localhost:5000\", timeout: 3s}]\nprojectors: []\n":                                     false,
	} {
		if got := before.SameRuntime(placed(loadText(t, text))); got != same {
			t.Errorf("%s: same is %t, want %t", text, got, same)
		}
	}
}

// placed makes configurations of different folders comparable.
func placed(c *config.Config) *config.Config {
	c.Dir = "/somewhere"
	return c
}
