package features_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// barrier holds up, inside the database, whoever wants to record that a slice of
// a subscription has moved. Everything else goes on, also the renewal of leases.
type barrier struct{ conn *pgx.Conn }

// closeBarrier closes the barrier for one slice.
func closeBarrier(ctx context.Context, conn *pgx.Conn, subscription string, slice int) (*barrier, error) {
	for _, statement := range []string{
		`SELECT pg_advisory_lock(4711)`, // of the scenario's database, as everything here
		`CREATE FUNCTION wait_at_barrier() RETURNS trigger LANGUAGE plpgsql AS
			'BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN NEW; END'`,
		fmt.Sprintf(`CREATE TRIGGER barrier BEFORE UPDATE ON angz_slices FOR EACH ROW
			WHEN (NEW.name = '%s' AND NEW.number = %d AND NEW.position <> OLD.position)
			EXECUTE FUNCTION wait_at_barrier()`, subscription, slice),
	} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return nil, fmt.Errorf("close the barrier: %w", err)
		}
	}
	return &barrier{conn}, nil
}

const waitingAtBarrier = `SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = 4711 AND objsubid = 1
	AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`

// reached says what is missing while nobody waits at the barrier.
func (b *barrier) reached(ctx context.Context) error {
	var pid int
	err := b.conn.QueryRow(ctx, waitingAtBarrier).Scan(&pid)
	if errors.Is(err, pgx.ErrNoRows) {
		return errors.New("nobody has come to record anything")
	}
	return err
}

// open takes the barrier away. Those who wait there do not pass: the database
// would carry out what a process that is dead by now has asked for.
func (b *barrier) open(ctx context.Context) error {
	for _, statement := range []string{
		`SELECT pg_terminate_backend(pid) FROM (` + waitingAtBarrier + `) AS waiting`,
		`DROP TRIGGER barrier ON angz_slices`, `DROP FUNCTION wait_at_barrier`, `SELECT pg_advisory_unlock(4711)`,
	} {
		if _, err := b.conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("open the barrier: %w", err)
		}
	}
	return nil
}
