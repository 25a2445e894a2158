package postgres

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// listen keeps the log's end in step with what other processes append, and knows
// whether the database can be reached. Notifications are hints: when none comes
// for a moment, the database is asked.
func (s *Store) listen(ctx context.Context) {
	delays := patience()
	delays.Reset()
	told := ""
	for ctx.Err() == nil {
		began := time.Now()
		err := s.hear(ctx)
		if ctx.Err() != nil {
			return
		}
		s.health.set(false)
		s.pool.Reset() // its connections were lost with this one, or may have been
		if text := err.Error(); text != told {
			told = text
			s.logger.Warn("lost PostgreSQL, connecting again", "error", err)
		}
		if time.Since(began) > connectWithin {
			delays.Reset()
			told = ""
		}
		timer := time.NewTimer(delays.NextBackOff())
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// hear listens on one connection until it is lost.
func (s *Store) hear(ctx context.Context) error {
	conn, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer closeConn(ctx, conn)
	if _, err := conn.Exec(ctx, `LISTEN angz`); err != nil {
		return unavailable(err)
	}
	if up, _ := s.health.get(); !up {
		s.logger.Info("PostgreSQL is there again")
	}
	for {
		if err := s.ask(ctx, conn); err != nil {
			return err
		}
		s.health.set(true)
		if err := s.waitForNews(ctx, conn); err != nil {
			return err
		}
	}
}

// ask reads how far the log has grown.
func (s *Store) ask(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, connectWithin)
	defer cancel()
	var head int64
	if err := conn.QueryRow(ctx, `SELECT coalesce((SELECT position FROM angz_events ORDER BY position DESC LIMIT 1), 0)`).Scan(&head); err != nil {
		return unavailable(err)
	}
	s.recent.Reach(uint64(head))
	return nil
}

// waitForNews takes notifications until none has come for a moment.
func (s *Store) waitForNews(ctx context.Context, conn *pgx.Conn) error {
	for {
		waiting, cancel := context.WithTimeout(ctx, poll)
		notification, err := conn.WaitForNotification(waiting)
		quiet := errors.Is(waiting.Err(), context.DeadlineExceeded)
		cancel()
		if err != nil {
			if quiet && ctx.Err() == nil && !conn.IsClosed() {
				return nil
			}
			return unavailable(err)
		}
		if head, err := strconv.ParseUint(notification.Payload, 10, 63); err == nil {
			s.news.heard(head)
			s.recent.Reach(head)
		}
	}
}
