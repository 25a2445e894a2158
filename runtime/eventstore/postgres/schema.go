package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// schemaVersion is the version of the tables that this version of angz knows.
const schemaVersion = 4

// Advisory locks have two numbers. The first is a class of angz's own, 0x616e677a
// ("angz") here and 0x616e6773 for subscriptions, whose second number is a hash of
// the name. In the functions below they stand in decimal, with 0 for the log.
const (
	lockClass     = 0x616e677a
	lockMigration = 1
)

// migration leads from one version of the tables to the next.
type migration []string

// migrations are applied in order; the first makes everything.
var migrations = []migration{{
	`CREATE TABLE angz_meta (key text PRIMARY KEY, value text NOT NULL)`,
	// Keys are compared byte by byte, which is fast, the order that the contract asks
	// for, and does not change with the system's rules for languages as other indexes
	// of texts do. A stream has a row for its name; what an append needs is in the events.
	`CREATE TABLE angz_streams (
		domain text COLLATE "C" NOT NULL,
		root uuid NOT NULL,
		name text NOT NULL,
		PRIMARY KEY (domain, root)
	)`,
	// Every row stands on its own, so that a page of the log is one scan. Indexes by
	// command and correlation hold only the first event of each command, and part
	// and parts lead to the others. Times are nanoseconds since 1970, which
	// timestamptz cannot hold.
	`CREATE TABLE angz_events (
		position bigint PRIMARY KEY,
		domain text COLLATE "C" NOT NULL,
		root uuid NOT NULL,
		seq bigint NOT NULL,
		part integer NOT NULL,
		parts integer NOT NULL,
		created_at bigint NOT NULL,
		command_id uuid NOT NULL,
		correlation_id text COLLATE "C" NOT NULL,
		causation text NOT NULL,
		type_url text NOT NULL,
		payload bytea,
		trace text,
		CONSTRAINT angz_events_stream UNIQUE (domain, root, seq)
	)`,
	`CREATE UNIQUE INDEX angz_events_command ON angz_events (command_id) WHERE part = 0`,
	`CREATE TABLE angz_snapshots (
		domain text COLLATE "C" NOT NULL,
		root uuid NOT NULL,
		seq bigint NOT NULL,
		type_url text NOT NULL,
		state bytea,
		checksum bigint NOT NULL,
		PRIMARY KEY (domain, root)
	)`,
	`CREATE TABLE angz_slices (
		name text COLLATE "C" NOT NULL,
		number integer NOT NULL,
		position bigint NOT NULL,
		epoch bigint NOT NULL,
		member uuid,
		updated_at timestamptz NOT NULL,
		PRIMARY KEY (name, number)
	) WITH (fillfactor = 50)`,
	`CREATE TABLE angz_members (
		name text COLLATE "C" NOT NULL,
		member uuid NOT NULL,
		address text NOT NULL,
		until timestamptz NOT NULL,
		PRIMARY KEY (name, member)
	) WITH (fillfactor = 50)`,
	`CREATE TABLE angz_parked (
		subscription text COLLATE "C" NOT NULL,
		position bigint NOT NULL,
		domain text COLLATE "C" NOT NULL,
		root uuid NOT NULL,
		seq bigint NOT NULL,
		attempts integer NOT NULL,
		reason text NOT NULL,
		state text NOT NULL,
		first_at bigint NOT NULL,
		last_at bigint NOT NULL,
		note text NOT NULL DEFAULT '',
		PRIMARY KEY (subscription, position)
	)`,
	`CREATE INDEX angz_parked_waiting ON angz_parked (subscription, domain, root) WHERE state IN ('parked', 'retry')`,
	appendFunction,
	shareFunction,
	advanceFunction,
}, {
	appendBatchFunction,
}, {
	// What counting would take a scan for, up to the newest position in it; see
	// countFunction.
	`CREATE TABLE angz_domains (
		domain text COLLATE "C" PRIMARY KEY,
		aggregates bigint NOT NULL,
		events bigint NOT NULL,
		position bigint NOT NULL
	) WITH (fillfactor = 50)`,
	// It has no holes, so others may append meanwhile: what this does not see is newer.
	`INSERT INTO angz_domains (domain, aggregates, events, position)
		SELECT domain, count(*) FILTER (WHERE seq = 0), count(*), max(position) FROM angz_events GROUP BY domain`,
	countFunction,
	appendBatch(countSometimes),
	// People look for names, by the part that eventstore.NameKey leaves of them. Last,
	// because nobody can make an aggregate from here to the end.
	`CREATE INDEX angz_streams_name ON angz_streams (domain, (left(name, 200) COLLATE "C"), root)`,
}, {
	// What people decided: rewind counts wishes, rewinder is who does the newest.
	`CREATE TABLE angz_controls (
		name text COLLATE "C" PRIMARY KEY,
		paused boolean NOT NULL DEFAULT false,
		note text NOT NULL,
		decided_at timestamptz NOT NULL,
		rewind bigint NOT NULL DEFAULT 0,
		rewinding boolean NOT NULL DEFAULT false,
		target bigint NOT NULL DEFAULT 0,
		clear boolean NOT NULL DEFAULT false,
		rewinder uuid,
		failed text NOT NULL DEFAULT ''
	)`,
	shareControlledFunction,
	shareAsBefore,
	rewoundFunction,
}}

