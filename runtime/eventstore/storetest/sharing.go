package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/angz-dev/angz/runtime/eventstore"
)

// long is a lease that ends in no test by itself.
const long = time.Hour

// joining returns the request of a new member.
func joining(subscription string, slices int) eventstore.Share {
	member := uuid.New()
	return eventstore.Share{
		Name: subscription, Member: member, Address: member.String()[:4] + ".example:1313", Slices: slices, Lease: long,
	}
}

func share(t *testing.T, store eventstore.Subscriptions, request eventstore.Share) eventstore.Shared {
	t.Helper()
	return got(store.Share(t.Context(), request))(t)
}

// giving returns a request that gives slices back.
func giving(request eventstore.Share, slices ...int) eventstore.Share {
	request.Return = slices
	return request
}

func leaving(request eventstore.Share) eventstore.Share {
	request.Leave = true
	return request
}

// claims returns the numbers of the slices that a member holds.
func claims(shared eventstore.Shared, by eventstore.Share) []int {
	var numbers []int
	for _, slice := range shared.Slices {
		if slice.Member == by.Member {
			numbers = append(numbers, slice.Number)
		}
	}
	return numbers
}

// holders returns slices as they are listed when they are held like this, at the
// positions and with the epochs they had before.
func holders(before []eventstore.Slice, by ...eventstore.Share) []eventstore.Slice {
	want := make([]eventstore.Slice, len(before))
	for i := range want {
		want[i] = eventstore.Slice{
			Number: i, Position: before[i].Position, Epoch: before[i].Epoch, Member: by[i].Member, Address: by[i].Address,
		}
	}
	return want
}

var nobody eventstore.Share

