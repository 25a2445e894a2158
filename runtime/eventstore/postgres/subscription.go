package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
)

const (
	selectPositions = `SELECT s.name, s.number, (SELECT count(*) FROM angz_slices c WHERE c.name = s.name),
			s.position, s.epoch, m.member, coalesce(m.address, ''), s.updated_at
		FROM angz_slices s LEFT JOIN angz_members m ON m.name = s.name AND m.member = s.member AND m.until > clock_timestamp()
		ORDER BY s.name COLLATE "C", s.number`

	selectParked = `SELECT subscription, position, domain, root, seq, attempts, reason, state, first_at, last_at, note
		FROM angz_parked WHERE (subscription COLLATE "C", position) > ($1, $2)`

	selectBlocked = `SELECT DISTINCT domain, root FROM angz_parked WHERE subscription = $1 AND state IN ('parked', 'retry')`
)

// wrongSlices is what the share function raises for another number of slices.
const wrongSlices = "AZ001"

// Share shares a subscription out; see eventstore.Subscriptions.
func (s *Store) Share(ctx context.Context, request eventstore.Share) (eventstore.Shared, error) {
	shared, err := s.share(ctx, &request)
	if err != nil {
		return eventstore.Shared{}, fmt.Errorf("share subscription %q: %w", request.Name, err)
	}
	return shared, nil
}

func (s *Store) share(ctx context.Context, request *eventstore.Share) (shared eventstore.Shared, err error) {
	if err := errors.Join(s.open(ctx), checkTexts(request.Name, request.Address)); err != nil {
		return shared, err
	}
	if err := checkShare(request); err != nil {
		return shared, err
	}
	given := make([]int32, len(request.Return))
	for i, number := range request.Return {
		given[i] = int32(number)
	}
	rows, err := s.pool.Query(ctx, `SELECT * FROM angz_share_controlled($1, $2, $3, $4, $5, $6, $7)`, request.Name, pgtype.UUID{Bytes: request.Member, Valid: true},
		request.Address, int32(request.Slices), request.Lease.Milliseconds(), given, request.Leave)
	if err != nil {
		return shared, sharing(err)
	}
	var number, surplus int32
	var position, epoch int64
	var member pgtype.UUID
	var address string
	var rewind, target int64
	var clearing bool
	_, err = pgx.ForEachRow(rows, []any{
		&number, &position, &epoch, &member, &address, &surplus, &shared.Paused, &shared.Note, &rewind, &target, &clearing,
	}, func() error {
		shared.Slices = append(shared.Slices, eventstore.Slice{
			Number: int(number), Position: uint64(position), Epoch: uint64(epoch), Member: member.Bytes, Address: address,
		})
		return nil
	})
	shared.Surplus = int(surplus)
	if !shared.Paused {
		shared.Note = ""
	}
	if rewind > 0 {
		shared.Rewind = &eventstore.Rewinding{Number: uint64(rewind), To: uint64(target), Clear: clearing}
	}
	return shared, sharing(err)
}

// checkShare refuses what no state of the subscription could make right.
func checkShare(request *eventstore.Share) error {
	if err := request.Check(); err != nil {
		return err
	}
	if request.Lease < time.Millisecond && !request.Leave { // the database counts in milliseconds
		return fmt.Errorf("a lease of %s", request.Lease)
	}
	return nil
}

func sharing(err error) error {
	if said := (*pgconn.PgError)(nil); errors.As(err, &said) && said.Code == wrongSlices {
		return fmt.Errorf("%w: %s", eventstore.ErrSlices, said.Message)
	}
	return unavailable(err)
}

// Advance moves slices; see eventstore.Subscriptions.
func (s *Store) Advance(ctx context.Context, moves eventstore.Advance) error {
	if err := s.advance(ctx, &moves); err != nil {
		return fmt.Errorf("advance subscription %q: %w", moves.Name, err)
	}
	return nil
}

