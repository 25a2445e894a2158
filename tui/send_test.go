package tui

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/angz-dev/angz/inspect"
)

// mute knows commands by name only.
type mute struct{}

func (mute) Commands(context.Context, string) []string { return []string{"shop.AddItem"} }

func (mute) Fields(context.Context, string) ([]inspect.Field, error) {
	return nil, errors.New("the type shop.AddItem is not known")
}

func TestACommandOfWhichNothingIsKnown(t *testing.T) {
	t.Parallel()
	for name, forms := range map[string]Forms{"only its name": mute{}, "nothing at all": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			system := newFake()
			d := drive(t, system, 100, 30, func(o *Options) { o.Forms = forms })
			d.press("s")
			d.until("send a command")
			d.press("ctrl+s")
			d.until("nothing was sent", "is missing")
			d.writes("order")
			d.press("tab")
			d.writes("order-9")
			d.press("tab")
			if forms == nil {
				d.writes("shop.AddItem")
			}
			d.until("shop.AddItem", "known", "JSON")
			d.press("tab")
			d.writes(`{"productId":`)
			d.until("expected an object in JSON")
			d.press("ctrl+s")
			d.until("nothing was sent")
			d.writes(`"tea"}`)
			d.until(`"productId": "tea"`)
			d.press("ctrl+s")
			d.until("accepted")
			want := []inspect.SendRequest{{Domain: "order", ID: "order-9", Type: "shop.AddItem", JSON: json.RawMessage(`{"productId":"tea"}`), Sync: inspect.SyncSimple}}
			if diff := cmp.Diff(want, system.sent); diff != "" {
				t.Error(diff)
			}
		})
	}
}