// appendFunction stores a batch in one statement of the client, so that the log's
// lock is never held while anything travels over the network. Its first statement
// takes the lock; the second one's snapshot is younger than the lock, because
// every statement of a volatile function sees what is committed when it begins.
//
// A batch has at most one request for a stream and for a command id. A request is
// answered with 0 (stored), 1 (conflict) or 2 (stored before), the stream's next
// number, and the position of the last event.
//
// Sequential scans are forbidden: a plan made while the tables were empty would
// be kept until they are analyzed for the first time.
const appendFunction = `CREATE FUNCTION angz_append(
		commands uuid[], look boolean[], domains text[], roots uuid[], names text[], nexts bigint[], counts integer[],
		correlations text[], causations text[], traces text[],
		owners integer[], parts integer[], created bigint[], types text[], payloads bytea[],
		snapshot_of integer[], snapshot_seqs bigint[], snapshot_types text[], snapshot_states bytea[], snapshot_checksums bigint[]
	) RETURNS TABLE (status integer, next bigint, last bigint)
	LANGUAGE plpgsql VOLATILE SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
	statuses integer[];
	heads bigint[];
	lasts bigint[];
	head bigint;
BEGIN
	PERFORM pg_advisory_xact_lock(1634625402, 0);

	SELECT array_agg(CASE WHEN k.known IS NOT NULL THEN 2 WHEN h.head <> q.wanted THEN 1 ELSE 0 END ORDER BY q.n),
		array_agg(h.head ORDER BY q.n), array_agg(k.known ORDER BY q.n)
	INTO statuses, heads, lasts
	FROM unnest(commands, look, domains, roots, nexts) WITH ORDINALITY AS q (command, looked, domain, root, wanted, n)
	CROSS JOIN LATERAL (
		SELECT coalesce((SELECT e.seq + 1 FROM angz_events e WHERE e.domain = q.domain AND e.root = q.root ORDER BY e.seq DESC LIMIT 1), 0) AS head
	) h
	CROSS JOIN LATERAL (
		SELECT CASE WHEN q.looked OR h.head <> q.wanted THEN
			(SELECT e.position + e.parts - 1 FROM angz_events e WHERE e.command_id = q.command AND e.part = 0) END AS known
	) k;

	head := coalesce((SELECT e.position FROM angz_events e ORDER BY e.position DESC LIMIT 1), 0);

	INSERT INTO angz_events (position, domain, root, seq, part, parts, created_at, command_id, correlation_id, causation, type_url, payload, trace)
	SELECT head + row_number() OVER (ORDER BY e.n), domains[e.r], roots[e.r], nexts[e.r] + e.part, e.part, counts[e.r], e.created,
		commands[e.r], correlations[e.r], causations[e.r], e.type, e.payload, nullif(traces[e.r], '')
	FROM unnest(owners, parts, created, types, payloads) WITH ORDINALITY AS e (r, part, created, type, payload, n)
	WHERE statuses[e.r] = 0;

	INSERT INTO angz_streams AS s (domain, root, name)
	SELECT q.domain, q.root, q.name FROM unnest(domains, roots, names, nexts) WITH ORDINALITY AS q (domain, root, name, next, n)
	WHERE statuses[q.n] = 0 AND (q.next = 0 OR q.name <> '')
	ON CONFLICT (domain, root) DO UPDATE SET name = excluded.name WHERE s.name = '' AND excluded.name <> '';

	IF snapshot_of IS NOT NULL AND array_length(snapshot_of, 1) > 0 THEN
		INSERT INTO angz_snapshots AS s (domain, root, seq, type_url, state, checksum)
		SELECT domains[p.r], roots[p.r], p.seq, p.type, p.state, p.checksum
		FROM unnest(snapshot_of, snapshot_seqs, snapshot_types, snapshot_states, snapshot_checksums) AS p (r, seq, type, state, checksum)
		WHERE statuses[p.r] = 0
		ON CONFLICT (domain, root) DO UPDATE
			SET seq = excluded.seq, type_url = excluded.type_url, state = excluded.state, checksum = excluded.checksum
			WHERE excluded.seq >= s.seq;
	END IF;

	RETURN QUERY SELECT statuses[q.n],
		CASE WHEN statuses[q.n] = 0 THEN heads[q.n] + q.count ELSE heads[q.n] END,
		CASE WHEN statuses[q.n] = 0 THEN head + sum(CASE WHEN statuses[q.n] = 0 THEN q.count ELSE 0 END) OVER (ORDER BY q.n) ELSE coalesce(lasts[q.n], 0) END::bigint
	FROM unnest(counts) WITH ORDINALITY AS q (count, n) ORDER BY q.n;
END $$`

