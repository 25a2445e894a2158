package storetest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/angz-dev/angz/runtime/book"
	"github.com/angz-dev/angz/runtime/eventstore"
)

// named stores one event of an aggregate that people call name, and returns what
// there is to see of it then.
func named(t *testing.T, store eventstore.Store, domain, name string, root uuid.UUID) eventstore.Summary {
	t.Helper()
	request := command(book.Key{Domain: domain, Root: root}, 0, "a")
	request.Name = name
	events := must(t, store, request)
	return summaryOf(events, name)
}

// summaryOf returns what there is to see of an aggregate with these events.
func summaryOf(events []eventstore.Event, name string) eventstore.Summary {
	last := events[len(events)-1]
	return eventstore.Summary{
		Root: eventstore.Root{Key: last.Key, Name: name}, Next: last.Sequence + 1, Position: last.Position, TypeURL: last.TypeURL, At: last.CreatedAt,
	}
}

// counted returns the domains of a whole log.
func counted(log []eventstore.Event) (domains []eventstore.Domain) {
	for _, event := range log {
		at, found := slices.BinarySearchFunc(domains, event.Key.Domain, func(d eventstore.Domain, name string) int { return cmp.Compare(d.Name, name) })
		if !found {
			domains = slices.Insert(domains, at, eventstore.Domain{Name: event.Key.Domain})
		}
		d := &domains[at]
		if event.Sequence == 0 {
			d.Aggregates++
		}
		d.Events, d.Position, d.At = d.Events+1, event.Position, event.CreatedAt
	}
	return domains
}

// byName orders as the contract does.
func byName(a, b eventstore.Summary) int {
	return cmp.Or(cmp.Compare(eventstore.NameKey(a.Name), eventstore.NameKey(b.Name)), slices.Compare(a.Key.Root[:], b.Key.Root[:]))
}

func byRoot(a, b eventstore.Summary) int { return slices.Compare(a.Key.Root[:], b.Key.Root[:]) }

// paged reads all pages of a query.
func paged(t *testing.T, store eventstore.Store, query eventstore.SummaryQuery) (all []eventstore.Summary) {
	t.Helper()
	for {
		page := got(store.Summaries(t.Context(), query))(t)
		if len(page) > query.Limit {
			t.Fatalf("%d aggregates on a page of %d", len(page), query.Limit)
		}
		all = append(all, page...)
		if len(page) < query.Limit {
			return all
		}
		query.After = &page[len(page)-1].Root
	}
}

// latest reads all pages of a query.
func latest(t *testing.T, store eventstore.Store, query eventstore.LatestQuery) (all []eventstore.Summary) {
	t.Helper()
	for {
		page, next, err := store.Latest(t.Context(), query)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) > query.Limit || next >= query.Before {
			t.Fatalf("%d aggregates on a page of %d, and the next page begins at %d after %d", len(page), query.Limit, next, query.Before)
		}
		if all = append(all, page...); next == 0 {
			return all
		}
		query.Before = next
	}
}

