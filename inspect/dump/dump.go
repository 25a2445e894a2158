// Package dump is the text form of what a system has stored: JSON lines that
// people can read, search and edit, and that give back every byte. It brings them
// out of a system and into another one, on a laptop and in production alike.
//
// docs/data.md describes the lines for those who write them.
package dump

import (
	"fmt"
	"hash/crc32"
	"runtime"
	"sync"

	"google.golang.org/protobuf/types/known/anypb"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
)

// Types knows the types of payloads. *payload.Schema and *payload.Remote are ones.
// It is used by several goroutines.
type Types interface {
	// Exact returns a payload as JSON, whether its type was known, and whether
	// Bytes makes the same bytes of it.
	Exact(message *anypb.Any) (json []byte, known, exact bool)
	// Bytes returns the payload that JSON text stands for.
	Bytes(typeURL string, json []byte) ([]byte, error)
}

// The kinds of lines, and what the first line says.
const (
	kindHeader   = "header"
	kindBook     = "book"
	kindSnapshot = "snapshot"
	kindEnd      = "end"

	format  = "angz export"
	version = 1
)

// Counts are how much there is of each.
type Counts struct {
	Books     uint64 `json:"books" doc:"how many commands' events: those of one command are stored together"`
	Events    uint64 `json:"events" doc:"how many events those are"`
	Snapshots uint64 `json:"snapshots" doc:"how many snapshots of states"`
}

// Problem is something that is wrong with a line.
type Problem struct {
	File    string
	Line    uint64 // from 1
	Message string // what was found, what was expected, what to do
}

// Error begins with the place, as compilers do.
func (p *Problem) Error() string { return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Message) }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum sums up payloads, so that a schema that reads their JSON otherwise is
// noticed.
func checksum(payloads ...[]byte) string {
	sum := uint32(0)
	for _, payload := range payloads {
		sum = crc32.Update(sum, castagnoli, fmt.Appendf(nil, "%d:", len(payload)))
		sum = crc32.Update(sum, castagnoli, payload)
	}
	return fmt.Sprintf("%08x", sum)
}

func sumOf(pages []*pb.EventPage) string {
	payloads := make([][]byte, len(pages))
	for i, page := range pages {
		payloads[i] = page.GetEvent().GetValue()
	}
	return checksum(payloads...)
}

// share divides n things among the processors and returns when all are done. Each
// gets a run of them.
func share(n int, work func(from, to int)) {
	workers := min(runtime.GOMAXPROCS(0), (n+31)/32)
	if workers <= 1 {
		work(0, n)
		return
	}
	var group sync.WaitGroup
	for i := range workers {
		group.Go(func() { work(n*i/workers, n*(i+1)/workers) })
	}
	group.Wait()
}