// appendBatchFunction stores a batch in one statement of the client, so that the
// log's lock is never held while anything travels over the network. Its first
// statement takes the lock; the second one's snapshot is younger than the lock,
// because every statement of a volatile function sees what is committed when it
// begins.
//
// A batch has at most one request for a stream and for a command id. The answer is
// the position of the newest event before the batch and, unless every request was
// stored, for each one: 0 (stored), 1 (conflict) or 2 (stored before); the stream's
// next number; the position of the known command's last event.
//
// The common case, that all is as the callers expect, is found out first and costs
// one probe for each request. That probe begins at the event before: without a lower
// end it would look at every event of the stream on the newest page of its index,
// which took half of the server's time. Sequential scans are forbidden: a plan made
// while the tables were empty would be kept until they are analyzed for the first time.
var appendBatchFunction = appendBatch("")

func appendBatch(also string) string {
	return `CREATE OR REPLACE FUNCTION angz_append_batch(
		commands uuid[], looks boolean[], domains text[], roots uuid[], nexts bigint[], counts integer[],
		correlations text[], causations text[], traces text[],
		owners integer[], parts integer[], created bigint[], types text[], payloads bytea[],
		named integer[], names text[],
		snapshot_of integer[], snapshot_seqs bigint[], snapshot_types text[], snapshot_states bytea[], snapshot_checksums bigint[],
		OUT head bigint, OUT statuses integer[], OUT heads bigint[], OUT lasts bigint[]
	) LANGUAGE plpgsql VOLATILE SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
	odd boolean;
BEGIN
	PERFORM pg_advisory_xact_lock(1634625402, 0);

	SELECT coalesce((SELECT e.position FROM angz_events e ORDER BY e.position DESC LIMIT 1), 0), EXISTS (
		SELECT 1 FROM generate_subscripts(commands, 1) AS i
		WHERE coalesce((SELECT e.seq FROM angz_events e WHERE e.domain = domains[i] AND e.root = roots[i] AND e.seq >= nexts[i] - 1 ORDER BY e.seq DESC LIMIT 1), -1) <> nexts[i] - 1
			OR CASE WHEN looks[i] THEN (SELECT e.position FROM angz_events e WHERE e.command_id = commands[i] AND e.part = 0) IS NOT NULL ELSE false END)
	INTO head, odd;

	IF odd THEN
		SELECT array_agg(CASE WHEN k.known IS NOT NULL THEN 2 WHEN h.head <> q.wanted THEN 1 ELSE 0 END ORDER BY q.n),
			array_agg(h.head ORDER BY q.n), array_agg(coalesce(k.known, 0) ORDER BY q.n)
		INTO statuses, heads, lasts
		FROM unnest(commands, domains, roots, nexts) WITH ORDINALITY AS q (command, domain, root, wanted, n)
		CROSS JOIN LATERAL (
			SELECT coalesce((SELECT e.seq + 1 FROM angz_events e WHERE e.domain = q.domain AND e.root = q.root ORDER BY e.seq DESC LIMIT 1), 0) AS head
		) h
		CROSS JOIN LATERAL (
			SELECT CASE WHEN coalesce(looks[q.n], false) OR h.head <> q.wanted THEN
				(SELECT e.position + e.parts - 1 FROM angz_events e WHERE e.command_id = q.command AND e.part = 0) END AS known
		) k;

		SELECT array_agg(e.r ORDER BY e.n), array_agg(e.part ORDER BY e.n), array_agg(e.at ORDER BY e.n), array_agg(e.type ORDER BY e.n), array_agg(e.payload ORDER BY e.n)
		INTO owners, parts, created, types, payloads
		FROM unnest(owners, parts, created, types, payloads) WITH ORDINALITY AS e (r, part, at, type, payload, n)
		WHERE statuses[e.r] = 0;
	END IF;

	INSERT INTO angz_events (position, domain, root, seq, part, parts, created_at, command_id, correlation_id, causation, type_url, payload, trace)
	SELECT head + i, domains[owners[i]], roots[owners[i]], nexts[owners[i]] + parts[i], parts[i], counts[owners[i]], created[i],
		commands[owners[i]], correlations[owners[i]], causations[owners[i]], types[i], payloads[i], nullif(traces[owners[i]], '')
	FROM generate_subscripts(owners, 1) AS i;
` + also + `
	IF named IS NOT NULL THEN
		INSERT INTO angz_streams AS s (domain, root, name)
		SELECT domains[q.r], roots[q.r], q.name FROM unnest(named, names) AS q (r, name)
		WHERE odd IS FALSE OR statuses[q.r] = 0
		ON CONFLICT (domain, root) DO UPDATE SET name = excluded.name WHERE s.name = '' AND excluded.name <> '';
	END IF;

	IF snapshot_of IS NOT NULL THEN
		INSERT INTO angz_snapshots AS s (domain, root, seq, type_url, state, checksum)
		SELECT domains[p.r], roots[p.r], p.seq, p.type, p.state, p.checksum
		FROM unnest(snapshot_of, snapshot_seqs, snapshot_types, snapshot_states, snapshot_checksums) AS p (r, seq, type, state, checksum)
		WHERE odd IS FALSE OR statuses[p.r] = 0
		ON CONFLICT (domain, root) DO UPDATE
			SET seq = excluded.seq, type_url = excluded.type_url, state = excluded.state, checksum = excluded.checksum
			WHERE excluded.seq >= s.seq;
	END IF;
END $$`
}

