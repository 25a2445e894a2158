package tui

import (
	"context"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/angz-dev/angz/inspect"
)

// Everything that the system says reaches the model as one of these messages, and
// all questions are asked here. A question has a number, and only the answer to the
// newest one of its kind counts.

type domainsMsg struct {
	domains []inspect.Domain
	head    uint64
	err     error
}

type aggregatesMsg struct {
	number int
	page   inspect.Summaries
	err    error
}

// side is where in a window of events new ones belong.
type side int

const (
	instead side = iota
	before
	after
	nowhere // only the total is told
)

type eventsMsg struct {
	number int
	side   side
	events []inspect.Event
	total  uint32 // events of the aggregate, when it was looked up; 0 if it was not
	err    error
}

type statesMsg struct {
	number  int
	now     inspect.State
	changes []inspect.Change // since an earlier one
	err     error
}

// foundMsg says which aggregates have a name.
type foundMsg struct {
	name  string
	found []inspect.Aggregate
	err   error
}

type newsMsg struct {
	stored  []inspect.Stored
	skipped uint64
	lost    error
	wait    time.Duration
	ended   bool
}

type traceMsg struct {
	number int
	trace  inspect.Trace
	err    error
}

type topologyMsg struct {
	topology inspect.Topology
	err      error
}

type progressMsg struct {
	list []inspect.Progress
	err  error
}

type lettersMsg struct {
	letters []inspect.DeadLetter
	more    bool
	err     error
}

type letterMsg struct {
	letter inspect.DeadLetter
	err    error
}

type decidedMsg struct {
	what string
	err  error
}

type sentMsg struct {
	sent inspect.Sent
	err  error
}

// effectsMsg says what a command has led to by now.
type effectsMsg struct {
	correlation string
	effects     inspect.Effects
	err         error
}

// placeMsg says which event was going on at a time.
type placeMsg struct {
	number   int
	sequence uint32
	err      error
}

// noticeMsg is something to tell the person.
type noticeMsg struct {
	text string
	err  error
}

// patience is how long one question may take.
const patience = 15 * time.Second

// asker asks the system. Its commands may run at the same time. It keeps the
// program's context, because the library hands none to a command.
type asker struct {
	ctx    context.Context
	system System
	by     string // who decides about dead letters
}

// ask makes a command of a question.
func (a asker) ask(question func(ctx context.Context) tea.Msg) tea.Cmd {
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(a.ctx, patience)
		defer cancel()
		return question(ctx)
	}
}

func (a asker) domains() tea.Cmd {
	return a.ask(func(ctx context.Context) tea.Msg {
		domains, head, err := a.system.Domains(ctx)
		return domainsMsg{domains, head, err}
	})
}

func (a asker) aggregates(number int, request inspect.SummariesRequest) tea.Cmd {
	return a.ask(func(ctx context.Context) tea.Msg {
		var found inspect.Summaries
		for {
			page, err := a.system.Summaries(ctx, request)
			if err != nil {
				return aggregatesMsg{number, found, err}
			}
			// In the order of activity pages may be empty although there is more.
			found.Aggregates, found.Next = append(found.Aggregates, page.Aggregates...), page.Next
			if len(found.Aggregates) > 0 || page.Next == "" {
				return aggregatesMsg{number, found, nil}
			}
			request.After = page.Next
		}
	})
}

// page is how many events are read at once.
const page = 200

// newest reads the last events of an aggregate, or those around one of them.
func (a asker) newest(number int, domain, id string, around *uint32) tea.Cmd {
	return a.ask(func(ctx context.Context) tea.Msg {
		summary, err := a.system.Summary(ctx, domain, id)
		if err != nil || summary.Events == 0 {
			return eventsMsg{number: number, err: err}
		}
		from, to := uint32(0), summary.Events-1
		if to >= page {
			from = to - page + 1
		}
		if around != nil && *around < from {
			from = *around - min(*around, page/2)
			to = from + page - 1
		}
		events, err := a.read(ctx, domain, id, from, to)
		return eventsMsg{number: number, side: instead, events: events, total: summary.Events, err: err}
	})
}

// more reads the events of a range that belong to one side of a window.
func (a asker) more(number int, domain, id string, from, to uint32, where side) tea.Cmd {
	return a.ask(func(ctx context.Context) tea.Msg {
		events, err := a.read(ctx, domain, id, from, to)
		return eventsMsg{number: number, side: where, events: events, err: err}
	})
}

