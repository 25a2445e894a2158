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
	Project   string             `json:"project"`
	Dir       string             `json:"dir"`
	File      string             `json:"file,omitempty"`
	PID       int                `json:"pid"`
	Since     string             `json:"since"` // RFC 3339, UTC
	Detached  bool               `json:"detached"`
	Answers   bool               `json:"answers"` // false: it did not say more than this
	Ready     bool               `json:"ready"`
	Store     string             `json:"store,omitempty"`
	Endpoints []endpointDocument `json:"endpoints"`
	Services  []serviceDocument  `json:"services"`
}

type endpointDocument struct {
	Role    string `json:"role"`
	Address string `json:"address"`
}

type serviceDocument struct {
	Name      string   `json:"name"`
	Kind      string   `json:"kind"`
	Language  string   `json:"language,omitempty"`
	State     string   `json:"state"`
	Since     string   `json:"since,omitempty"`
	PID       int      `json:"pid,omitempty"`
	Address   string   `json:"address"`
	Starts    int      `json:"starts"`
	Elsewhere bool     `json:"elsewhere,omitempty"`
	Paused    bool     `json:"paused,omitempty"`
	Cause     string   `json:"cause,omitempty"`
	Problem   string   `json:"problem,omitempty"`
	Tail      []string `json:"tail,omitempty"`
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