func (s *Store) advance(ctx context.Context, moves *eventstore.Advance) error {
	if err := s.open(ctx); err != nil {
		return err
	}
	n := len(moves.Moves)
	numbers := make([]int32, n)
	epochs, froms, tos := make([]int64, n), make([]int64, n), make([]int64, n)
	for i, move := range moves.Moves {
		numbers[i], epochs[i], froms[i], tos[i] = int32(move.Slice), int64(move.Epoch), int64(move.From), int64(move.To)
	}
	p := parkedArrays(moves)
	var fenced []int32
	err := s.pool.QueryRow(ctx, `SELECT angz_advance($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15)`, moves.Name, numbers, epochs, froms, tos,
		p.names, p.positions, p.domains, p.roots, p.sequences, p.attempts, p.reasons, p.states, p.firsts, p.lasts).Scan(&fenced)
	if err != nil {
		return unavailable(err)
	}
	if len(fenced) == 0 {
		return nil
	}
	lost := &eventstore.Fenced{Name: moves.Name}
	for _, number := range fenced {
		lost.Slices = append(lost.Slices, int(number))
	}
	return lost
}

// arrays are parked events by column.
type arrays struct {
	names, domains, reasons, states     []string
	positions, sequences, firsts, lasts []int64
	roots                               []pgtype.UUID
	attempts                            []int32
}

// parkedArrays turns parked events into columns. Of several for one place the last
// one counts, with the first one's time, as if they were parked one by one.
func parkedArrays(moves *eventstore.Advance) (a arrays) {
	type place struct {
		name     string
		position uint64
	}
	latest := map[place]int{}
	parked := make([]eventstore.Parked, 0, len(moves.Park))
	for _, p := range moves.Park {
		at := place{cmp.Or(p.Subscription, moves.Name), p.Position}
		if before, twice := latest[at]; twice {
			first := parked[before]
			first.Attempts, first.Reason, first.State, first.LastAt = p.Attempts, p.Reason, p.State, p.LastAt
			parked[before] = first
			continue
		}
		latest[at] = len(parked)
		parked = append(parked, p)
	}
	for i := range parked {
		p := &parked[i]
		a.names = append(a.names, cmp.Or(p.Subscription, moves.Name))
		a.positions = append(a.positions, int64(p.Position))
		a.domains = append(a.domains, p.Key.Domain)
		a.roots = append(a.roots, rootOf(p.Key))
		a.sequences = append(a.sequences, int64(p.Sequence))
		a.attempts = append(a.attempts, int32(p.Attempts))
		a.reasons = append(a.reasons, strings.ReplaceAll(strings.ToValidUTF8(p.Reason, "\uFFFD"), "\x00", "\uFFFD"))
		a.states = append(a.states, string(cmp.Or(p.State, eventstore.StateParked)))
		a.firsts, a.lasts = append(a.firsts, eventstore.Nanos(p.FirstAt)), append(a.lasts, eventstore.Nanos(p.LastAt))
	}
	return a
}

// Positions lists all slices; see eventstore.Subscriptions.
func (s *Store) Positions(ctx context.Context) ([]eventstore.Position, error) {
	positions, err := s.positions(ctx)
	if err != nil {
		return nil, fmt.Errorf("list subscriptions: %w", err)
	}
	return positions, nil
}

func (s *Store) positions(ctx context.Context) (positions []eventstore.Position, err error) {
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	rows, err := s.pool.Query(ctx, selectPositions)
	if err != nil {
		return nil, unavailable(err)
	}
	var p eventstore.Position
	var number int32
	var slices, position, epoch int64
	var member pgtype.UUID
	_, err = pgx.ForEachRow(rows, []any{&p.Name, &number, &slices, &position, &epoch, &member, &p.Address, &p.UpdatedAt}, func() error {
		p.Slice, p.Slices, p.Position, p.Epoch = int(number), int(slices), uint64(position), uint64(epoch)
		p.Member = uuid.UUID(member.Bytes)
		positions = append(positions, p)
		return nil
	})
	return positions, unavailable(err)
}

// Parked lists parked events; see eventstore.Parking.
func (s *Store) Parked(ctx context.Context, wanted eventstore.ParkedQuery) ([]eventstore.Parked, error) {
	parked, err := s.parked(ctx, &wanted)
	if err != nil {
		return nil, fmt.Errorf("list parked events: %w", err)
	}
	return parked, nil
}

