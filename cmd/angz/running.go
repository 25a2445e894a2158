package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/angz-dev/angz/emulator/control"
)

// runningProject is the flag of commands that look at a running emulator or
// steer it.
type runningProject struct {
	dir string
}

func (p *runningProject) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.dir, "project", "", "the folder of the project (default: that around the working folder)")
	_ = cmd.MarkFlagDirname("project")
}

// folder returns where the search for the project begins.
func (p *runningProject) folder() (string, error) {
	if p.dir == "" {
		return os.Getwd()
	}
	if info, err := os.Stat(p.dir); err != nil || !info.IsDir() {
		return "", usagef("--project: %s is not a folder; name the folder of a project", p.dir)
	}
	return p.dir, nil
}

// find connects to the project's emulator.
func (p *runningProject) find() (*control.Client, error) {
	dir, err := p.folder()
	if err != nil {
		return nil, err
	}
	return control.Find(dir)
}

// saysNo marks what the emulator itself answered as its refusal.
func saysNo(err error) error {
	if refused := new(control.Refused); errors.As(err, &refused) {
		return refusal{errors.New(printableLines(err.Error()))}
	}
	return err
}

// completeServices completes the names of services from the running emulator,
// and those of what else logs if so asked.
func (p *runningProject) completeServices(alsoLogs bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		ctx, stop := context.WithTimeout(cmd.Context(), completionTime)
		defer stop()
		client, err := p.find()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer client.Close()
		now, err := client.Status(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []cobra.Completion
		for _, service := range now.Services {
			if alsoLogs || !service.Elsewhere {
				names = append(names, cobra.CompletionWithDesc(service.Name, strings.TrimSpace(service.Language+" "+service.Kind)+", "+string(service.State)))
			}
		}
		if alsoLogs {
			names = append(names, now.OtherLogs...)
		}
		return slices.DeleteFunc(names, func(name cobra.Completion) bool {
			word, _, _ := strings.Cut(name, "\t")
			return slices.Contains(args, word)
		}), cobra.ShellCompDirectiveNoFileComp
	}
}

// statusDocument is a running project. Like all documents, its fields are added
// to and never renamed.
type statusDocument struct {
	Project   string             `json:"project" doc:"what the project is called: the name of its folder"`
	Dir       string             `json:"dir" doc:"the project's folder, absolute"`
	File      string             `json:"file,omitempty" doc:"its configuration file, as angz dev found it; absent where there is none"`
	PID       int                `json:"pid" doc:"the number of the process angz dev"`
	Since     string             `json:"since" doc:"when it was started, RFC 3339 in UTC" format:"date-time"`
	Detached  bool               `json:"detached" doc:"whether it runs without a terminal, by --detach"`
	Answers   bool               `json:"answers" doc:"false when it did not answer in time; then nothing else is known of it"`
	Ready     bool               `json:"ready" doc:"whether every service is ready and commands are taken"`
	Store     string             `json:"store,omitempty" doc:"what events are kept in; absent before it is open"`
	Endpoints []endpointDocument `json:"endpoints" doc:"where clients reach it"`
	Services  []serviceDocument  `json:"services" doc:"the services, in the order of the configuration"`
}

type endpointDocument struct {
	Role    string `json:"role" doc:"what is served there, such as gateway"`
	Address string `json:"address" doc:"where: host:port or the path of a socket"`
}

type serviceDocument struct {
	Name      string   `json:"name" doc:"the name of the service"`
	Kind      string   `json:"kind" doc:"what it is" enum:"domain|projector|saga"`
	Language  string   `json:"language,omitempty" doc:"the language it is written in, as far as its folder shows; absent where it does not"`
	State     string   `json:"state" doc:"how it is doing; it serves in the states that begin with ready; empty before anything of it has begun" enum:"|building|build failed|starting|waiting|not ready|died|stopped|ready|ready, building|ready, outdated"`
	Since     string   `json:"since,omitempty" doc:"since when it is in that state, RFC 3339 in UTC; absent before the first" format:"date-time"`
	PID       int      `json:"pid,omitempty" doc:"the number of its process; absent while there is none"`
	Address   string   `json:"address" doc:"where angz reaches it"`
	Starts    int      `json:"starts" doc:"how often it has been started"`
	Elsewhere bool     `json:"elsewhere,omitempty" doc:"true when you start it, not angz; absent when not"`
	Paused    bool     `json:"paused,omitempty" doc:"true when saved files do not restart it; absent when they do"`
	Cause     string   `json:"cause,omitempty" doc:"why it was last started, such as a file that was saved; absent before that"`
	Problem   string   `json:"problem,omitempty" doc:"what is wrong with it; absent when nothing is"`
	Tail      []string `json:"tail,omitempty" doc:"its last lines, or those of its build, when something is wrong; else absent"`
}

