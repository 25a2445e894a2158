package postgres

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"
)

// Examined is what can be told of a database by one connection that changes
// nothing.
type Examined struct {
	Address string // host:port, or the folder of a socket
	Server  string // the server's version, such as "17.2"
	TLS     bool   // whether the connection is protected
	Tables  int    // the version of angz's tables, 0 when there are none
	Wanted  int    // the version that this angz needs
	// Ahead is how far the server's clock is ahead of this machine's, less what
	// the question took.
	Ahead time.Duration
}

// Examine connects once and looks. Its error says that the database cannot be
// used as it is; the rest is then told as far as it is known. The context bounds it.
func Examine(ctx context.Context, uri string) (Examined, error) {
	config, err := parse(Options{URI: uri, MaxConnections: 1})
	if err != nil {
		return Examined{}, err
	}
	examined := Examined{Address: address(config.ConnConfig), Wanted: schemaVersion}
	conn, err := (&Store{config: config}).connect(ctx)
	if err != nil {
		return examined, err
	}
	defer closeConn(ctx, conn)
	_, examined.TLS = conn.PgConn().Conn().(*tls.Conn)
	examined.Server = conn.PgConn().ParameterStatus("server_version")
	if examined.Ahead, err = clockAhead(func(into *time.Time) error {
		return conn.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(into)
	}); err != nil {
		return examined, fmt.Errorf("ask for the time: %w", unavailable(err))
	}
	if examined.Tables, err = versionOf(ctx, conn); err != nil {
		return examined, err
	}
	if examined.Tables > schemaVersion {
		return examined, newer(examined.Tables)
	}
	var standby bool
	if err := conn.QueryRow(ctx, `SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean`).Scan(&standby); err != nil {
		return examined, fmt.Errorf("ask whether it can be written: %w", unavailable(err))
	}
	if standby {
		return examined, errors.New("it is a standby or read-only: name the primary in storage.postgres.uri")
	}
	return examined, nil
}

// clockAhead asks for a clock and says how far it is ahead of this machine's.
func clockAhead(ask func(*time.Time) error) (time.Duration, error) {
	before := time.Now()
	var there time.Time
	if err := ask(&there); err != nil {
		return 0, err
	}
	after := time.Now()
	switch {
	case there.Before(before):
		return there.Sub(before), nil
	case there.After(after):
		return there.Sub(after), nil
	}
	return 0, nil
}
