package guard

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	maxTokensBytes = 1 << 20
	shortestToken  = 16
	longestToken   = 4096
	longestName    = 256
	lookEvery      = time.Second
)

// entry is one token of a file. The token itself is not kept.
type entry struct {
	name string
	hash [sha256.Size]byte
}

// parseTokens reads lines name:token and name:sha256:hex. A name may have several
// tokens, so that a new one can be given out before the old one is taken away.
// Lines that are empty or begin with # say nothing. Errors name lines, never
// what stands there.
func parseTokens(content []byte) ([]entry, error) {
	if !utf8.Valid(content) {
		return nil, errors.New("it is not UTF-8 text")
	}
	var entries []entry
	first := map[[sha256.Size]byte]int{}
	number := 0
	for line := range strings.SplitSeq(string(content), "\n") {
		number++
		line = strings.TrimSpace(strings.TrimPrefix(line, "\ufeff"))
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		made, err := parseToken(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		if earlier, twice := first[made.hash]; twice {
			return nil, fmt.Errorf("line %d: it has the token of line %d: give each its own", number, earlier)
		}
		first[made.hash] = number
		entries = append(entries, made)
	}
	if len(entries) == 0 { // as it is for a moment while it is written
		return nil, errors.New("it holds no token: write lines name:token or name:sha256:hex")
	}
	return entries, nil
}

func parseToken(line string) (entry, error) {
	name, token, found := strings.Cut(line, ":")
	name, token = strings.TrimSpace(name), strings.TrimSpace(token)
	switch {
	case !found || name == "" || token == "":
		return entry{}, errors.New("expected name:token or name:sha256:hex")
	case len(name) > longestName || strings.ContainsFunc(name, notPrintable):
		return entry{}, fmt.Errorf("expected a name of at most %d printable characters without spaces before the colon", longestName)
	}
	if digits, hashed := strings.CutPrefix(token, "sha256:"); hashed {
		made := entry{name: name}
		sum, err := hex.DecodeString(digits)
		if err != nil || len(sum) != len(made.hash) {
			return entry{}, fmt.Errorf("expected sha256: with %d hexadecimal digits after it", 2*len(made.hash))
		}
		copy(made.hash[:], sum)
		return made, nil
	}
	if len(token) < shortestToken || len(token) > longestToken || strings.ContainsFunc(token, notInToken) {
		return entry{}, fmt.Errorf("expected a token of %d to %d ASCII characters without spaces: openssl rand -hex 32 makes one", shortestToken, longestToken)
	}
	return entry{name, sha256.Sum256([]byte(token))}, nil
}

func notPrintable(r rune) bool { return !unicode.IsPrint(r) || unicode.IsSpace(r) }

func notInToken(r rune) bool { return r <= ' ' || r > '~' }

// tokens are those of a file, which is read anew when it changes.
type tokens struct {
	file    string
	logger  *slog.Logger
	entries atomic.Pointer[[]entry]
	looked  atomic.Int64 // when, in nanoseconds since start
	start   time.Time

	reload  sync.Mutex
	seen    os.FileInfo
	missing string
}

func openTokens(file string, logger *slog.Logger) (*tokens, error) {
	t := &tokens{file: file, logger: logger, start: time.Now()}
	info, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("gateway.auth.tokens_file: %w", err)
	}
	t.seen = info
	entries, err := t.read()
	if err != nil {
		return nil, err
	}
	t.entries.Store(&entries)
	return t, nil
}

func (t *tokens) read() ([]entry, error) {
	content, err := os.ReadFile(t.file)
	if err != nil {
		return nil, fmt.Errorf("gateway.auth.tokens_file: %w", err)
	}
	if len(content) > maxTokensBytes {
		return nil, fmt.Errorf("gateway.auth.tokens_file %s: found more than %d bytes, expected lines name:token", t.file, maxTokensBytes)
	}
	entries, err := parseTokens(content)
	if err != nil {
		return nil, fmt.Errorf("gateway.auth.tokens_file %s: %w", t.file, err)
	}
	return entries, nil
}

// find returns whose token it is. It takes as long for every token: it looks at
// all of them, and at their hashes only.
func (t *tokens) find(token string) (name string, ok bool) {
	presented, at := sha256.Sum256([]byte(token)), -1
	entries := t.current()
	for i := range entries {
		at = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(entries[i].hash[:], presented[:]), i, at)
	}
	if at < 0 {
		return "", false
	}
	return entries[at].name, true
}

// current returns what the file holds, or held before it stopped being right. It
// looks at the file once a second at most.
func (t *tokens) current() []entry {
	now, looked := int64(time.Since(t.start)), t.looked.Load()
	if now-looked >= int64(lookEvery) && t.looked.CompareAndSwap(looked, now) {
		t.look()
	}
	return *t.entries.Load()
}

func (t *tokens) look() {
	t.reload.Lock()
	defer t.reload.Unlock()
	info, err := os.Stat(t.file)
	if err != nil {
		if t.missing != err.Error() {
			t.missing = err.Error()
			t.logger.Error("the tokens are not read anew, the old ones stay", "error", fmt.Errorf("gateway.auth.tokens_file: %w", err))
		}
		return
	}
	if t.missing == "" && os.SameFile(info, t.seen) && info.ModTime().Equal(t.seen.ModTime()) && info.Size() == t.seen.Size() {
		return
	}
	t.seen, t.missing = info, ""
	entries, err := t.read()
	if err != nil {
		t.logger.Error("the tokens are not read anew, the old ones stay", "error", err)
		return
	}
	t.entries.Store(&entries)
	t.logger.Info("tokens read anew", "tokens", len(entries))
}
