package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"
	engine "modernc.org/sqlite"
	codes "modernc.org/sqlite/lib"

	"github.com/angz-dev/angz/runtime/eventstore"
)

// conn is one connection with its prepared statements. It belongs to one
// goroutine at a time.
//
// It goes around database/sql, whose pool, reflection and locks cost more than
// the statements themselves.
type conn struct {
	raw        driver.Conn
	statements map[string]driver.Stmt
	args       []driver.NamedValue // of the statement being started
}

// errStop ends a query early.
var errStop = errors.New("enough rows")

// connect opens a connection and sets it up. name is a file URI or ":memory:".
func connect(ctx context.Context, name string, pragmas []string) (*conn, error) {
	raw, err := (&engine.Driver{}).Open(name)
	if err != nil {
		return nil, unavailable(err)
	}
	c := &conn{raw: raw, statements: make(map[string]driver.Stmt)}
	for _, pragma := range pragmas {
		if err := c.once(ctx, "PRAGMA "+pragma); err != nil {
			return nil, errors.Join(err, c.close())
		}
	}
	return c, nil
}

// close releases the connection; an open transaction is rolled back.
func (c *conn) close() error {
	var failed error
	for _, statement := range c.statements {
		failed = errors.Join(failed, statement.Close())
	}
	// A statement's last error comes again when it is closed; only the
	// connection's own says whether anything is still held.
	if err := c.raw.Close(); err != nil {
		return errors.Join(err, failed)
	}
	return nil
}

// once runs SQL that is not worth keeping prepared; results are discarded.
func (c *conn) once(ctx context.Context, sql string) error {
	defer c.forget(sql)
	_, err := c.exec(ctx, sql)
	return err
}

func (c *conn) forget(sql string) {
	if statement, ok := c.statements[sql]; ok {
		_ = statement.Close() // repeats the error the statement ended with
		delete(c.statements, sql)
	}
}

func (c *conn) prepare(sql string) (driver.Stmt, error) {
	if statement, ok := c.statements[sql]; ok {
		return statement, nil
	}
	statement, err := c.raw.Prepare(sql)
	if err != nil {
		return nil, unavailable(err)
	}
	c.statements[sql] = statement
	return statement, nil
}

// bind puts the arguments into the form the engine wants. It copies them before
// the statement runs, so the buffer can be used again at once.
func (c *conn) bind(args []driver.Value) []driver.NamedValue {
	c.args = c.args[:0]
	for i, arg := range args {
		c.args = append(c.args, driver.NamedValue{Ordinal: i + 1, Value: arg})
	}
	return c.args
}

// exec runs a statement to its end and returns how many rows it changed. Once
// the store is open the context should not be cancellable: watching it costs a
// goroutine for each statement, and all of them are short.
func (c *conn) exec(ctx context.Context, sql string, args ...driver.Value) (int64, error) {
	statement, err := c.prepare(sql)
	if err != nil {
		return 0, err
	}
	result, err := statement.(driver.StmtExecContext).ExecContext(ctx, c.bind(args))
	if err != nil {
		return 0, unavailable(err)
	}
	return result.RowsAffected()
}

// query calls row for each row of a result until the end or until it returns an
// error; errStop just ends the query. The row's slice is used again for the next
// one. row must not use the connection. The context is as in exec.
func (c *conn) query(ctx context.Context, sql string, row func([]driver.Value) error, args ...driver.Value) (err error) {
	statement, err := c.prepare(sql)
	if err != nil {
		return err
	}
	rows, err := statement.(driver.StmtQueryContext).QueryContext(ctx, c.bind(args))
	if err != nil {
		return unavailable(err)
	}
	values := make([]driver.Value, len(rows.Columns()))
	for {
		if err = rows.Next(values); err != nil {
			break
		}
		if err = row(values); err != nil {
			break
		}
	}
	closeErr := rows.Close()
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, errStop):
		return unavailable(closeErr)
	case isEngine(err):
		return unavailable(err)
	}
	return err
}

// number returns the first column of the first row, 0 if there is none or it is
// NULL.
func (c *conn) number(ctx context.Context, sql string, args ...driver.Value) (int64, error) {
	var found int64
	err := c.query(ctx, sql, func(row []driver.Value) error {
		found = integer(row[0])
		return errStop
	}, args...)
	return found, err
}

// unavailable marks an error of the engine as one of the store.
func unavailable(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", eventstore.ErrUnavailable, err)
}

func isEngine(err error) bool {
	var failed *engine.Error
	return errors.As(err, &failed)
}

// code returns the engine's primary result code, 0 for an error of another
// kind.
func code(err error) int {
	var failed *engine.Error
	if !errors.As(err, &failed) {
		return 0
	}
	return failed.Code() & 0xff
}

// isConstraint says whether a key that should have been free was taken.
func isConstraint(err error) bool { return code(err) == codes.SQLITE_CONSTRAINT }

// The columns of a row. The tables are STRICT, so a value is of its column's
// type or NULL, which stands for nothing.

func integer(v driver.Value) int64 { n, _ := v.(int64); return n }

func text(v driver.Value) string { s, _ := v.(string); return s }

func blob(v driver.Value) []byte { b, _ := v.([]byte); return b }

func id(v driver.Value) (u uuid.UUID) { copy(u[:], blob(v)); return u }

func moment(v driver.Value) time.Time { return time.Unix(0, integer(v)).UTC() }

// bytesOrNull returns a blob to store. The engine cannot bind an empty one.
func bytesOrNull(b []byte) driver.Value {
	if len(b) == 0 {
		return nil
	}
	return b
}

// textOrNull returns a text of which most rows have none.
func textOrNull(s string) driver.Value {
	if s == "" {
		return nil
	}
	return s
}
