package config_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/angz-dev/angz/runtime/config"
)

// canary stands for every secret. It is found in no error, no warning and
// nothing that is shown.
const canary = "hunter2canary"

func TestASecretIsReadFromItsFile(t *testing.T) {
	t.Parallel()
	dir := project(t, map[string]string{
		"angz.yaml":       "storage: {sqlite: {path: x}, postgres: {uri_file: secrets/pg}, redis: {uri: 'redis://written'}}\nmessaging: {amqp: {url_file: secrets/windows}}\n",
		"secrets/pg":      "postgres://u:p@db/shop\n",
		"secrets/windows": "amqp://u:p@mq/\r\n",
		"secrets/redis":   "redis://r:p@cache\n",
	})
	got := load(t, config.Options{Dir: dir, Environ: []string{"ANGZARR_STORAGE__REDIS__URI_FILE=" + filepath.Join(dir, "secrets/redis"), "ANGZARR__MESSAGING__KAFKA__SASL_PASSWORD_FILE=secrets/pg"}})
	same(t, "in the file", "postgres://u:p@db/shop", got.Storage.Postgres.URI)
	same(t, "with the line break of Windows", "amqp://u:p@mq/", got.Messaging.AMQP.URL)
	same(t, "a variable over the file", "redis://r:p@cache", got.Storage.Redis.URI)
	same(t, "seen from the file, also in a variable", "postgres://u:p@db/shop", got.Messaging.Kafka.SASLPassword)
	same(t, "origin", filepath.Join(dir, "angz.yaml")+":1:51", got.Origin("storage.postgres.uri"))
	same(t, "origin of a variable", "environment variable ANGZARR_STORAGE__REDIS__URI_FILE", got.Origin("storage.redis.uri"))
	over := load(t, config.Options{Dir: dir, Environ: []string{"ANGZARR_STORAGE__POSTGRES__URI=postgres://later/"}})
	same(t, "a variable over a file that the file names", "postgres://later/", over.Storage.Postgres.URI)
}

func TestASecretsFileThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	dir := project(t, map[string]string{"empty": "\n", "lines": canary + "\n" + canary, "binary": canary + "\xff", "nul": canary + "\x00", "huge": strings.Repeat(canary, 10_000)})
	const key = "ANGZARR_STORAGE__POSTGRES__URI_FILE"
	for file, want := range map[string]string{
		dir + "/none": "found " + quote(dir+"/none") + ", expected a file that holds storage.postgres.uri in one line; no such file or directory",
		dir:           "that is no regular file", dir + "/empty": "that is empty", dir + "/lines": "that holds several lines", dir + "/binary": "that is not UTF-8 text",
		dir + "/nul": "a value that is not shown here", dir + "/huge": "that holds more than 65536 bytes",
		"postgres://u:" + canary + "@db": "found a value that is not shown here, since it may be the secret itself",
		canary:                           "found a value that is not shown here, since it may be the secret itself",
	} {
		_, err := config.Load(config.Options{Dir: dir, Dev: true, Environ: []string{key + "=" + file}})
		if err == nil || !strings.Contains(err.Error(), "environment variable "+key+": ") || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: got %v, want %q", file, err, want)
		}
	}
}

func quote(text string) string { return `"` + text + `"` }

func TestASecretIsGivenOnce(t *testing.T) {
	t.Parallel()
	dir := project(t, map[string]string{"pg": "postgres://x", "angz.yaml": "storage:\n  postgres:\n    uri: postgres://" + canary + "\n    uri_file: pg\n"})
	_, err := config.Load(config.Options{Dir: dir, Dev: true})
	want := "angz.yaml:4:15: storage.postgres.uri_file: found storage.postgres.uri as well, which means the same, expected one of them"
	if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), canary) {
		t.Errorf("got %v, want %q", err, want)
	}
	dir = project(t, map[string]string{"pg": "postgres://x", "angz.yaml": ""})
	_, err = config.Load(config.Options{Dir: dir, Dev: true, Environ: []string{"ANGZARR__STORAGE__POSTGRES__URI=" + canary, "ANGZARR_STORAGE__POSTGRES__URI_FILE=pg"}})
	want = "environment variable ANGZARR_STORAGE__POSTGRES__URI_FILE: found ANGZARR__STORAGE__POSTGRES__URI as well, which means the same, expected one of them: unset the other"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %q", err, want)
	}
}

// TestNoErrorHoldsASecret puts the canary into every secret key in every wrong
// and right way that there is, beside mistakes of other keys, and looks for it
// in everything that is said.
func TestNoErrorHoldsASecret(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(canary+"\n"+canary+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	shapes := []string{
		canary, "'" + canary, "[" + canary + "]", "{a: " + canary + "}", "{" + canary + ": 1}", "[[" + canary + "]]", "!tag " + canary, "&a " + canary + "\n*a",
		"postgres://u:" + canary + "@h/db", "'postgres://u:" + canary + "@h:port/db'", "\"" + canary + "\\x00\"", "|\n        " + canary, canary + ": x", "<<: {x: " + canary + "}",
		"\n        deep:\n          deeper: " + canary, "\t" + canary, canary + "\x00",
	}
	secrets := 0
	for _, key := range config.Keys() {
		if !key.Secret && !strings.HasSuffix(key.Path, "_file") || strings.HasSuffix(key.Path, "tokens_file") {
			continue
		}
		secrets++
		for _, role := range []string{"", "saga"} {
			for _, shape := range shapes {
				text := written(key.Path, shape) + "\ngateway: {port: x}\n"
				silent(t, text, config.Options{Dir: project(t, map[string]string{"angz.yaml": text}), Role: role, Name: "a"})
			}
		}
		for _, value := range []string{canary, "postgres://u:" + canary + "@h:port/db", "amqp://" + canary, "a=" + canary + ",b", "a=" + canary + "\x00", "\x00" + canary, file} {
			for _, variable := range key.Variables {
				silent(t, variable, config.Options{Dir: t.TempDir(), Environ: []string{variable + "=" + value, strings.Replace(variable, "ANGZARR_", "ANGZARR__", 1) + "=x" + value, variable + "X=" + value}})
			}
			silent(t, key.Path, config.Options{Dir: t.TempDir(), Set: map[string]string{key.Path: value, key.Path + "x": value}, Role: "all"})
		}
	}
	if secrets < 15 {
		t.Errorf("only %d secrets were tried", secrets)
	}
}

// written returns a file with a key.
func written(path, value string) string {
	text, indent := "", ""
	for section := range strings.SplitSeq(path, ".") {
		name, list := strings.CutSuffix(section, "[]")
		text += "\n" + indent + name + ":"
		indent += "  "
		if list {
			text += "\n" + indent + "- name: a"
			indent += "  "
		}
	}
	return text + " " + value
}

// silent loads a configuration and looks for the canary in what is said of it.
func silent(t *testing.T, what string, options config.Options) {
	t.Helper()
	loaded, err := config.Load(options)
	var said bytes.Buffer
	if err != nil {
		said.WriteString(err.Error())
	} else {
		said.WriteString(strings.Join(loaded.Warnings(), "\n"))
		if err := loaded.WriteYAML(&said, true); err != nil {
			t.Fatal(err)
		}
		if err := loaded.WriteJSON(&said, true); err != nil {
			t.Fatal(err)
		}
		for _, role := range config.Roles() {
			if err := loaded.CheckRole(role, ""); err != nil {
				said.WriteString(err.Error())
			}
		}
	}
	if strings.Contains(said.String(), canary) {
		t.Errorf("%s:\n%s", what, said.String())
	}
}
