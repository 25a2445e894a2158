// Command angz is the developer tool, the local emulator and the production
// runtime of Angzarr in one binary.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	// A terminal that is closed sends SIGHUP. The first signal asks for an orderly end; the second ends at once.
	context.AfterFunc(ctx, stop)
	cobra.EnableCommandSorting = false
	os.Exit(run(ctx, os.Args[1:], streams{in: os.Stdin, out: os.Stdout, err: os.Stderr, environ: os.Environ()}))
}
