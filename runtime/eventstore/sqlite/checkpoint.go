package sqlite

import (
	"context"
	"database/sql/driver"
	"log/slog"
	"sync/atomic"
)

const (
	// checkpointPages is after how many pages the write-ahead log is copied
	// into the file: 8 MiB.
	checkpointPages = 2048
	// crowdedPages is when the log counts as too long: 64 MiB. A checkpoint
	// beside a busy writer never quite catches up with it, and only a log that
	// is copied to its end begins again at its start.
	crowdedPages = 16384
)

// checkpointer copies the write-ahead log into the file while the writer goes
// on.
type checkpointer struct {
	connect func(context.Context) (*conn, error)
	logger  *slog.Logger
	due     chan struct{}

	pages   int         // written since the last one was asked for; the writer's
	crowded atomic.Bool // the writer has to make room itself
}

func newCheckpointer(connect func(context.Context) (*conn, error), logger *slog.Logger) *checkpointer {
	return &checkpointer{connect: connect, logger: logger, due: make(chan struct{}, 1)}
}

// wrote counts what the writer has written and asks for a checkpoint when it is
// time. Only the writer calls it.
func (k *checkpointer) wrote(pages int) {
	k.pages += pages
	if k.pages < checkpointPages {
		return
	}
	k.pages = 0
	select {
	case k.due <- struct{}{}:
	default: // one is due already
	}
}

// stop ends run. Only the writer calls it, when it ends.
func (k *checkpointer) stop() { close(k.due) }

// run works until stop. The context only carries values.
func (k *checkpointer) run(ctx context.Context) {
	var c *conn
	for range k.due {
		var err error
		if c == nil {
			c, err = k.connect(ctx)
		}
		if err == nil {
			err = k.checkpoint(ctx, c)
		}
		if err == nil {
			continue
		}
		// Nothing is lost: the write-ahead log only stays longer.
		k.logger.WarnContext(ctx, "the write-ahead log could not be copied into the database file", "error", err)
		if c != nil {
			_ = c.close()
			c = nil
		}
	}
	if c != nil {
		_ = c.close()
	}
}

// checkpoint copies what it can without waiting for anybody.
func (k *checkpointer) checkpoint(ctx context.Context, c *conn) error {
	return c.query(ctx, `PRAGMA wal_checkpoint(PASSIVE)`, func(row []driver.Value) error {
		k.crowded.Store(integer(row[1]) > crowdedPages)
		return nil
	})
}

// makeRoom copies the rest of a log that has become too long. The writer calls
// it between two batches, when nobody adds to the log.
func (k *checkpointer) makeRoom(ctx context.Context, c *conn) error {
	if !k.crowded.Load() {
		return nil
	}
	err := k.checkpoint(ctx, c)
	k.crowded.Store(false)
	return err
}
