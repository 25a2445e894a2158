package main

import (
	"google.golang.org/protobuf/proto"

	"github.com/angz-dev/angz/examples/quickstart/todopb"
)

// List is the state of one to-do list: for each title, whether the task is done.
type List map[string]bool

// Handle decides a command on the list as it is. It returns the events that
// then have happened, or an error if the rules forbid it.
func Handle(command proto.Message, list List) (Events, error) {
	switch command := command.(type) {
	case *todopb.AddTask:
		return addTask(command, list)
	case *todopb.CompleteTask:
		return completeTask(command, list)
	}
	return nil, Unhandled(command)
}

// Apply changes the list as an event says. It decides nothing: what has happened
// has happened.
func Apply(list List, event proto.Message) {
	switch event := event.(type) {
	case *todopb.TaskAdded:
		list[event.Title] = false
	case *todopb.TaskCompleted:
		list[event.Title] = true
	}
}

func addTask(command *todopb.AddTask, list List) (Events, error) {
	if command.Title == "" {
		return nil, Invalid("A task needs a title")
	}
	if _, exists := list[command.Title]; exists {
		return nil, Reject("Task %q is already on the list", command.Title)
	}
	return Events{&todopb.TaskAdded{Title: command.Title}}, nil
}

func completeTask(command *todopb.CompleteTask, list List) (Events, error) {
	done, exists := list[command.Title]
	if !exists {
		return nil, Reject("Task %q is not on the list", command.Title)
	}
	if done {
		return nil, Reject("Task %q is already done", command.Title)
	}
	events := Events{&todopb.TaskCompleted{Title: command.Title}}
	if countOpen(list) == 1 {
		events = append(events, &todopb.ListCompleted{Tasks: uint32(len(list))})
	}
	return events, nil
}

func countOpen(list List) (open int) {
	for _, done := range list {
		if !done {
			open++
		}
	}
	return open
}
