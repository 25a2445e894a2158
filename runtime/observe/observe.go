package observe
import ("io";"log/slog")
type Options struct{ Writer io.Writer; Format, Directives string; Terminal, Color bool }
func New(o Options) (*slog.Logger, error) { return nil, nil }
func Component(l *slog.Logger, name string) *slog.Logger { return l }
