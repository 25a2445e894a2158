package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/angz-dev/angz/examples/quickstart/todopb"
	pb "github.com/angz-dev/angz/proto/angzarrpb"
)

func TestRules(t *testing.T) {
	t.Parallel()
	added := func(title string) proto.Message { return &todopb.TaskAdded{Title: title} }
	completed := func(title string) proto.Message { return &todopb.TaskCompleted{Title: title} }
	tests := map[string]struct {
		given Events // what has happened so far
		when  proto.Message
		then  Events
		error string // instead of then
	}{
		"a task is added":                     {when: &todopb.AddTask{Title: "milk"}, then: Events{added("milk")}},
		"a task needs a title":                {when: &todopb.AddTask{}, error: "A task needs a title"},
		"a task is not added twice":           {given: Events{added("milk")}, when: &todopb.AddTask{Title: "milk"}, error: `Task "milk" is already on the list`},
		"a done task is not added again":      {given: Events{added("milk"), completed("milk")}, when: &todopb.AddTask{Title: "milk"}, error: `Task "milk" is already on the list`},
		"a task is completed":                 {given: Events{added("milk"), added("tea")}, when: &todopb.CompleteTask{Title: "tea"}, then: Events{completed("tea")}},
		"the last task completes the list":    {given: Events{added("milk"), completed("milk"), added("tea")}, when: &todopb.CompleteTask{Title: "tea"}, then: Events{completed("tea"), &todopb.ListCompleted{Tasks: 2}}},
		"a task is completed only once":       {given: Events{added("milk"), completed("milk")}, when: &todopb.CompleteTask{Title: "milk"}, error: `Task "milk" is already done`},
		"an unknown task cannot be completed": {given: Events{added("milk")}, when: &todopb.CompleteTask{Title: "tea"}, error: `Task "tea" is not on the list`},
		"a command without a rule is refused": {when: &todopb.TaskAdded{}, error: "no handler for command todo.TaskAdded"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			list := List{}
			for _, event := range test.given {
				Apply(list, event)
			}
			events, err := Handle(test.when, list)
			if message := status.Convert(err).Message(); message != test.error {
				t.Fatalf("error %q, want %q", message, test.error)
			}
			if diff := cmp.Diff(test.then, events, protocmp.Transform()); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	}
}

func TestServiceDecidesOnTheHistoryItIsGiven(t *testing.T) {
	t.Parallel()
	pack := func(message proto.Message) *anypb.Any {
		packed, err := anypb.New(message)
		if err != nil {
			t.Fatal(err)
		}
		return packed
	}
	cover := &pb.Cover{Domain: "todo", AggregateId: "groceries"}
	response, err := aggregate{}.Handle(t.Context(), &pb.ContextualCommand{
		Events:  &pb.EventBook{Cover: cover, Pages: []*pb.EventPage{{Event: pack(&todopb.TaskAdded{Title: "milk"})}}},
		Command: &pb.CommandBook{Cover: cover, Pages: []*pb.CommandPage{{Command: pack(&todopb.CompleteTask{Title: "milk"})}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := &pb.EventBook{Cover: cover, Pages: []*pb.EventPage{
		{Event: pack(&todopb.TaskCompleted{Title: "milk"})},
		{Event: pack(&todopb.ListCompleted{Tasks: 1})},
	}}
	if diff := cmp.Diff(want, response.GetEvents(), protocmp.Transform()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}
