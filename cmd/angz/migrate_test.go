package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/angz-dev/angz/runtime/servertest"
)

func TestMigrateSaysWhatItDoes(t *testing.T) {
	t.Parallel()
	server := servertest.NewPostgres()
	t.Cleanup(server.Close)
	uri := server.Use(t)
	environ := []string{"ANGZARR_STORAGE__TYPE=postgres", "ANGZARR_STORAGE__POSTGRES__URI=" + uri}
	for _, step := range []struct {
		args []string
		want []string
	}{
		{[]string{"--dry-run"}, []string{"-- from version 0 to 4; nothing has been changed\n", "CREATE TABLE angz_events", "CREATE INDEX IF NOT EXISTS angz_events_correlation"}},
		{[]string{"--dry-run", "--output", "json"}, []string{`{"storage":"postgres","needed":true,"from":0,`, `"dry_run":true,"statements":["`}},
		{nil, []string{"migrated the tables from version 0 to 4\n"}},
		{nil, []string{"nothing to do: the tables are of version 4\n"}},
		{[]string{"--new-epoch", "--dry-run"}, []string{"nothing has been changed", "UPDATE angz_meta SET value = '"}},
		{[]string{"--new-epoch"}, []string{"the tables are of version 4, and the log has the new epoch "}},
		{[]string{"--new-epoch", "--output", "json"}, []string{`{"storage":"postgres","needed":true,`, `"dry_run":false,`, `"epoch":"`}},
	} {
		var out, failed bytes.Buffer
		code := run(t.Context(), append([]string{"migrate"}, step.args...), streams{in: strings.NewReader(""), out: &out, err: &failed, environ: environ})
		if code != exitOK || failed.Len() > 0 {
			t.Errorf("migrate %q: exit code %d, %s", step.args, code, &failed)
		}
		for _, part := range step.want {
			if !strings.Contains(out.String(), part) {
				t.Errorf("migrate %q does not say %q:\n%s", step.args, part, &out)
			}
		}
	}
}

func TestMigrateWithoutADatabase(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args, environ []string
		code          int
		want          string
	}{
		"a file":                {nil, []string{"ANGZARR_STORAGE__TYPE=sqlite"}, exitOK, "nothing to do: storage.type is sqlite"},
		"a file and a new time": {[]string{"--new-epoch"}, []string{"ANGZARR_STORAGE__TYPE=sqlite"}, exitUsage, "only a PostgreSQL database"},
		"no server": {nil, []string{"ANGZARR_STORAGE__TYPE=postgres", "ANGZARR_STORAGE__POSTGRES__URI=postgres://u:s3cret@127.0.0.1:1/db"},
			exitFailed, "connect to PostgreSQL at 127.0.0.1:1"},
		"no URI": {nil, []string{"ANGZARR_STORAGE__TYPE=postgres", "ANGZARR_STORAGE__POSTGRES__URI=postgres://u:s3cret@h:p/db"},
			exitFailed, "storage.postgres.uri cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var said bytes.Buffer
			code := run(t.Context(), append([]string{"migrate"}, c.args...), streams{in: strings.NewReader(""), out: &said, err: &said, environ: c.environ})
			if code != c.code || !strings.Contains(said.String(), c.want) || strings.Contains(said.String(), "s3cret") {
				t.Errorf("exit code %d, want %d; it says %q, want %q", code, c.code, &said, c.want)
			}
		})
	}
}
