package emulator

import (
	"context"
	"github.com/angz-dev/angz/emulator/control"
)

func (e controlled) Logs(ctx context.Context, filter control.LogFilter, each func(control.LogLine) error) error { return nil }