var surveys = map[string]func(*testing.T, eventstore.Store){
	"an empty store has nothing to see": func(t *testing.T, store eventstore.Store) {
		same(t, "Domains", []eventstore.Domain(nil), got(store.Domains(t.Context()))(t))
		same(t, "Summary", eventstore.Summary{}, got(store.Summary(t.Context(), newKey("order")))(t))
		for _, byRoot := range []bool{true, false} {
			same(t, "Summaries", []eventstore.Summary(nil), got(store.Summaries(t.Context(), eventstore.SummaryQuery{Domain: "order", ByRoot: byRoot, Limit: 9}))(t))
		}
		same(t, "Latest", []eventstore.Summary(nil), latest(t, store, eventstore.LatestQuery{Before: store.Head() + 1, Look: 9, Limit: 9}))
	},

	"domains are counted with every append": func(t *testing.T, store eventstore.Store) {
		tea, milk, alice := newKey("order"), newKey("order"), newKey("customer")
		must(t, store, command(tea, 0, "a", "b"))
		repeated := command(tea, 2, "c")
		repeated.Repeatable = true
		must(t, store, repeated)
		must(t, store, command(milk, 0, "a"))
		must(t, store, command(alice, 0, "a"))
		if answer := got(store.Append(t.Context(), repeated))(t); !answer.Duplicate {
			t.Fatal("a repeated command is stored twice")
		}
		if _, err := store.Append(t.Context(), command(milk, 7, "z")); err == nil {
			t.Fatal("a conflict is stored")
		}
		same(t, "Domains", []eventstore.Domain{
			{Name: "customer", Aggregates: 1, Events: 1, Position: 5, At: created},
			{Name: "order", Aggregates: 2, Events: 4, Position: 4, At: created},
		}, got(store.Domains(t.Context()))(t))
	},

	"counts are exact after many writers and in bulk": func(t *testing.T, store eventstore.Store) {
		const writers, each = 8, 20
		var work sync.WaitGroup
		for range writers {
			work.Go(func() {
				key := newKey("order")
				for next := range uint32(each) {
					if _, err := store.Append(t.Context(), command(key, next, "a")); err != nil {
						t.Error(err)
					}
				}
				// One of two that want the same number is refused, within one call.
				other := newKey("customer")
				store.AppendAll(t.Context(), []eventstore.Append{command(other, 0, "a", "b"), command(other, 0, "c"), command(other, 2, "d")})
			})
		}
		work.Wait()
		for i, want := range []eventstore.Domain{{Name: "customer", Aggregates: writers, Events: 3 * writers}, {Name: "order", Aggregates: writers, Events: writers * each}} {
			domain := got(store.Domains(t.Context()))(t)[i]
			newest := got(store.ReadLog(t.Context(), domain.Position-1, 1))(t)[0]
			if newest.Key.Domain != want.Name {
				t.Errorf("the newest event of %s is one of %s", want.Name, newest.Key.Domain)
			}
			want.Position, want.At = domain.Position, newest.CreatedAt
			same(t, "Domains", want, domain)
		}
	},

	"counts are exact at every length of the log": func(t *testing.T, store eventstore.Store) {
		domains := []string{"order", "customer", "Order", "ordér", "order-item"}
		payloads := slices.Repeat([]string{"a"}, 700) // no power of two, so that counts begin and end within commands
		var log []eventstore.Event
		for i := range 15 {
			first, second := newKey(domains[i%len(domains)]), newKey(domains[i*i%len(domains)])
			refused := command(first, 1, "x")
			requests := []eventstore.Append{command(first, 0, payloads[:1+i*49]...), refused, command(second, 0, "a")}
			for j, result := range store.AppendAll(t.Context(), requests) {
				if (result.Err != nil) != (j == 1 && i > 0) {
					t.Fatalf("append %d of round %d: %v", j, i, result.Err)
				}
				if result.Err == nil {
					log = append(log, stored(requests[j], result.Last+1-uint64(len(requests[j].Events)))...)
				}
			}
			slices.SortFunc(log, func(a, b eventstore.Event) int { return cmp.Compare(a.Position, b.Position) })
			same(t, fmt.Sprintf("Domains after %d events", len(log)), counted(log), got(store.Domains(t.Context()))(t))
		}
	},

	"the first name of an aggregate is the one it is found by": func(t *testing.T, store eventstore.Store) {
		key := newKey("order")
		events := must(t, store, command(key, 0, "a"))
		other := named(t, store, "order", "milk", uuid.New())
		same(t, "without a name", []eventstore.Summary{summaryOf(events, ""), other}, paged(t, store, eventstore.SummaryQuery{Domain: "order", Limit: 1}))
		for next, name := range []string{1: "tea", 2: "a later name"} {
			if name == "" {
				continue
			}
			request := command(key, uint32(next), "b")
			request.Name = name
			want := summaryOf(must(t, store, request), "tea")
			same(t, "with a name", []eventstore.Summary{other, want}, paged(t, store, eventstore.SummaryQuery{Domain: "order", Limit: 1}))
			same(t, "by its name", []eventstore.Summary{want}, paged(t, store, eventstore.SummaryQuery{Domain: "order", Prefix: "te", Limit: 1}))
			same(t, "by another", []eventstore.Summary(nil), paged(t, store, eventstore.SummaryQuery{Domain: "order", Prefix: "a", Limit: 1}))
		}
	},

	"an aggregate at a glance": func(t *testing.T, store eventstore.Store) {
		key := newKey("order")
		request := command(key, 0, "a", "b")
		request.Name = "tea"
		events := must(t, store, request)
		want := summaryOf(events, "tea")
		same(t, "Summary", want, got(store.Summary(t.Context(), key))(t))
		if err := store.SaveSnapshot(t.Context(), eventstore.Snapshot{Key: key, Sequence: 1, TypeURL: "x/State"}); err != nil {
			t.Fatal(err)
		}
		must(t, store, command(newKey("order"), 0, "other"))
		want = summaryOf(must(t, store, command(key, 2, "c")), "tea")
		want.Snapshot = true
		same(t, "Summary", want, got(store.Summary(t.Context(), key))(t))
		same(t, "Summary of the other domain", eventstore.Summary{}, got(store.Summary(t.Context(), book.Key{Domain: "customer", Root: key.Root}))(t))
	},

	"aggregates by name": func(t *testing.T, store eventstore.Store) {
		long := strings.Repeat("é", eventstore.NameOrder)
		var all []eventstore.Summary
		for _, name := range []string{"", "", "Zebra", "a", "ab", "ab ", "ab%", "abc", "b_", "ä", "z\U0001F600", "日本", long, long + "a", long + "b"} {
			all = append(all, named(t, store, "order", name, uuid.New()))
		}
		named(t, store, "customer", "ab", uuid.New())
		slices.SortFunc(all, byName)
		for limit := 1; limit <= len(all)+1; limit++ {
			same(t, fmt.Sprintf("%d a page", limit), all, paged(t, store, eventstore.SummaryQuery{Domain: "order", Limit: limit}))
		}
		for _, prefix := range []string{"a", "ab", "ab%", "b_", "_", "%", "é", "日", "z", "Z", "nobody", long} {
			var want []eventstore.Summary
			for _, summary := range all {
				if strings.HasPrefix(eventstore.NameKey(summary.Name), prefix) {
					want = append(want, summary)
				}
			}
			for limit := 1; limit <= 3; limit++ {
				same(t, fmt.Sprintf("%q, %d a page", prefix, limit), want, paged(t, store, eventstore.SummaryQuery{Domain: "order", Prefix: prefix, Limit: limit}))
			}
		}
		same(t, "another domain", []eventstore.Summary(nil), paged(t, store, eventstore.SummaryQuery{Domain: "orders", Limit: 2}))
	},

	"aggregates by root": func(t *testing.T, store eventstore.Store) {
		var all []eventstore.Summary
		for i := range 20 {
			root := uuid.UUID{0: 0xab, 1: byte(i % 3), 4: byte(i), 15: byte(i * 13)}
			all = append(all, named(t, store, "order", "", root))
		}
		named(t, store, "customer", "", all[0].Key.Root)
		slices.SortFunc(all, byRoot)
		for limit := 1; limit <= len(all)+1; limit++ {
			same(t, fmt.Sprintf("%d a page", limit), all, paged(t, store, eventstore.SummaryQuery{Domain: "order", ByRoot: true, Limit: limit}))
		}
		text := all[7].Key.Root.String()
		for cut := range len(text) + 1 {
			var want []eventstore.Summary
			for _, summary := range all {
				if strings.HasPrefix(summary.Key.Root.String(), text[:cut]) {
					want = append(want, summary)
				}
			}
			same(t, text[:cut], want, paged(t, store, eventstore.SummaryQuery{Domain: "order", ByRoot: true, Prefix: text[:cut], Limit: 3}))
		}
		for _, prefix := range []string{"x", "ab0-", "abababab-a-", text + "0"} {
			same(t, prefix, []eventstore.Summary(nil), paged(t, store, eventstore.SummaryQuery{Domain: "order", ByRoot: true, Prefix: prefix, Limit: 3}))
		}
	},

	"the latest come first, each once": func(t *testing.T, store eventstore.Store) {
		keys := []book.Key{newKey("order"), newKey("customer"), newKey("order"), newKey("order")}
		next := map[book.Key]uint32{}
		newest := map[book.Key]eventstore.Summary{}
		for i := range 40 {
			key := keys[(i*i+i/3)%len(keys)]
			events := must(t, store, command(key, next[key], "a", "b")) // two at once
			next[key] += 2
			newest[key] = summaryOf(events, "")
		}
		all := make([]eventstore.Summary, 0, len(newest))
		for _, summary := range newest {
			all = append(all, summary)
		}
		slices.SortFunc(all, func(a, b eventstore.Summary) int { return cmp.Compare(b.Position, a.Position) })
		orders := slices.DeleteFunc(slices.Clone(all), func(s eventstore.Summary) bool { return s.Key.Domain != "order" })
		for limit := 1; limit <= len(all)+1; limit++ {
			for _, look := range []int{1, 2, 3, 7, 1000} {
				query := eventstore.LatestQuery{Before: store.Head() + 1, Look: look, Limit: limit}
				same(t, fmt.Sprintf("%+v", query), all, latest(t, store, query))
				query.Domain = "order"
				same(t, fmt.Sprintf("%+v", query), orders, latest(t, store, query))
			}
		}
	},

	"one page of the latest looks at no more than it may": func(t *testing.T, store eventstore.Store) {
		rare := summaryOf(must(t, store, command(newKey("rare"), 0, "a")), "")
		busy := newKey("busy")
		for next := range uint32(30) {
			must(t, store, command(busy, next, "a"))
		}
		query := eventstore.LatestQuery{Domain: "rare", Before: store.Head() + 1, Look: 10, Limit: 5}
		page, position, err := store.Latest(t.Context(), query)
		if err != nil || len(page) > 0 || position != 22 {
			t.Errorf("the first page has %v and the next one begins at %d, %v; want none and 22", page, position, err)
		}
		same(t, "all pages", []eventstore.Summary{rare}, latest(t, store, query))
	},
}
