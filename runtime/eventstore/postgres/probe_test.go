package postgres_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/angz-dev/angz/runtime/eventstore/postgres"
)

func TestProbeRace(t *testing.T) {
	uri := server.Use(t)
	for _, statement := range postgres.FirstTables() {
		execute(t, uri, statement)
	}
	execute(t, uri, `INSERT INTO angz_meta VALUES ('schema_version', '1'), ('log_epoch', '`+uuid.NewString()+`')`)
	holder, old, watch := connected(t, uri), connected(t, uri), connected(t, uri)
	if _, err := holder.Exec(t.Context(), `SELECT pg_advisory_lock(1634625402, 0)`); err != nil {
		t.Fatal(err)
	}
	waiting := func(want int) {
		until(t, fmt.Sprint(want, " wait"), func() bool {
			var n int
			if err := watch.QueryRow(t.Context(), `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND classid = 1634625402 AND objid = 0`).Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n == want
		})
	}
	done := make(chan error, 2)
	go func() { _, err := postgres.Migrate(t.Context(), uri, postgres.MigrateOptions{}); done <- err }()
	waiting(1)
	go func() {
		var status int
		err := old.QueryRow(t.Context(), `SELECT status FROM angz_append(ARRAY[$1::uuid], '{f}', '{order}', ARRAY[$2::uuid], '{""}', ARRAY[$3::bigint], '{1}', '{c}', '{""}', '{""}',
			'{1}', '{0}', '{0}', '{t/examples.Happened}', ARRAY[NULL::bytea], '{}', '{}', '{}', '{}', '{}')`, uuid.New(), uuid.New(), 0).Scan(&status)
		done <- err
	}()
	waiting(2)
	if _, err := holder.Exec(t.Context(), `SELECT pg_advisory_unlock(1634625402, 0)`); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	d, err := opened(t, uri).Domains(t.Context())
	t.Logf("RACE domains: %+v %v", d, err)
}

func TestProbeLongTransaction(t *testing.T) {
	for _, foreign := range []bool{false, true} {
		uri := server.Use(t)
		store := opened(t, uri)
		if _, err := store.Append(t.Context(), command(newKey("order"), 0, "a")); err != nil {
			t.Fatal(err)
		}
		if foreign {
			tx, err := connected(t, uri).BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
			if err != nil {
				t.Fatal(err)
			}
			var n int
			if err := tx.QueryRow(t.Context(), `SELECT count(*) FROM angz_events`).Scan(&n); err != nil {
				t.Fatal(err)
			}
		}
		key := newKey("order")
		began := time.Now()
		before, _ := server.CPU()
		for i := range uint32(24000) {
			if _, err := store.Append(t.Context(), command(key, i, "a")); err != nil {
				t.Fatal(err)
			}
			if i%4000 == 3999 {
				after, _ := server.CPU()
				t.Logf("LONG foreign=%v %d: %v wall, %v server cpu each", foreign, i+1, time.Since(began)/4000, (after-before)/4000)
				began, before = time.Now(), after
			}
		}
	}
}