// countEvery is how many events may wait to be counted, 4096, as a power of two.
const countEvery = "12"

// countSometimes counts what is new whenever the log has grown by so much. A count
// with every batch would leave a dead version of its row each time, and while some
// long transaction keeps those from being cleared away, each batch would wade
// through all before it: appends took twice as long after 15,000 of them.
const countSometimes = `
	IF (head + coalesce(cardinality(owners), 0)) >> ` + countEvery + ` > head >> ` + countEvery + ` THEN
		INSERT INTO angz_domains AS d (domain, aggregates, events, position)
		SELECT n.domain, n.aggregates, n.events, n.position FROM angz_count() n WHERE n.is_new
		ON CONFLICT ON CONSTRAINT angz_domains_pkey DO UPDATE
			SET aggregates = d.aggregates + excluded.aggregates, events = d.events + excluded.events, position = excluded.position;
	END IF;
`

// countFunction returns what has been counted and, as new, what the log holds
// beyond that, in which every event is counted whoever stored it: a process of an
// earlier version, too, even one whose call had begun before the tables were changed
// and ends after.
//
// Sequential scans are forbidden because nothing tells the planner how little is new.
// What it takes for much it would compile and give to several workers, which costs
// a hundred times what the work does.
const countFunction = `CREATE FUNCTION angz_count() RETURNS TABLE (domain text, aggregates bigint, events bigint, "position" bigint, is_new boolean)
	LANGUAGE sql STABLE SET enable_seqscan = off SET jit = off SET max_parallel_workers_per_gather = 0 AS $$
	SELECT d.domain, d.aggregates, d.events, d.position, false FROM angz_domains d
	UNION ALL
	SELECT e.domain, count(*) FILTER (WHERE e.seq = 0), count(*), max(e.position), true FROM angz_events e
	WHERE e.position > coalesce((SELECT max(c.position) FROM angz_domains c), 0) GROUP BY e.domain
$$`

