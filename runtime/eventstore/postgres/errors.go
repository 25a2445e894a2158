package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/angz-dev/angz/runtime/eventstore"
)

// connection marks an error of connecting, as opposed to one of a statement.
type connection struct{ error }

func (c *connection) Unwrap() error { return c.error }

// isConnection reports whether an error says that the database cannot be reached
// now, or is not ready, rather than that something is wrong with a statement or
// with what the database holds.
func isConnection(err error) bool {
	if errors.As(err, new(*connection)) || errors.As(err, new(*pgconn.ConnectError)) {
		return true
	}
	said := (*pgconn.PgError)(nil)
	if !errors.As(err, &said) {
		return errors.Is(err, eventstore.ErrUnavailable) // what else comes from a connection has been marked so
	}
	switch class(said) {
	case "08", "53", "57", "58": // connection; resources; the operator, a shutdown or a timeout; the system
		return true
	}
	switch said.Code {
	case "25006", "55P03", "40P01", "40001": // a standby, which cannot be written; waited too long; chosen to lose
		return true
	}
	return false
}

// isUnique reports whether a key that had to be free was taken.
func isUnique(err error) bool {
	said := (*pgconn.PgError)(nil)
	return errors.As(err, &said) && said.Code == "23505"
}

// isRefused reports whether the database refuses what it was given, which no
// repetition changes: 22 is about values, 23 about constraints, 54 about limits.
func isRefused(err error) bool {
	said := (*pgconn.PgError)(nil)
	if !errors.As(err, &said) {
		return false
	}
	c := class(said)
	return c == "22" || c == "23" || c == "54"
}

// isLost reports whether a statement failed with its connection.
func isLost(err error) bool { return !errors.As(err, new(*pgconn.PgError)) }

// isStale reports whether a connection turned out to be gone when it was used.
func isStale(err error) bool {
	said := (*pgconn.PgError)(nil)
	if errors.As(err, &said) {
		return said.Code == "57P01" // it was ended by the operator, or by a shutdown
	}
	if errors.As(err, new(*pgconn.ConnectError)) {
		return false
	}
	for _, lost := range []error{io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, lost) {
			return true
		}
	}
	return pgconn.SafeToRetry(err)
}

func class(said *pgconn.PgError) string { return said.Code[:min(2, len(said.Code))] }

// unavailable turns an error of the database into one of the contract. A caller
// who has left or has no more time gets the error of the context.
func unavailable(err error) error {
	left := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) && !isConnection(err)
	if err == nil || left {
		return err
	}
	return away(err)
}

// away says that the database is not there, whatever ran out of time on the way.
func away(err error) error { return fmt.Errorf("%w: %w", eventstore.ErrUnavailable, hidden(err)) }

// hidden keeps what pgx says of the connection string out of an error.
func hidden(err error) error {
	connecting := (*pgconn.ConnectError)(nil)
	if !errors.As(err, &connecting) {
		return err
	}
	if inner := connecting.Unwrap(); inner != nil {
		return inner
	}
	return errors.New("it cannot be reached")
}
