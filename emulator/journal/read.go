package journal

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"time"
)

// Query asks for lines of the journal.
type Query struct {
	Names    []string     // none for all
	MinLevel slog.Leveler // as in Filter
	Since    time.Time    // that came at or after this; zero for all
	Tail     int          // so many of the lines there are, the newest; negative for all
	Follow   bool         // go on with the lines to come
}

// passes reports whether a line is one of those asked for, apart from Tail.
func (q *Query) passes(e *Entry) bool {
	return Filter{Names: q.Names, MinLevel: q.MinLevel}.level(e.Level)
}

// readerBytes wait for somebody who follows slowly. Older ones are left out.
const readerBytes = 1 << 20

// Read calls each for the lines that are asked for: those that are kept, oldest
// first, and with Follow those to come, none twice and none left out, until the
// context ends, whose error it returns, or the journal is closed. What each
// returns ends it as well. Who follows more slowly than lines come is told, by a
// line of angz, how many were left out.
func (j *Journal) Read(ctx context.Context, query Query, each func(Entry) error) error {
	follower := newReader(query.Names)
	if query.Follow {
		if !j.register(follower) {
			query.Follow = false
		} else {
			defer j.unregister(follower)
		}
	}
	past := j.past(&query, follower)
	defer past.close()
	if err := past.read(ctx, &query, each); err != nil || !query.Follow {
		return err
	}
	return follower.follow(ctx, &query, j, each)
}

// reader is given the lines to come.
type reader struct {
	names   []string
	after   map[string]uint64 // of each name, the lines up to here are read elsewhere
	waiting *queue[coming]
}

// coming is a line that a reader is given.
type coming struct {
	name  string
	count uint64 // of the lines of the name, with this one
	at    time.Time
	line  []byte
}

func (c coming) owner() string { return c.name }

func newReader(names []string) *reader {
	return &reader{names: names, after: map[string]uint64{}, waiting: newQueue(readerBytes, func(c coming) int { return len(c.line) + perLine })}
}

func (r *reader) offer(name string, count uint64, at time.Time, line []byte) {
	if len(r.names) == 0 || slices.Contains(r.names, name) {
		r.waiting.put(coming{name, count, at, bytes.Clone(line)})
	}
}

func (r *reader) close() { r.waiting.close() }

// register has a reader be given all lines from now on, unless the journal is
// closed.
func (j *Journal) register(added *reader) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return false
	}
	readers := append(slices.Clone(*j.readers.Load()), added)
	j.readers.Store(&readers)
	return true
}

func (j *Journal) unregister(left *reader) {
	j.mu.Lock()
	defer j.mu.Unlock()
	readers := slices.DeleteFunc(slices.Clone(*j.readers.Load()), func(r *reader) bool { return r == left })
	j.readers.Store(&readers)
}

func (r *reader) follow(ctx context.Context, query *Query, j *Journal, each func(Entry) error) error {
	var batch []coming
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-r.waiting.ready:
		}
		var dropped map[string]int
		var ended bool
		batch, dropped, ended = r.waiting.take(batch[:0], readerBytes)
		for name, lines := range dropped {
			text := fmt.Sprintf("… %s of %s left out here, because they came faster than they were read", count(lines), name)
			if err := each(Entry{Time: j.options.Clock(), Name: noteName, Level: slog.LevelWarn, Leveled: true, Text: text, Raw: text}); err != nil {
				return err
			}
		}
		for _, next := range batch {
			if next.count <= r.after[next.name] {
				continue
			}
			entry := parse(next.name, next.at, next.line)
			if next.at.Before(query.Since) || !query.passes(&entry) {
				continue
			}
			if err := each(entry); err != nil {
				return err
			}
		}
		if ended {
			return nil
		}
	}
}

// past is what there was at one moment.
type past struct {
	sources []*source
}

// source is what one name has said, oldest first.
type source struct {
	name   string
	files  []*os.File // oldest first
	size   int64      // of the last one
	memory []kept

	reading *bufio.Reader // of the first of files
	next    kept
	some    bool // next is there
}

// past fixes what there is, and tells the follower that it need not be given it.
func (j *Journal) past(query *Query, follower *reader) *past {
	p := &past{}
	filter := Filter{Names: query.Names}
	for _, s := range j.all() {
		if !filter.names(s.name) {
			continue
		}
		s.mu.Lock()
		_ = s.flush() // whoever keeps the files tells of it
		follower.after[s.name] = s.count
		if query.Tail != 0 {
			p.sources = append(p.sources, s.source())
		}
		s.mu.Unlock()
	}
	return p
}