var sharing = map[string]func(*testing.T, eventstore.Store){
	"the first member gets a new subscription, from the beginning": func(t *testing.T, store eventstore.Store) {
		first := joining("projector/receipt", 3)
		shared := share(t, store, first)
		for i := range shared.Slices {
			shared.Slices[i].Position = 0
		}
		want := eventstore.Shared{Slices: holders(shared.Slices, first, first, first)}
		same(t, "Share", want, shared)
		same(t, "Share again", want, share(t, store, first))
	},

	"a second member gets its half as soon as it is given back": func(t *testing.T, store eventstore.Store) {
		first, second := joining("saga", 4), joining("saga", 4)
		before := share(t, store, first).Slices
		advanceTo(t, store, "saga", before, 5)

		same(t, "the second", eventstore.Shared{Slices: holders(before, first, first, first, first)}, share(t, store, second))
		same(t, "the first", eventstore.Shared{Slices: holders(before, first, first, first, first), Surplus: 2}, share(t, store, first))
		same(t, "the first, one less",
			[]int{0, 1, 2}, claims(share(t, store, giving(first, 3)), first))
		same(t, "the second with one", []int{3}, claims(share(t, store, second), second))
		rest := share(t, store, giving(first, 1))
		same(t, "the first at its half", eventstore.Shared{Slices: rest.Slices}, rest)
		same(t, "nobody's slice", uuid.Nil, rest.Slices[1].Member)

		before[1].Epoch++
		before[3].Epoch++
		want := eventstore.Shared{Slices: holders(before, first, second, first, second)}
		same(t, "the second with two", want, share(t, store, second))
		same(t, "the first at last", want, share(t, store, first))
	},

	"a fair share is rounded up": func(t *testing.T, store eventstore.Store) {
		members := []eventstore.Share{joining("saga", 7), joining("saga", 7), joining("saga", 7)}
		for _, member := range members {
			share(t, store, member)
		}
		if surplus := share(t, store, members[0]).Surplus; surplus != 4 {
			t.Errorf("one of three with all of 7 slices has %d too many, want 4", surplus)
		}
		share(t, store, giving(members[0], 0, 1, 2, 3))
		same(t, "the second", []int{0, 1, 2}, claims(share(t, store, members[1]), members[1]))
		same(t, "the third", []int{3}, claims(share(t, store, members[2]), members[2]))
	},

	"more members than slices leave some without": func(t *testing.T, store eventstore.Store) {
		first, second := joining("relay", 1), joining("relay", 1)
		share(t, store, first)
		shared := share(t, store, second)
		same(t, "the second", eventstore.Shared{Slices: holders(shared.Slices, first)}, shared)
		if surplus := share(t, store, first).Surplus; surplus != 0 {
			t.Errorf("the only slice is a surplus of %d", surplus)
		}
	},

	"who leaves is replaced at once": func(t *testing.T, store eventstore.Store) {
		first, second := joining("saga", 2), joining("saga", 2)
		before := share(t, store, first).Slices
		share(t, store, second)
		advanceTo(t, store, "saga", before, 3)
		left := share(t, store, leaving(first))
		same(t, "nobody's slices", eventstore.Shared{Slices: holders(left.Slices, nobody, nobody)}, left)
		for i := range before {
			before[i].Epoch++
		}
		same(t, "the second", eventstore.Shared{Slices: holders(before, second, second)}, share(t, store, second))
		// One who has left, or never was there, can leave again.
		same(t, "after all", []int{0, 1}, claims(share(t, store, leaving(first)), second))
	},

	"nobody gives back what another one holds": func(t *testing.T, store eventstore.Store) {
		first, second := joining("saga", 2), joining("saga", 2)
		before := share(t, store, first).Slices
		want := holders(before, first, first)
		same(t, "Share", eventstore.Shared{Slices: want}, share(t, store, giving(second, 0, 1, 7)))
		same(t, "leaving", eventstore.Shared{Slices: want}, share(t, store, leaving(second)))
	},

	"a subscription keeps its number of slices": func(t *testing.T, store eventstore.Store) {
		first := joining("saga", 3)
		want := share(t, store, first)
		for _, slices := range []int{1, 4} {
			for _, other := range []eventstore.Share{joining("saga", slices), leaving(joining("saga", slices))} {
				if _, err := store.Share(t.Context(), other); !errors.Is(err, eventstore.ErrSlices) {
					t.Errorf("%d slices: got %v, want ErrSlices", slices, err)
				}
			}
		}
		same(t, "Share", want, share(t, store, first))
	},

	"a share that makes no sense is refused": func(t *testing.T, store eventstore.Store) {
		for _, change := range []func(*eventstore.Share){
			func(s *eventstore.Share) { s.Member = uuid.Nil },
			func(s *eventstore.Share) { s.Slices = 0 },
			func(s *eventstore.Share) { s.Slices = -1 },
			func(s *eventstore.Share) { s.Lease = 0 },
		} {
			request := joining("saga", 2)
			change(&request)
			if _, err := store.Share(t.Context(), request); err == nil {
				t.Errorf("%+v was accepted", request)
			}
		}
		same(t, "Positions", []eventstore.Position(nil), got(store.Positions(t.Context()))(t))
	},

	"members tell the others where they are reached": func(t *testing.T, store eventstore.Store) {
		first, second := joining("saga", 2), joining("saga", 2)
		share(t, store, first)
		share(t, store, second)
		share(t, store, giving(first, 1))
		share(t, store, second)
		first.Address = "" // it moves
		shared := share(t, store, first)
		same(t, "the first", eventstore.Shared{Slices: holders(shared.Slices, first, second)}, shared)
		same(t, "the second", shared, share(t, store, second))
	},

	"subscriptions know nothing of each other": func(t *testing.T, store eventstore.Store) {
		first, second := joining("saga", 2), joining("sage", 3)
		share(t, store, first)
		same(t, "the other", []int{0, 1, 2}, claims(share(t, store, second), second))
		second.Name, second.Slices = "saga", 2
		same(t, "a member of both", []int(nil), claims(share(t, store, second), second))
		if surplus := share(t, store, first).Surplus; surplus != 1 {
			t.Errorf("one of two with both slices has %d too many, want 1", surplus)
		}
	},

	"many members that come at once agree in the end": func(t *testing.T, store eventstore.Store) {
		const slices, count = 16, 5
		members := make([]eventstore.Share, count)
		for i := range members {
			members[i] = joining("saga", slices)
		}
		// Each round lets all of them ask once, whatever the order.
		for range 2 * count {
			var all errgroup.Group
			for i := range members {
				all.Go(func() error {
					shared, err := store.Share(t.Context(), members[i])
					if err == nil {
						members[i].Return = claims(shared, members[i])[:shared.Surplus]
					}
					return err
				})
			}
			if err := all.Wait(); err != nil {
				t.Fatal(err)
			}
		}
		for _, member := range members {
			shared := share(t, store, member)
			if n := len(claims(shared, member)); n > (slices+count-1)/count || shared.Surplus != 0 {
				t.Errorf("a member has %d of %d slices, %d too many", n, slices, shared.Surplus)
			}
		}
		for _, slice := range share(t, store, members[0]).Slices {
			if slice.Member == uuid.Nil {
				t.Errorf("nobody holds slice %d", slice.Number)
			}
		}
	},
}