func (a asker) read(ctx context.Context, domain, id string, from, to uint32) (events []inspect.Event, err error) {
	for event, err := range a.system.Events(ctx, inspect.EventsRequest{Domain: domain, ID: id, From: from, To: &to}) {
		if err != nil {
			return events, err
		}
		event.Payload = trimmed(event.Payload)
		events = append(events, event)
	}
	return events, nil
}

// total looks up how many events an aggregate has by now.
func (a asker) total(number int, domain, id string) tea.Cmd {
	return a.ask(func(ctx context.Context) tea.Msg {
		summary, err := a.system.Summary(ctx, domain, id)
		return eventsMsg{number: number, side: nowhere, total: summary.Events, err: err}
	})
}

// find looks in every domain for an aggregate of a name.
func (a asker) find(name string) tea.Cmd {
	return a.ask(func(ctx context.Context) tea.Msg {
		answer := foundMsg{name: name}
		domains, _, err := a.system.Domains(ctx)
		for _, domain := range domains {
			if err == nil {
				var summary inspect.Summary
				if summary, err = a.system.Summary(ctx, domain.Name, name); summary.Events > 0 {
					answer.found = append(answer.found, summary.Aggregate)
				}
			}
		}
		answer.err = err
		return answer
	})
}

// placeAt looks for the last event that had happened at a time, by halves.
func (a asker) placeAt(number int, domain, id string, at time.Time) tea.Cmd {
	return a.ask(func(ctx context.Context) tea.Msg {
		summary, err := a.system.Summary(ctx, domain, id)
		if err != nil {
			return placeMsg{number, 0, err}
		}
		low, high := uint32(0), summary.Events // the place is in between
		for low+1 < high {
			middle := low + (high-low)/2
			events, err := a.read(ctx, domain, id, middle, middle)
			if err != nil || len(events) == 0 {
				return placeMsg{number, low, err}
			}
			if events[0].CreatedAt.After(at) {
				high = middle
			} else {
				low = middle
			}
		}
		return placeMsg{number, low, nil}
	})
}

// states reads the state after an event and an earlier one, if there is an earlier
// one.
func (a asker) states(number int, domain, id string, sequence uint32, earlier *uint32) tea.Cmd {
	return a.ask(func(ctx context.Context) tea.Msg {
		answer := statesMsg{number: number}
		if answer.now, answer.err = a.system.State(ctx, domain, id, &sequence); answer.err != nil {
			return answer
		}
		var before inspect.State
		if earlier != nil {
			if before, answer.err = a.system.State(ctx, domain, id, earlier); answer.err != nil {
				return answer
			}
		}
		answer.changes, answer.err = inspect.Diff(before.JSON, answer.now.JSON)
		answer.now.JSON = trimmed(answer.now.JSON)
		for i := range answer.changes {
			change := &answer.changes[i]
			change.Before, change.After = trimmed(change.Before), trimmed(change.After)
		}
		return answer
	})
}

func (a asker) trace(number int, correlation string) tea.Cmd {
	return a.ask(func(ctx context.Context) tea.Msg {
		trace, err := a.system.Trace(ctx, correlation)
		trim(trace.Steps)
		return traceMsg{number, trace, err}
	})
}

func trim(steps []*inspect.Step) {
	for _, step := range steps {
		trimAll(step.Events)
		trim(step.Steps)
	}
}

func trimAll(events []inspect.Event) {
	for i := range events {
		if len(events[i].Payload) > mostShown {
			events[i].Payload = trimmed(events[i].Payload)
		}
	}
}

func (a asker) topology() tea.Cmd {
	return a.ask(func(ctx context.Context) tea.Msg {
		topology, err := a.system.Topology(ctx)
		return topologyMsg{topology, err}
	})
}

func (a asker) progress() tea.Cmd {
	return a.ask(func(ctx context.Context) tea.Msg {
		list, err := a.system.Progress(ctx, "")
		return progressMsg{list, err}
	})
}

func (a asker) pause(component, note string) tea.Cmd {
	return a.ask(func(ctx context.Context) tea.Msg {
		_, err := a.system.Pause(ctx, component, inspect.Decision{By: a.by, Note: note})
		return decidedMsg{component + " is paused", err}
	})
}

func (a asker) resume(component string) tea.Cmd {
	return a.ask(func(ctx context.Context) tea.Msg {
		_, err := a.system.Resume(ctx, component, inspect.Decision{By: a.by})
		return decidedMsg{component + " goes on", err}
	})
}