// source opens what is kept. The caller holds the stream's lock. What cannot be
// opened is not there any more.
func (s *stream) source() *source {
	found := &source{name: s.name, memory: slices.Clone(s.newest)}
	if s.path == "" {
		return found
	}
	for i := files - 1; i >= 0; i-- {
		file, err := os.Open(s.numbered(i))
		if err != nil {
			continue
		}
		found.files = append(found.files, file)
		if info, err := file.Stat(); err == nil {
			found.size = info.Size()
		}
	}
	return found
}

func (p *past) close() {
	for _, source := range p.sources {
		for _, file := range source.files {
			_ = file.Close() // it was only read
		}
	}
}

func (p *past) read(ctx context.Context, query *Query, each func(Entry) error) error {
	if query.Tail >= 0 {
		return p.readTail(ctx, query, each)
	}
	for _, source := range p.sources {
		source.advance()
	}
	for ctx.Err() == nil {
		var oldest *source
		for _, source := range p.sources {
			if source.some && (oldest == nil || source.next.at.Before(oldest.next.at)) {
				oldest = source
			}
		}
		if oldest == nil {
			return nil
		}
		if next := oldest.next; !next.at.Before(query.Since) {
			if entry := parse(oldest.name, next.at, next.line); query.passes(&entry) {
				if err := each(entry); err != nil {
					return err
				}
			}
		}
		oldest.advance()
	}
	return ctx.Err()
}

// readTail reads the newest lines, from the end of the files backwards.
func (p *past) readTail(ctx context.Context, query *Query, each func(Entry) error) error {
	type arrived struct {
		Entry
		at time.Time
	}
	var found []arrived
	for _, source := range p.sources {
		var own []arrived
		source.backwards(func(line kept) bool {
			if line.at.Before(query.Since) || ctx.Err() != nil {
				return false
			}
			if entry := parse(source.name, line.at, line.line); query.passes(&entry) {
				own = append(own, arrived{entry, line.at})
			}
			return len(own) < query.Tail
		})
		slices.Reverse(own)
		found = append(found, own...)
	}
	slices.SortStableFunc(found, func(a, b arrived) int { return a.at.Compare(b.at) })
	for _, entry := range found[max(0, len(found)-query.Tail):] {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := each(entry.Entry); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// advance reads the next line of the source, if there is one.
func (s *source) advance() {
	s.some = false
	if len(s.memory) > 0 {
		s.next, s.memory, s.some = s.memory[0], s.memory[1:], true
		return
	}
	for len(s.files) > 0 {
		if s.reading == nil {
			limit := int64(1) << 62
			if len(s.files) == 1 {
				limit = s.size
			}
			s.reading = bufio.NewReaderSize(io.NewSectionReader(s.files[0], 0, limit), 2*maxLine)
		}
		line, err := s.reading.ReadSlice('\n')
		if stamped, ok := unstamp(bytes.TrimSuffix(line, []byte("\n"))); ok {
			s.next, s.some = kept{stamped.at, bytes.Clone(stamped.line)}, true
			return
		}
		if err != nil && len(line) == 0 {
			_ = s.files[0].Close() // it was only read
			s.files, s.reading = s.files[1:], nil
		}
	}
}

// unstamp reads a line of a file. What this package has not written there is left
// out.
func unstamp(line []byte) (kept, bool) {
	if len(line) <= len(stampForm) || line[len(stampForm)] != ' ' {
		return kept{}, false
	}
	at, err := time.Parse(stampForm, string(line[:len(stampForm)]))
	return kept{at, line[len(stampForm)+1:]}, err == nil
}

// backwards calls each for the lines, newest first, as long as it wants more.
func (s *source) backwards(each func(kept) bool) {
	for _, line := range slices.Backward(s.memory) {
		if !each(line) {
			return
		}
	}
	for i, file := range slices.Backward(s.files) {
		size := s.size
		if i < len(s.files)-1 {
			info, err := file.Stat()
			if err != nil {
				continue
			}
			size = info.Size()
		}
		if !linesBackwards(file, size, each) {
			return
		}
	}
}

// linesBackwards reports whether each wants more.
func linesBackwards(file io.ReaderAt, size int64, each func(kept) bool) bool {
	const block = 64 << 10
	var rest []byte // the end of the line that the block before began with
	for size > 0 {
		n := min(size, block)
		text := make([]byte, n, int(n)+len(rest))
		if _, err := file.ReadAt(text, size-n); err != nil {
			return true
		}
		size -= n
		text = append(text, rest...)
		for {
			i := bytes.LastIndexByte(text, '\n')
			if i < 0 {
				break
			}
			if line, ok := unstamp(text[i+1:]); ok && !each(line) {
				return false
			}
			text = text[:i]
		}
		rest = text
		if len(rest) > 4*maxLine {
			rest = nil // nothing that this package has written
		}
	}
	if line, ok := unstamp(rest); ok {
		return each(line)
	}
	return true
}
