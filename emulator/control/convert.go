package control

import (
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/angz-dev/angz/emulator/supervise"
	"github.com/angz-dev/angz/proto/angzpb"
)

// valid makes text fit for a message: services print what they like.
func valid(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

func validAll(texts []string) []string {
	var all []string
	for _, text := range texts {
		all = append(all, valid(text))
	}
	return all
}

// stamp returns a time as messages have it, nil for none.
func stamp(at time.Time) *timestamppb.Timestamp {
	if at.IsZero() {
		return nil
	}
	return timestamppb.New(at)
}

// moment returns the time of a message in local time, zero for none.
func moment(stamp *timestamppb.Timestamp) time.Time {
	if stamp == nil {
		return time.Time{}
	}
	return stamp.AsTime().Local()
}

func statusMessage(s Status) *angzpb.Status {
	message := &angzpb.Status{
		Project: valid(s.Project), Dir: valid(s.Dir), File: valid(s.File), Pid: int64(s.PID), Since: stamp(s.Since), Detached: s.Detached,
		Ready: s.Ready, Store: valid(s.Store), OtherLogs: validAll(s.OtherLogs),
	}
	for _, endpoint := range s.Endpoints {
		message.Endpoints = append(message.Endpoints, &angzpb.Endpoint{Role: valid(endpoint.Role), Address: valid(endpoint.Address)})
	}
	for _, service := range s.Services {
		message.Services = append(message.Services, serviceMessage(service))
	}
	return message
}

func serviceMessage(s Service) *angzpb.Service {
	return &angzpb.Service{
		Name: valid(s.Name), Kind: valid(s.Kind), Language: valid(s.Language), State: valid(string(s.State)), Pid: int64(s.PID),
		Address: valid(s.Address), Starts: uint32(s.Starts), Since: stamp(s.Since), Problem: valid(s.Problem), Tail: validAll(s.Tail),
		Cause: valid(s.Cause), Elsewhere: s.Elsewhere, Paused: s.Paused,
	}
}

func statusOf(message *angzpb.Status) Status {
	s := Status{
		Project: message.GetProject(), Dir: message.GetDir(), File: message.GetFile(), PID: int(message.GetPid()), Since: moment(message.GetSince()),
		Detached: message.GetDetached(), Ready: message.GetReady(), Store: message.GetStore(), OtherLogs: message.GetOtherLogs(),
	}
	for _, endpoint := range message.GetEndpoints() {
		s.Endpoints = append(s.Endpoints, Endpoint{Role: endpoint.GetRole(), Address: endpoint.GetAddress()})
	}
	for _, service := range message.GetServices() {
		s.Services = append(s.Services, Service{
			Name: service.GetName(), Kind: service.GetKind(), Language: service.GetLanguage(), State: supervise.State(service.GetState()),
			PID: int(service.GetPid()), Address: service.GetAddress(), Starts: int(service.GetStarts()), Since: moment(service.GetSince()),
			Problem: service.GetProblem(), Tail: service.GetTail(), Cause: service.GetCause(), Elsewhere: service.GetElsewhere(),
			Paused: service.GetPaused(),
		})
	}
	return s
}

func lineMessage(line LogLine) *angzpb.LogLine {
	return &angzpb.LogLine{
		Time: stamp(line.Time), Name: valid(line.Name), Level: angzpb.LogLevel(line.Level), Text: valid(line.Text), Raw: []byte(line.Raw),
	}
}

func lineOf(message *angzpb.LogLine) LogLine {
	return LogLine{
		Time: moment(message.GetTime()), Name: message.GetName(), Level: levelOf(message.GetLevel()), Text: message.GetText(), Raw: string(message.GetRaw()),
	}
}

// levelOf returns LevelUnknown for a level of another version.
func levelOf(level angzpb.LogLevel) Level {
	if _, known := angzpb.LogLevel_name[int32(level)]; !known {
		return LevelUnknown
	}
	return Level(level)
}

func queryMessage(filter LogFilter) *angzpb.LogQuery {
	query := &angzpb.LogQuery{Names: filter.Names, Level: angzpb.LogLevel(filter.MinLevel), Since: stamp(filter.Since), Follow: filter.Follow}
	if filter.Tail >= 0 {
		tail := uint32(filter.Tail)
		query.Tail = &tail
	}
	return query
}

func filterOf(query *angzpb.LogQuery) LogFilter {
	filter := LogFilter{
		Names: query.GetNames(), MinLevel: levelOf(query.GetLevel()), Since: moment(query.GetSince()), Tail: -1, Follow: query.GetFollow(),
	}
	if query.Tail != nil {
		filter.Tail = int(min(query.GetTail(), 1<<30))
	}
	return filter
}