// leases holds what needs time to pass.
var leases = map[string]func(*testing.T, Driver, eventstore.Store){
	"who is not heard of is replaced and fenced off": func(t *testing.T, driver Driver, store eventstore.Store) {
		silent, second := joining("saga", 2), joining("saga", 2)
		silent.Lease = driver.lease()
		before := share(t, store, silent).Slices
		advanceTo(t, store, "saga", before, 4)
		driver.pass(t, store, silent.Lease)
		after := share(t, store, second).Slices
		want := holders(before, second, second)
		for i := range want {
			want[i].Epoch++
		}
		same(t, "the second", want, after)
		expectFenced(t, store, advanceBy("saga", before, 1), 0, 1)
		advanceTo(t, store, "saga", after, 6)

		// It is a member again, but comes too late for its slices.
		late := share(t, store, silent)
		same(t, "the late one", holders(after, second, second), late.Slices)
		if surplus := share(t, store, second).Surplus; surplus != 1 {
			t.Errorf("one of two with both slices has %d too many, want 1", surplus)
		}
	},

	"who is late but was not replaced goes on": func(t *testing.T, driver Driver, store eventstore.Store) {
		late := joining("saga", 2)
		late.Lease = driver.lease()
		before := share(t, store, late).Slices
		driver.pass(t, store, late.Lease)
		for _, position := range got(store.Positions(t.Context()))(t) {
			if position.Member != uuid.Nil || position.Address != "" {
				t.Errorf("slice %d is held by %s at %q after the lease", position.Slice, position.Member, position.Address)
			}
		}
		advanceTo(t, store, "saga", before, 4)
		late.Lease = long
		same(t, "Share", eventstore.Shared{Slices: before}, share(t, store, late))
		advanceTo(t, store, "saga", before, 5)
	},

	"only members that are heard of count": func(t *testing.T, driver Driver, store eventstore.Store) {
		first, silent := joining("saga", 4), joining("saga", 4)
		silent.Lease = driver.lease()
		share(t, store, first)
		share(t, store, silent)
		driver.pass(t, store, silent.Lease)
		if surplus := share(t, store, first).Surplus; surplus != 0 {
			t.Errorf("a member that is alone has %d slices too many", surplus)
		}
	},

	"the newest lease counts": func(t *testing.T, driver Driver, store eventstore.Store) {
		member, second := joining("relay", 1), joining("relay", 1)
		member.Lease = driver.lease()
		share(t, store, member)
		member.Lease = long
		share(t, store, member)
		driver.pass(t, store, driver.lease())
		same(t, "the second", []int(nil), claims(share(t, store, second), second))
	},
}