func newStatusDocument(s control.Status) statusDocument {
	document := statusDocument{
		Project: s.Project, Dir: s.Dir, File: s.File, PID: s.PID, Since: timeText(s.Since), Detached: s.Detached, Answers: true, Ready: s.Ready,
		Store: s.Store, Endpoints: []endpointDocument{}, Services: []serviceDocument{},
	}
	for _, endpoint := range s.Endpoints {
		document.Endpoints = append(document.Endpoints, endpointDocument(endpoint))
	}
	for _, service := range s.Services {
		document.Services = append(document.Services, newServiceDocument(service))
	}
	return document
}

func newServiceDocument(s control.Service) serviceDocument {
	return serviceDocument{
		Name: s.Name, Kind: s.Kind, Language: s.Language, State: string(s.State), Since: timeText(s.Since), PID: s.PID, Address: s.Address,
		Starts: s.Starts, Elsewhere: s.Elsewhere, Paused: s.Paused, Cause: s.Cause, Problem: s.Problem, Tail: s.Tail,
	}
}

// writeStatus prints for people how a project is doing.
func writeStatus(s streams, now control.Status, at time.Time) error {
	paint, width := newPainter(s.out, s.environ), widthOf(s.out, s.environ)
	place := ""
	if now.Detached {
		place = ", detached"
	}
	if _, err := fmt.Fprintf(s.out, "%s: process %d, since %s%s\n%s\n\n", printable(now.Project), now.PID, clock(now.Since, at), place, printable(now.Dir)); err != nil {
		return err
	}
	if len(now.Services) > 0 {
		rows := [][]string{{"SERVICE", "KIND", "LANGUAGE", "STATE", "FOR", "PID", "STARTS", "ADDRESS", "NOTE"}}
		for _, service := range now.Services {
			rows = append(rows, serviceRow(service, at))
		}
		if err := writeTable(s.out, paint, width, rows); err != nil {
			return err
		}
		fmt.Fprintln(s.out)
	}
	rows := [][]string{{"FOR CLIENTS", "ADDRESS"}}
	for _, endpoint := range now.Endpoints {
		rows = append(rows, []string{printable(endpoint.Role), printable(endpoint.Address)})
	}
	if err := writeTable(s.out, paint, width, rows); err != nil {
		return err
	}
	_, err := fmt.Fprintf(s.out, "\nstore: %s\n", printable(cmp.Or(now.Store, "not open yet")))
	return err
}

func serviceRow(service control.Service, at time.Time) []string {
	return []string{
		printable(service.Name), printable(service.Kind), printable(cmp.Or(service.Language, "-")), printable(string(service.State)),
		agoText(service.Since, at), numberText(service.PID), numberText(service.Starts), printable(service.Address), printable(note(service)),
	}
}

// note says what else is to be known of a service, on one line.
func note(service control.Service) string {
	var parts []string
	if service.Paused {
		parts = append(parts, "paused")
	}
	switch {
	case service.Problem != "":
		parts = append(parts, firstLine(service.Problem))
	case service.Elsewhere:
		parts = append(parts, "you start it")
	case service.Cause != "":
		parts = append(parts, firstLine(service.Cause))
	}
	return strings.Join(parts, ", ")
}

func numberText(number int) string {
	if number == 0 {
		return "-"
	}
	return fmt.Sprint(number)
}

// clock says when something was, as short as it is clear.
func clock(moment, now time.Time) string {
	moment, now = moment.Local(), now.Local()
	if moment.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return moment.Format(time.TimeOnly)
	}
	return moment.Format(time.DateTime)
}
