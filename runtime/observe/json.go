package observe

import (
	"io"
	"log/slog"
	"time"
)

// newJSON writes lines for programs: one JSON object each, times in UTC and
// durations as numbers of milliseconds under a key that says so.
func newJSON(writer io.Writer) slog.Handler {
	return slog.NewJSONHandler(writer, &slog.HandlerOptions{
		Level: slog.Level(-1 << 31), // what is logged is decided before
		ReplaceAttr: func(groups []string, attr slog.Attr) slog.Attr {
			if len(groups) == 0 {
				switch attr.Key {
				case slog.TimeKey:
					if attr.Value.Kind() == slog.KindTime {
						return slog.String(slog.TimeKey, attr.Value.Time().UTC().Format(timeForm))
					}
				case slog.LevelKey:
					if level, ok := attr.Value.Any().(slog.Level); ok {
						return slog.String(slog.LevelKey, levelName(level))
					}
				}
			}
			if attr.Value.Kind() == slog.KindDuration {
				return slog.Float64(attr.Key+"_ms", float64(attr.Value.Duration())/float64(time.Millisecond))
			}
			return attr
		},
	})
}
