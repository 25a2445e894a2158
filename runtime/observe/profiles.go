package observe

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime/pprof"
	"runtime/trace"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// longestProfile bounds how long one request may watch the process.
const longestProfile = 2 * time.Minute

// profiles adds what go tool pprof asks for. The standard library's own package
// for this puts itself on the default mux of every program that names it.
func profiles(mux *http.ServeMux) {
	mux.HandleFunc("GET /debug/pprof/{$}", func(w http.ResponseWriter, _ *http.Request) {
		names := []string{"profile?seconds=30", "trace?seconds=1", "cmdline"}
		for _, profile := range pprof.Profiles() {
			names = append(names, fmt.Sprintf("%s (%d)", profile.Name(), profile.Count()))
		}
		slices.Sort(names)
		say(w, http.StatusOK, strings.Join(names, "\n"))
	})
	mux.HandleFunc("GET /debug/pprof/cmdline", func(w http.ResponseWriter, _ *http.Request) {
		// The arguments may hold secrets that people gave as flags.
		say(w, http.StatusOK, os.Args[0])
	})
	mux.HandleFunc("GET /debug/pprof/profile", watched("cpu", 30*time.Second, pprof.StartCPUProfile, pprof.StopCPUProfile))
	mux.HandleFunc("GET /debug/pprof/trace", watched("trace", time.Second, trace.Start, trace.Stop))
	mux.HandleFunc("GET /debug/pprof/{name}", snapshot)
}

// snapshot answers with one of the profiles that the runtime always keeps.
func snapshot(w http.ResponseWriter, r *http.Request) {
	profile := pprof.Lookup(r.PathValue("name"))
	if profile == nil {
		say(w, http.StatusNotFound, "no profile "+strconv.Quote(r.PathValue("name"))+"; /debug/pprof/ lists them")
		return
	}
	debug, err := strconv.Atoi(r.FormValue("debug"))
	if err != nil || debug <= 0 {
		download(w, profile.Name())
		debug = 0
	} else {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	}
	_ = profile.WriteTo(w, debug) // the caller has left if it fails
}

func download(w http.ResponseWriter, name string) {
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", `attachment; filename="`+name+`"`)
	w.Header().Set("X-Content-Type-Options", "nosniff")
}

// watched answers with what is recorded during the seconds that a request asks
// for. The runtime records each kind for one at a time.
func watched(name string, usual time.Duration, start func(io.Writer) error, stop func()) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		length, err := duration(r.FormValue("seconds"), usual)
		if err != nil {
			say(w, http.StatusBadRequest, err.Error())
			return
		}
		download(w, name)
		recording := &recording{writer: w}
		if err := start(recording); err != nil {
			w.Header().Del("Content-Disposition")
			say(w, http.StatusConflict, err.Error())
			return
		}
		defer stop()
		recording.flush() // so that the caller sees that it has begun
		wait(r.Context(), length)
	}
}

// recording is written by the runtime, on a goroutine of its own.
type recording struct {
	mu     sync.Mutex
	writer http.ResponseWriter
}

func (r *recording) Write(part []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.writer.Write(part)
}

func (r *recording) flush() {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = http.NewResponseController(r.writer).Flush() // the caller has left if it fails
}

func duration(seconds string, usual time.Duration) (time.Duration, error) {
	if seconds == "" {
		return usual, nil
	}
	number, err := strconv.ParseFloat(seconds, 64)
	if err != nil || !(number > 0 && number <= longestProfile.Seconds()) {
		return 0, fmt.Errorf("seconds: found %s, expected a number up to %.0f", strconv.Quote(shortened(seconds)), longestProfile.Seconds())
	}
	return time.Duration(number * float64(time.Second)), nil
}

func wait(ctx context.Context, length time.Duration) {
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
