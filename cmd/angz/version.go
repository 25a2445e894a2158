package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the linker for releases; other builds say what the Go tool
// knows about them.
var version string

// build describes this binary.
type build struct {
	Version  string `json:"version" doc:"the release, or (devel)"`
	Commit   string `json:"commit,omitempty" doc:"the commit that it was built from, in hexadecimal; absent when that is not known"`
	Time     string `json:"time,omitempty" doc:"when that commit was made, RFC 3339; absent when that is not known" format:"date-time"`
	Modified bool   `json:"modified,omitempty" doc:"true when it was built with changes that were not committed; absent when not"`
	Go       string `json:"go" doc:"the Go it was built with, such as go1.26.0"`
	Platform string `json:"platform" doc:"the system and processor it was built for, such as linux/amd64"`
}

func newVersionCommand(s streams) *cobra.Command {
	var output outputFormat
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Say which angz this is",
		Example: "  angz version\n  angz version --output json",
		Args:    between(0),
		RunE: func(*cobra.Command, []string) error {
			b := thisBuild()
			if output.forPrograms() {
				return output.write(s.out, b)
			}
			_, err := fmt.Fprintln(s.out, b)
			return err
		},
	}
	output.register(cmd)
	return cmd
}

func thisBuild() build {
	b := build{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		b.Version = cmp.Or(b.Version, "unknown")
		return b
	}
	b.Version = cmp.Or(b.Version, info.Main.Version, "(devel)")
	for _, setting := range info.Settings {
		switch setting.Key {
		case "vcs.revision":
			b.Commit = setting.Value
		case "vcs.time":
			b.Time = setting.Value
		case "vcs.modified":
			b.Modified = setting.Value == "true"
		}
	}
	return b
}

// String returns the build on one line.
func (b build) String() string {
	text := "angz " + b.Version
	if b.Commit != "" {
		text += " (" + b.Commit[:min(len(b.Commit), 12)]
		if b.Modified {
			text += ", modified"
		}
		text += ")"
	}
	return text + " " + b.Go + " " + b.Platform
}