// shareFunction shares a subscription out; see eventstore.Subscriptions. One lock
// for each subscription keeps those who ask apart.
const shareFunction = `CREATE FUNCTION angz_share(
		subscription text, asking uuid, reached_at text, wanted integer, lease_ms bigint, given_back integer[], leaves boolean
	) RETURNS TABLE (number integer, "position" bigint, epoch bigint, member uuid, address text, surplus integer)
	LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	moment timestamptz;
	there integer;
	alive integer;
	fair integer;
	held integer;
BEGIN
	PERFORM pg_advisory_xact_lock(1634625395, hashtext(subscription));
	-- In the order in which those who advance lock them, or each might wait for the other.
	PERFORM 1 FROM angz_slices s WHERE s.name = subscription ORDER BY s.number FOR UPDATE;
	moment := clock_timestamp();
	SELECT count(*) INTO there FROM angz_slices s WHERE s.name = subscription;
	IF there = 0 THEN
		INSERT INTO angz_slices (name, number, position, epoch, updated_at) SELECT subscription, n, 0, 0, moment FROM generate_series(0, wanted - 1) n;
	ELSIF there <> wanted THEN
		RAISE EXCEPTION 'subscription % has % slices', subscription, there USING ERRCODE = 'AZ001';
	END IF;
	IF leaves THEN
		DELETE FROM angz_members m WHERE m.name = subscription AND m.member = asking;
	ELSE
		INSERT INTO angz_members AS m (name, member, address, until) VALUES (subscription, asking, reached_at, moment + lease_ms * interval '1 millisecond')
		ON CONFLICT ON CONSTRAINT angz_members_pkey DO UPDATE SET address = excluded.address, until = excluded.until;
	END IF;
	UPDATE angz_slices s SET member = NULL, updated_at = moment
	WHERE s.name = subscription AND s.member IS NOT NULL AND (
		s.member = asking AND s.number = ANY (given_back)
		OR NOT EXISTS (SELECT 1 FROM angz_members m WHERE m.name = subscription AND m.member = s.member AND m.until > moment));
	DELETE FROM angz_members m WHERE m.name = subscription AND m.until <= moment;
	IF NOT leaves THEN
		SELECT count(*) INTO alive FROM angz_members m WHERE m.name = subscription;
		SELECT count(*) INTO held FROM angz_slices s WHERE s.name = subscription AND s.member = asking;
		fair := (wanted + alive - 1) / alive;
		IF held < fair THEN
			UPDATE angz_slices s SET member = asking, epoch = s.epoch + 1, updated_at = moment
			WHERE s.name = subscription AND s.number IN (
				SELECT f.number FROM angz_slices f WHERE f.name = subscription AND f.member IS NULL ORDER BY f.number LIMIT fair - held);
			held := fair;
		END IF;
	END IF;
	RETURN QUERY SELECT s.number, s.position, s.epoch, s.member, coalesce(m.address, ''), CASE WHEN leaves THEN 0 ELSE greatest(0, (
			SELECT count(*)::integer FROM angz_slices h WHERE h.name = subscription AND h.member = asking) - fair) END
	FROM angz_slices s LEFT JOIN angz_members m ON m.name = s.name AND m.member = s.member
	WHERE s.name = subscription ORDER BY s.number;
END $$`

// shareControlledFunction is shareFunction with what people have decided: while a
// subscription is paused or being rewound nobody is given slices, and who asks
// first when nobody holds any does the rewind.
const shareControlledFunction = `CREATE FUNCTION angz_share_controlled(
		subscription text, asking uuid, reached_at text, wanted integer, lease_ms bigint, given_back integer[], leaves boolean
	) RETURNS TABLE (number integer, "position" bigint, epoch bigint, member uuid, address text, surplus integer,
		paused boolean, note text, rewind bigint, target bigint, clear boolean)
	LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	moment timestamptz;
	there integer;
	alive integer;
	fair integer := 0;
	held integer := 0;
	control angz_controls;
BEGIN
	PERFORM pg_advisory_xact_lock(1634625395, hashtext(subscription));
	-- In the order in which those who advance lock them, or each might wait for the other.
	PERFORM 1 FROM angz_slices s WHERE s.name = subscription ORDER BY s.number FOR UPDATE;
	moment := clock_timestamp();
	SELECT count(*) INTO there FROM angz_slices s WHERE s.name = subscription;
	IF there = 0 THEN
		INSERT INTO angz_slices (name, number, position, epoch, updated_at) SELECT subscription, n, 0, 0, moment FROM generate_series(0, wanted - 1) n;
	ELSIF there <> wanted THEN
		RAISE EXCEPTION 'subscription % has % slices', subscription, there USING ERRCODE = 'AZ001';
	END IF;
	IF leaves THEN
		DELETE FROM angz_members m WHERE m.name = subscription AND m.member = asking;
	ELSE
		INSERT INTO angz_members AS m (name, member, address, until) VALUES (subscription, asking, reached_at, moment + lease_ms * interval '1 millisecond')
		ON CONFLICT ON CONSTRAINT angz_members_pkey DO UPDATE SET address = excluded.address, until = excluded.until;
	END IF;
	UPDATE angz_slices s SET member = NULL, updated_at = moment
	WHERE s.name = subscription AND s.member IS NOT NULL AND (
		s.member = asking AND s.number = ANY (given_back)
		OR NOT EXISTS (SELECT 1 FROM angz_members m WHERE m.name = subscription AND m.member = s.member AND m.until > moment));
	DELETE FROM angz_members m WHERE m.name = subscription AND m.until <= moment;
	SELECT * INTO control FROM angz_controls c WHERE c.name = subscription;
	IF NOT leaves THEN
		SELECT count(*) INTO alive FROM angz_members m WHERE m.name = subscription;
		SELECT count(*) INTO held FROM angz_slices s WHERE s.name = subscription AND s.member = asking;
		IF NOT coalesce(control.paused OR control.rewinding, false) THEN
			fair := (wanted + alive - 1) / alive;
		END IF;
		IF held < fair THEN
			UPDATE angz_slices s SET member = asking, epoch = s.epoch + 1, updated_at = moment
			WHERE s.name = subscription AND s.number IN (
				SELECT f.number FROM angz_slices f WHERE f.name = subscription AND f.member IS NULL ORDER BY f.number LIMIT fair - held);
			SELECT count(*) INTO held FROM angz_slices s WHERE s.name = subscription AND s.member = asking;
		END IF;
	END IF;
	IF leaves OR NOT coalesce(control.rewinding, false) OR EXISTS (SELECT 1 FROM angz_slices s WHERE s.name = subscription AND s.member IS NOT NULL)
		OR EXISTS (SELECT 1 FROM angz_members m WHERE m.name = subscription AND m.member = control.rewinder AND m.member <> asking) THEN
		control.rewind := NULL;
	ELSIF control.rewinder IS DISTINCT FROM asking THEN
		UPDATE angz_controls c SET rewinder = asking WHERE c.name = subscription;
	END IF;
	RETURN QUERY SELECT s.number, s.position, s.epoch, s.member, coalesce(m.address, ''), greatest(0, held - fair),
		coalesce(control.paused, false), coalesce(control.note, ''), coalesce(control.rewind, 0::bigint), coalesce(control.target, 0::bigint), coalesce(control.clear, false)
	FROM angz_slices s LEFT JOIN angz_members m ON m.name = s.name AND m.member = s.member
	WHERE s.name = subscription ORDER BY s.number;
END $$`

