package story

import (
	"encoding/json"
	"time"
)

// MarshalJSON returns the story as one line of a JSON log: time, level, msg and
// correlation_id stand where they stand in angz's other lines, and msg is the
// text without colours, joined into one line. Durations are milliseconds.
func (s Story) MarshalJSON() ([]byte, error) {
	return json.Marshal(storyJSON{
		Time: s.Began.UTC().Format("2006-01-02T15:04:05.000Z07:00"), Level: [...]string{"INFO", "WARN", "ERROR"}[s.Level()], Message: s.oneLine(),
		Correlation: s.Correlation, Took: milliseconds(s.Took), Settled: s.Settled, Again: s.Again, Left: s.Left, Command: s.Command.json(),
	})
}

// oneLine is the text, with the lines of sagas' commands behind each other.
func (s Story) oneLine() string {
	s.Correlation = ""
	text := ""
	for i, line := range s.lines() {
		if i > 0 {
			text += "; "
		}
		line.indent = 0
		text += line.text()
	}
	return text
}

type storyJSON struct {
	Time        string       `json:"time"`
	Level       string       `json:"level"`
	Message     string       `json:"msg"`
	Correlation string       `json:"correlation_id,omitempty"`
	Took        float64      `json:"took_ms"`
	Settled     bool         `json:"settled"`
	Again       bool         `json:"again,omitempty"`
	Left        int          `json:"left_out,omitempty"`
	Command     *commandJSON `json:"command"`
}

type commandJSON struct {
	Domain    string         `json:"domain"`
	ID        string         `json:"id,omitempty"`
	Type      string         `json:"type,omitempty"`
	Undoes    bool           `json:"undoes,omitempty"`
	Outcome   Outcome        `json:"outcome"`
	Code      string         `json:"code,omitempty"`
	Reason    string         `json:"reason,omitempty"`
	Events    []eventJSON    `json:"events,omitempty"`
	More      int            `json:"more_events,omitempty"`
	Took      float64        `json:"took_ms"`
	Waited    float64        `json:"waited_ms,omitempty"`
	Followers []followerJSON `json:"followers,omitempty"`
}

type eventJSON struct {
	Type     string `json:"type"`
	Sequence uint32 `json:"sequence"`
}

type followerJSON struct {
	Kind     string         `json:"kind"`
	Name     string         `json:"name"`
	State    State          `json:"state"`
	Attempts int            `json:"attempts"`
	Took     float64        `json:"took_ms"`
	Waited   float64        `json:"waited_ms,omitempty"`
	Reason   string         `json:"reason,omitempty"`
	Commands []*commandJSON `json:"commands,omitempty"`
}

func (c *Command) json() *commandJSON {
	written := &commandJSON{
		Domain: c.Domain, ID: c.ID, Type: c.Type, Undoes: c.Undoes, Outcome: c.Outcome, Code: c.Code, Reason: c.Reason,
		More: c.More, Took: milliseconds(c.Took), Waited: milliseconds(c.Waited),
	}
	for _, event := range c.Events {
		written.Events = append(written.Events, eventJSON(event))
	}
	for _, f := range c.Followers {
		follower := followerJSON{
			Kind: f.Kind, Name: f.Name, State: f.State, Attempts: f.Attempts, Took: milliseconds(f.Took), Waited: milliseconds(f.Waited), Reason: f.Reason,
		}
		for _, command := range f.Commands {
			follower.Commands = append(follower.Commands, command.json())
		}
		written.Followers = append(written.Followers, follower)
	}
	return written
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
