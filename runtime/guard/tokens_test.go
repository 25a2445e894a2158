package guard_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "github.com/angz-dev/angz/proto/angzarrpb"
	"github.com/angz-dev/angz/runtime/guard"
	"github.com/angz-dev/angz/runtime/runtimetest"
)

// pass asks a guard itself for a call.
func pass(ctx context.Context, made *guard.Guard, token string) error {
	if token != "" {
		ctx = metadata.NewIncomingContext(ctx, metadata.Pairs("authorization", "Bearer "+token))
	}
	_, err := made.Unary()(ctx, &pb.Query{Domain: "order"}, &grpc.UnaryServerInfo{FullMethod: pb.EventQuery_GetEventBook_FullMethodName},
		func(context.Context, any) (any, error) { return events("order"), nil })
	return err
}

// reading is a guard by which every known caller may read, with its tokens file.
func reading(t testing.TB, tokens string, edit ...func(*guard.Options)) (made *guard.Guard, file string, log *bytes.Buffer) {
	t.Helper()
	file, log = filepath.Join(t.TempDir(), "tokens"), &bytes.Buffer{}
	runtimetest.WriteFile(t, file, []byte(tokens))
	options := guard.Options{
		Modes: []guard.Mode{guard.Token}, TokensFile: file, Logger: slog.New(slog.NewTextHandler(log, nil)),
		Rules: []guard.Rule{{Identity: "*", Queries: []string{"*"}}},
	}
	for _, change := range edit {
		change(&options)
	}
	return open(t, options), file, log
}

func known(t *testing.T, made *guard.Guard, token string, want bool) {
	t.Helper()
	err := pass(t.Context(), made, token)
	if got := err == nil; got != want || err != nil && status.Code(err) != codes.Unauthenticated {
		t.Errorf("got %v, want %v", err, want)
	}
}

func TestTokensAreReadAnewWithinASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const first, second = "first-0123456789abcdef", "second-0123456789abcdef"
		made, file, log := reading(t, "web:"+first+"\n")
		after := func(content string) {
			t.Helper()
			runtimetest.WriteFile(t, file, []byte(content))
			time.Sleep(time.Second)
		}
		known(t, made, first, true)
		known(t, made, second, false)
		after("web:" + first + "\nweb:" + second + "\n") // both, while callers change over
		known(t, made, first, true)
		known(t, made, second, true)
		after("web:" + second + "\n")
		known(t, made, first, false)
		known(t, made, second, true)
		for _, broken := range []string{"", "web:" + second + "\n" + first + "\n", "web: short"} {
			log.Reset()
			after(broken)
			known(t, made, second, true)
			time.Sleep(time.Minute)
			known(t, made, second, true)
			said := log.String()
			if strings.Count(said, "the old ones stay") != 1 || !strings.Contains(said, file) || strings.Contains(said, first) || strings.Contains(said, second) || strings.Contains(said, "short") {
				t.Errorf("%q: logged %s", broken, said)
			}
		}
		log.Reset()
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			time.Sleep(time.Minute)
			known(t, made, second, true)
		}
		if strings.Count(log.String(), "the old ones stay") != 1 {
			t.Errorf("logged %s", log)
		}
		after("web:" + first + "\n")
		known(t, made, first, true)
	})
}

func TestATokensFileThatIsWrong(t *testing.T) {
	t.Parallel()
	const secret = "canary-0123456789abcdef"
	for content, want := range map[string]string{
		"":                                  "it holds no token: write lines name:token or name:sha256:hex",
		"# nobody\n":                        "it holds no token",
		"\n\n" + secret + "\n":              "line 3: expected name:token or name:sha256:hex",
		"web:\n":                            "line 1: expected name:token",
		":" + secret:                        "line 1: expected name:token",
		"web:canary-short":                  "line 1: expected a token of 16",
		"web:canary":                        "line 1: expected a token of 16 to 4096 ASCII characters without spaces: openssl rand -hex 32 makes one",
		"web:canary 0123456789 0123456789":  "line 1: expected a token of",
		"web:canary-é-0123456789012345":     "line 1: expected a token of",
		"we b:" + secret:                    "line 1: expected a name of at most 256 printable characters",
		"web:sha256:canary":                 "line 1: expected sha256: with 64 hexadecimal digits after it",
		"web:sha256:00":                     "line 1: expected sha256:",
		"a:" + secret + "\nb:" + secret:     "line 2: it has the token of line 1: give each its own",
		"web:canary\xff-0123456789":         "it is not UTF-8 text",
		strings.Repeat("#canary\n", 200000): "found more than 1048576 bytes, expected lines name:token",
	} {
		file := filepath.Join(t.TempDir(), "tokens")
		runtimetest.WriteFile(t, file, []byte(content))
		_, err := guard.New(guard.Options{Modes: []guard.Mode{guard.Token}, TokensFile: file, Rules: []guard.Rule{{Identity: "*", Admin: true}}})
		if err == nil || !strings.HasPrefix(err.Error(), "gateway.auth.tokens_file "+file+": "+want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestLookingForATokenTakesAsLongForEvery measures whether the place of a token
// in the file, or how much of it is right, shows in the time that the answer
// takes. What it would find is an early end of the search: a factor of hundreds.
func TestLookingForATokenTakesAsLongForEvery(t *testing.T) {
	t.Parallel()
	var file strings.Builder
	for i := range 5000 {
		file.WriteString("web:" + strings.Repeat(string(rune('a'+i%26)), 20) + "-" + strconv.Itoa(i) + "\n")
	}
	made, _, _ := reading(t, file.String())
	fastest := func(token string) time.Duration {
		best := time.Hour
		for range 30 {
			began := time.Now()
			_ = pass(t.Context(), made, token) // the time is looked at, not the answer
			best = min(best, time.Since(began))
		}
		return best
	}
	first, last, none := fastest(strings.Repeat("a", 20)+"-0"), fastest(strings.Repeat("h", 20)+"-4999"), fastest("nothing-0123456789")
	for _, other := range []time.Duration{last, none} {
		if other > 10*first || first > 10*other {
			t.Errorf("the first of 5000 takes %s, the last %s, an unknown one %s", first, last, none)
		}
	}
}

// FuzzTokens holds that any file is refused, without a word of it, or taken.
func FuzzTokens(f *testing.F) {
	for _, seed := range []string{"web:" + webToken, "#\n\nops:sha256:" + strings.Repeat("0f", 32), "a:b:c\r\n", "\ufeffa:" + opsToken, ":", "x"} {
		f.Add([]byte(seed))
	}
	folder := f.TempDir()
	f.Fuzz(func(t *testing.T, content []byte) {
		file := filepath.Join(folder, "tokens")
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		made, err := guard.New(guard.Options{Modes: []guard.Mode{guard.Token}, TokensFile: file, Rules: []guard.Rule{{Identity: "*", Queries: []string{"*"}}}})
		if err != nil {
			for line := range strings.SplitSeq(string(content), "\n") {
				if _, token, _ := strings.Cut(line, ":"); len(token) >= 16 && !strings.Contains(err.Error(), "sha256") && strings.Contains(err.Error(), token) {
					t.Errorf("shows a token: %v", err)
				}
			}
			return
		}
		if err := pass(t.Context(), made, "nobody-has-this-token"); status.Code(err) != codes.Unauthenticated && !bytes.Contains(content, []byte("nobody-has-this-token")) && !bytes.Contains(content, []byte("sha256:")) {
			t.Errorf("a token is known that is not in the file: %v", err)
		}
	})
}