func (a asker) rebuild(component, note string) tea.Cmd {
	return a.ask(func(ctx context.Context) tea.Msg {
		_, err := a.system.Rewind(ctx, inspect.Rewind{Component: component, Clear: true}, inspect.Decision{By: a.by, Note: note})
		return decidedMsg{component + " is made anew", err}
	})
}

// mostLetters bounds how many dead letters are listed.
const mostLetters = 500

func (a asker) letters() tea.Cmd {
	return a.ask(func(ctx context.Context) tea.Msg {
		var answer lettersMsg
		for letter, err := range a.system.DeadLetters(ctx, inspect.DeadLetterSelection{}) {
			if answer.err = err; err != nil {
				return answer
			}
			if answer.more = len(answer.letters) == mostLetters; answer.more {
				return answer
			}
			answer.letters = append(answer.letters, letter)
		}
		return answer
	})
}

func (a asker) letter(component string, position uint64) tea.Cmd {
	return a.ask(func(ctx context.Context) tea.Msg {
		letter, err := a.system.DeadLetter(ctx, component, position)
		trimAll(letter.Events)
		return letterMsg{letter, err}
	})
}

func (a asker) retry(letter inspect.DeadLetter) tea.Cmd {
	return a.ask(func(ctx context.Context) tea.Msg {
		_, err := a.system.Retry(ctx, selectionOf(letter), inspect.Decision{By: a.by})
		return decidedMsg{letter.Place() + " is handled again", err}
	})
}

func (a asker) skip(letter inspect.DeadLetter, note string) tea.Cmd {
	return a.ask(func(ctx context.Context) tea.Msg {
		_, err := a.system.Skip(ctx, selectionOf(letter), inspect.Decision{By: a.by, Note: note})
		return decidedMsg{letter.Place() + " is given up", err}
	})
}

func selectionOf(letter inspect.DeadLetter) inspect.DeadLetterSelection {
	return inspect.DeadLetterSelection{Component: letter.Component, Position: letter.Position}
}

func (a asker) send(request inspect.SendRequest) tea.Cmd {
	return a.ask(func(ctx context.Context) tea.Msg {
		sent, err := a.system.Send(ctx, request)
		return sentMsg{sent, err}
	})
}

// effects reads what a command has led to.
func (a asker) effects(correlation string) tea.Cmd {
	return a.ask(func(ctx context.Context) tea.Msg {
		effects, err := a.system.Effects(ctx, correlation)
		trim(effects.Trace.Steps)
		return effectsMsg{correlation, effects, err}
	})
}

// feed is everything that is stored from now on, read in the background.
type feed struct {
	asker
	news chan inspect.Followed
}

const (
	// recent is how many of the newest events the feed begins with.
	recent = 200
	// calm is how long news are gathered before they are shown, and mostNews how many
	// at most: a screen changes 30 times a second, however much happens.
	calm     = 33 * time.Millisecond
	mostNews = 2_000
)

func newFeed(a asker) *feed {
	return &feed{asker: a, news: make(chan inspect.Followed, 256)}
}

// read reads until the program ends. It is a command like all others, so that the
// terminal is restored should it break down.
func (f *feed) read() tea.Msg {
	defer close(f.news)
	for followed := range f.system.Follow(f.ctx, inspect.TailRequest{Last: recent, Sample: true}) {
		trimAll(followed.Events)
		select {
		case f.news <- followed:
		case <-f.ctx.Done():
			return nil
		}
	}
	return nil
}

// next waits for news and gathers what comes with them.
func (f *feed) next() tea.Msg {
	var gathered newsMsg
	first, open := <-f.news
	if !open {
		return newsMsg{ended: true}
	}
	gathered.add(first)
	timer := time.NewTimer(calm)
	defer timer.Stop()
	for len(gathered.stored) < mostNews && gathered.lost == nil {
		select {
		case followed, open := <-f.news:
			if !open {
				return gathered
			}
			gathered.add(followed)
		case <-timer.C:
			return gathered
		}
	}
	return gathered
}

func (n *newsMsg) add(followed inspect.Followed) {
	if followed.Err != nil {
		n.lost, n.wait = followed.Err, followed.Wait
		return
	}
	n.skipped += followed.Skipped
	n.stored = append(n.stored, followed.Stored)
}