// shareAsBefore lets processes of the version before heed what has been decided
// while they are replaced. They do no rewinds.
const shareAsBefore = `CREATE OR REPLACE FUNCTION angz_share(
		subscription text, asking uuid, reached_at text, wanted integer, lease_ms bigint, given_back integer[], leaves boolean
	) RETURNS TABLE (number integer, "position" bigint, epoch bigint, member uuid, address text, surplus integer)
	LANGUAGE plpgsql VOLATILE AS $$
BEGIN
	RETURN QUERY SELECT s.number, s.position, s.epoch, s.member, s.address, s.surplus
	FROM angz_share_controlled(subscription, asking, reached_at, wanted, lease_ms, given_back, leaves) s;
	UPDATE angz_controls c SET rewinder = NULL WHERE c.name = subscription AND c.rewinder = asking;
END $$`

// rewoundFunction ends a rewind, or changes nothing and returns false when it is
// not the member's. Whoever held slices before may not record anything any more,
// wherever it was: a position alone may be the same as before.
const rewoundFunction = `CREATE FUNCTION angz_rewound(subscription text, done bigint, by uuid, failure text) RETURNS boolean
	LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	back_to bigint;
BEGIN
	PERFORM pg_advisory_xact_lock(1634625395, hashtext(subscription));
	PERFORM 1 FROM angz_slices s WHERE s.name = subscription ORDER BY s.number FOR UPDATE;
	UPDATE angz_controls c SET rewinding = false, rewinder = NULL, failed = failure
	WHERE c.name = subscription AND c.rewinding AND c.rewind = done AND c.rewinder = by
	RETURNING c.target INTO back_to;
	IF back_to IS NULL THEN
		RETURN false;
	END IF;
	IF failure = '' THEN
		UPDATE angz_slices s SET position = least(s.position, back_to), epoch = s.epoch + 1, member = NULL, updated_at = clock_timestamp()
		WHERE s.name = subscription;
		DELETE FROM angz_parked p WHERE p.subscription = angz_rewound.subscription AND p.position > back_to;
	END IF;
	RETURN true;
END $$`

