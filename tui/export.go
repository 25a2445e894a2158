package tui

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/angz-dev/angz/inspect"
)

// exported is one line of a file of events, with the names that angz events
// --output json uses.
type exported struct {
	Domain        string          `json:"domain"`
	AggregateID   string          `json:"aggregate_id,omitempty"`
	Root          string          `json:"root"`
	Sequence      uint32          `json:"sequence"`
	Type          string          `json:"type"`
	CreatedAt     string          `json:"created_at,omitempty"`
	CorrelationID string          `json:"correlation_id,omitempty"`
	Payload       json.RawMessage `json:"payload"`
}

// export writes all events of an aggregate to a file that is not there yet.
func (a asker) export(domain, id, file string) tea.Cmd {
	return func() tea.Msg {
		written, err := a.write(domain, id, file)
		return noticeMsg{fmt.Sprintf("%s: %s", file, count(written, "event")), err}
	}
}

func (a asker) write(domain, id, name string) (written int, err error) {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return 0, fmt.Errorf("%s is there already; name another file", name)
	}
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	ctx, cancel := context.WithCancel(a.ctx)
	defer cancel()
	out := bufio.NewWriter(file)
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	for event, err := range a.system.Events(ctx, inspect.EventsRequest{Domain: domain, ID: id}) {
		if err != nil {
			return written, err
		}
		if err := encoder.Encode(exported{
			event.Domain, event.AggregateID, event.Root, event.Sequence, event.Type, event.CreatedAt.UTC().Format(time.RFC3339Nano), event.CorrelationID, event.Payload,
		}); err != nil {
			return written, err
		}
		written++
	}
	return written, out.Flush()
}
