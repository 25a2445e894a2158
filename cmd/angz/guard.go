package main

import (
	"github.com/spf13/cobra"

	"github.com/angz-dev/angz/emulator/supervise"
)

// guardCommand is how angz starts itself to watch over its children.
const guardCommand = "guard"

// newGuardCommand returns the command that only angz itself uses.
func newGuardCommand(s streams) *cobra.Command {
	return &cobra.Command{
		Use:     guardCommand,
		Short:   "Clean up after an angz that was killed (started by angz itself)",
		Example: "  angz guard",
		Hidden:  true,
		Args:    between(0),
		RunE:    func(*cobra.Command, []string) error { return supervise.Guard(s.in) },
	}
}