func (s *Store) parked(ctx context.Context, wanted *eventstore.ParkedQuery) (parked []eventstore.Parked, err error) {
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	query, args := selectParked, []any{cmp.Or(wanted.AfterSubscription, wanted.Subscription), int64(min(wanted.AfterPosition, math.MaxInt64))}
	and := func(condition string, value any) {
		args = append(args, value)
		query += fmt.Sprintf(condition, len(args))
	}
	if wanted.Subscription != "" {
		and(` AND subscription = $%d`, wanted.Subscription)
	}
	if wanted.Key != (book.Key{}) {
		and(` AND domain = $%d`, wanted.Key.Domain)
		and(` AND root = $%d`, rootOf(wanted.Key))
	}
	if len(wanted.States) > 0 {
		and(` AND state = ANY ($%d)`, textsOf(wanted.States))
	}
	and(` ORDER BY subscription COLLATE "C", position LIMIT $%d`, int64(max(wanted.Limit, 1)))
	rows, err := s.pool.Query(ctx, query, args...)
	if err != nil {
		return nil, unavailable(err)
	}
	var p eventstore.Parked
	var position, sequence, first, last int64
	var attempts int32
	var root pgtype.UUID
	var state string
	_, err = pgx.ForEachRow(rows, []any{&p.Subscription, &position, &p.Key.Domain, &root, &sequence, &attempts, &p.Reason, &state, &first, &last, &p.Note}, func() error {
		p.Position, p.Key.Root, p.Sequence, p.Attempts = uint64(position), root.Bytes, uint32(sequence), int(attempts)
		p.State, p.FirstAt, p.LastAt = eventstore.State(state), time.Unix(0, first).UTC(), time.Unix(0, last).UTC()
		parked = append(parked, p)
		return nil
	})
	return parked, unavailable(err)
}

func textsOf(states []eventstore.State) []string {
	texts := make([]string, len(states))
	for i, state := range states {
		texts[i] = string(state)
	}
	return texts
}

// Blocked lists the aggregates with parked events; see eventstore.Parking.
func (s *Store) Blocked(ctx context.Context, subscription string) (keys []book.Key, err error) {
	if err = s.open(ctx); err == nil {
		keys, err = s.blocked(ctx, subscription)
	}
	if err != nil {
		return nil, fmt.Errorf("list blocked aggregates of %q: %w", subscription, err)
	}
	return keys, nil
}

func (s *Store) blocked(ctx context.Context, subscription string) (keys []book.Key, err error) {
	rows, err := s.pool.Query(ctx, selectBlocked, subscription)
	if err != nil {
		return nil, unavailable(err)
	}
	var domain string
	var root pgtype.UUID
	_, err = pgx.ForEachRow(rows, []any{&domain, &root}, func() error {
		keys = append(keys, book.Key{Domain: domain, Root: root.Bytes})
		return nil
	})
	return keys, unavailable(err)
}

// Decide changes the state of parked events; see eventstore.Parking.
func (s *Store) Decide(ctx context.Context, decision eventstore.Decision) error {
	err := s.decide(ctx, &decision)
	if err != nil {
		return fmt.Errorf("mark position %d of %q as %s: %w", decision.Position, decision.Subscription, decision.To, err)
	}
	return nil
}

func (s *Store) decide(ctx context.Context, d *eventstore.Decision) error {
	if err := errors.Join(s.open(ctx), checkTexts(d.Reason, d.Note)); err != nil {
		return err
	}
	changed, err := s.pool.Exec(ctx, `UPDATE angz_parked SET state = $1, attempts = attempts + $2,
			reason = CASE WHEN $3 = '' THEN reason ELSE $3 END, note = CASE WHEN $4 = '' THEN note ELSE $4 END,
			last_at = CASE WHEN $2 > 0 THEN $5 ELSE last_at END
		WHERE subscription = $6 AND position = $7 AND (cardinality($8::text[]) = 0 OR state = ANY ($8))`,
		string(d.To), int32(d.Attempts), d.Reason, d.Note, time.Now().UnixNano(), d.Subscription, int64(d.Position), textsOf(d.From))
	if err == nil && changed.RowsAffected() == 0 {
		return eventstore.ErrNotParked
	}
	return unavailable(err)
}