// advanceFunction moves slices and parks events, or returns the slices that the
// caller does not hold any more and changes nothing.
const advanceFunction = `CREATE FUNCTION angz_advance(
		subscription text, numbers integer[], epochs bigint[], froms bigint[], tos bigint[],
		p_names text[], p_positions bigint[], p_domains text[], p_roots uuid[], p_seqs bigint[], p_attempts integer[],
		p_reasons text[], p_states text[], p_firsts bigint[], p_lasts bigint[]
	) RETURNS integer[]
	LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	fenced integer[];
BEGIN
	PERFORM 1 FROM angz_slices s WHERE s.name = subscription AND s.number = ANY (numbers) ORDER BY s.number FOR UPDATE;
	SELECT array_agg(q.number ORDER BY q.number) INTO fenced
	FROM unnest(numbers, epochs, froms) AS q (number, epoch, origin)
	WHERE NOT EXISTS (SELECT 1 FROM angz_slices s
		WHERE s.name = subscription AND s.number = q.number AND s.epoch = q.epoch AND s.position = q.origin);
	IF fenced IS NOT NULL THEN
		RETURN fenced;
	END IF;
	UPDATE angz_slices s SET position = q.target, updated_at = clock_timestamp()
	FROM unnest(numbers, tos) AS q (number, target)
	WHERE s.name = subscription AND s.number = q.number;
	INSERT INTO angz_parked AS p (subscription, position, domain, root, seq, attempts, reason, state, first_at, last_at)
	SELECT * FROM unnest(p_names, p_positions, p_domains, p_roots, p_seqs, p_attempts, p_reasons, p_states, p_firsts, p_lasts)
	ON CONFLICT ON CONSTRAINT angz_parked_pkey DO UPDATE
		SET attempts = excluded.attempts, reason = excluded.reason, state = excluded.state, last_at = excluded.last_at;
	RETURN NULL;
END $$`

// ensureSchema makes the tables, or brings them up to this version, or refuses
// them. Many processes may do it at once: one works and the others wait for it.
func ensureSchema(ctx context.Context, conn *pgx.Conn, mayMigrate bool, logger *slog.Logger) error {
	version, err := versionOf(ctx, conn)
	if err != nil || version == schemaVersion {
		return err
	}
	if version > schemaVersion {
		return newer(version)
	}
	if !mayMigrate {
		return fmt.Errorf("the database's tables are of version %d, this version of angz needs version %d: run \"angz migrate\", or set storage.postgres.migrate", version, schemaVersion)
	}
	migrated, err := migrate(ctx, conn, false)
	if err == nil && migrated.From != migrated.To {
		logger.Info("migrated the database's tables", "from", migrated.From, "to", migrated.To)
	}
	return err
}

func newer(version int) error {
	return fmt.Errorf("the database's tables are of version %d, but this version of angz knows only up to version %d: use the angz that made them, or a newer one", version, schemaVersion)
}

// versionOf returns the version of the tables, 0 when there are none.
func versionOf(ctx context.Context, conn *pgx.Conn) (version int, err error) {
	var there bool
	// Asking the catalogue as a table, and not to_regclass, which may answer from
	// what this connection remembered before it waited for another migration.
	const exists = `SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_class c WHERE c.relname = 'angz_meta' AND pg_catalog.pg_table_is_visible(c.oid))`
	if err := conn.QueryRow(ctx, exists).Scan(&there); err != nil {
		return 0, fmt.Errorf("look for angz's tables: %w", unavailable(err))
	}
	if !there {
		return 0, nil
	}
	err = conn.QueryRow(ctx, `SELECT value::integer FROM angz_meta WHERE key = 'schema_version'`).Scan(&version)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, errors.New("the table angz_meta has no schema_version: it is not angz's, or was damaged; restore it from a backup, or use another database")
	}
	if err != nil {
		return 0, fmt.Errorf("read the version of the tables: %w", unavailable(err))
	}
	return version, nil
}

// Migrated says what a migration did, or would do.
type Migrated struct {
	From, To   int      // versions of the tables
	Statements []string // in order
	Epoch      uuid.UUID
}

// MigrateOptions say how to migrate.
type MigrateOptions struct {
	DryRun bool // only says what would be done
	// NewEpoch gives the log a new identity, after a restore to an earlier point.
	NewEpoch bool
	// CorrelationIndex says whether there is to be an index by correlation.
	CorrelationIndex bool
}

// Migrate brings the tables of a database up to this version. A database that
// cannot be reached is an error, as are tables of a newer version.
func Migrate(ctx context.Context, uri string, options MigrateOptions) (Migrated, error) {
	config, err := parse(Options{URI: uri, MaxConnections: 1})
	if err != nil {
		return Migrated{}, err
	}
	s := &Store{config: config}
	conn, err := s.connect(ctx)
	if err != nil {
		return Migrated{}, err
	}
	defer closeConn(ctx, conn)
	version, err := versionOf(ctx, conn)
	if err != nil {
		return Migrated{}, err
	}
	if version > schemaVersion {
		return Migrated{}, newer(version)
	}
	migrated, err := migrate(ctx, conn, options.DryRun)
	if err != nil {
		return migrated, err
	}
	index, err := indexChange(ctx, conn, options.CorrelationIndex)
	if err != nil {
		return migrated, err
	}
	migrated.Statements = append(migrated.Statements, index...)
	if !options.DryRun {
		err = setCorrelationIndex(ctx, conn, options.CorrelationIndex)
	}
	if err != nil || !options.NewEpoch {
		return migrated, err
	}
	migrated.Epoch = uuid.New()
	statement := fmt.Sprintf(`UPDATE angz_meta SET value = '%s' WHERE key = 'log_epoch'`, migrated.Epoch)
	migrated.Statements = append(migrated.Statements, statement)
	if options.DryRun {
		return migrated, nil
	}
	if _, err := conn.Exec(ctx, statement); err != nil {
		return migrated, fmt.Errorf("give the log a new epoch: %w", unavailable(err))
	}
	return migrated, nil
}

