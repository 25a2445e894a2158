package emulator

import (
	"context"
	"github.com/angz-dev/angz/emulator/control"
)

func defaultPatterns(s plannedService) []string { return []string{"**/*.go", "**/*.py", "!**/*_test.go"} }

func (e controlled) Logs(ctx context.Context, filter control.LogFilter, each func(control.LogLine) error) error { return nil }