// migrate applies what is missing in one transaction, after whoever else is doing
// so at the moment.
func migrate(ctx context.Context, conn *pgx.Conn, dryRun bool) (migrated Migrated, err error) {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return migrated, fmt.Errorf("migrate the tables: %w", unavailable(err))
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // after a commit it does nothing
	for _, setting := range alone() {
		if _, err := tx.Exec(ctx, setting); err != nil {
			return migrated, fmt.Errorf("migrate the tables: %w", unavailable(err))
		}
	}
	if migrated.From, err = versionOf(ctx, conn); err != nil {
		return migrated, err
	}
	migrated.To = max(migrated.From, schemaVersion)
	migrated.Statements = pending(migrated.From)
	if dryRun || migrated.From >= schemaVersion {
		return migrated, nil
	}
	for _, statement := range migrated.Statements {
		if _, err := tx.Exec(ctx, statement); err != nil {
			return migrated, fmt.Errorf("migrate the tables from version %d to %d: %w", migrated.From, schemaVersion, unavailable(err))
		}
	}
	if err := tx.Commit(ctx); err != nil {
		return migrated, fmt.Errorf("migrate the tables from version %d to %d: %w", migrated.From, schemaVersion, unavailable(err))
	}
	return migrated, nil
}

// pending returns the statements that lead from a version to this one.
func pending(version int) (statements []string) {
	if version >= schemaVersion {
		return nil
	}
	for _, step := range migrations[version:] {
		statements = append(statements, step...)
	}
	if version == 0 {
		statements = append(statements,
			fmt.Sprintf(`INSERT INTO angz_meta (key, value) VALUES ('schema_version', '%d'), ('log_epoch', '%s')`, schemaVersion, uuid.New()))
	} else {
		statements = append(statements, fmt.Sprintf(`UPDATE angz_meta SET value = '%d' WHERE key = 'schema_version'`, schemaVersion))
	}
	return statements
}

// indexChange returns the statement that makes or drops the index by correlation,
// none when it is as wanted. It holds the beginning of the id, since callers choose
// ids and a page holds no long one.
func indexChange(ctx context.Context, conn *pgx.Conn, wanted bool) (statements []string, err error) {
	var there bool
	if err := conn.QueryRow(ctx, `SELECT to_regclass('angz_events_correlation') IS NOT NULL`).Scan(&there); err != nil {
		return nil, fmt.Errorf("look for the index by correlation: %w", unavailable(err))
	}
	switch {
	case there == wanted:
		return nil, nil
	case wanted:
		return []string{`CREATE INDEX IF NOT EXISTS angz_events_correlation ON angz_events (left(correlation_id, 200), position) WHERE part = 0`}, nil
	}
	return []string{`DROP INDEX IF EXISTS angz_events_correlation`}, nil
}

// setCorrelationIndex makes or drops the index by correlation.
func setCorrelationIndex(ctx context.Context, conn *pgx.Conn, wanted bool) error {
	statements, err := indexChange(ctx, conn, wanted)
	if err != nil || len(statements) == 0 {
		return err
	}
	tx, err := conn.Begin(ctx)
	if err != nil {
		return fmt.Errorf("set the index by correlation: %w", unavailable(err))
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // after a commit it does nothing
	for _, statement := range append(alone(), statements...) {
		if _, err := tx.Exec(ctx, statement); err != nil {
			return fmt.Errorf("set the index by correlation: %w", unavailable(err))
		}
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("set the index by correlation: %w", unavailable(err))
	}
	return nil
}

// alone is how a transaction begins that changes the tables: after whoever else is
// doing so, and with the time that it needs.
func alone() []string {
	return []string{
		`SET LOCAL lock_timeout = '5min'`, `SET LOCAL statement_timeout = 0`, `SET LOCAL idle_in_transaction_session_timeout = '1min'`,
		fmt.Sprintf(`SELECT pg_advisory_xact_lock(%d, %d)`, lockClass, lockMigration),
	}
}
