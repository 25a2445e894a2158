package amqp_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	raw "github.com/rabbitmq/amqp091-go"

	"github.com/angz-dev/angz/runtime/bus/amqp"
)

func TestALetterIsInTheQueueWhenPutReturns(t *testing.T) {
	t.Parallel()
	url := shared.Use(t)
	box := amqp.Letterbox{URL: url, Queue: uuid.NewString()[:8] + ".letters", ConnectionName: "a test"}
	channel := client(t, url)
	t.Cleanup(func() { _, _ = channel.QueueDelete(box.Queue, false, false, false) })
	letter := amqp.Letter{ID: "i", CorrelationID: "c", Type: "angzarr.SagaCompensationFailed", Body: []byte{1, 2}}
	for range 2 { // the queue is made once
		if err := box.Put(t.Context(), letter); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		got, found, err := channel.Get(box.Queue, true)
		if err != nil || !found {
			t.Fatalf("%v, %v", found, err)
		}
		copied := amqp.Letter{ID: got.MessageId, CorrelationID: got.CorrelationId, Type: got.Type, Body: got.Body}
		if diff := gocmp.Diff(letter, copied); diff != "" || got.DeliveryMode != raw.Persistent || got.ContentType != "application/protobuf" {
			t.Errorf("%s, %+v", diff, got)
		}
	}
}

func TestALetterGoesIntoAQueueOfAnyKind(t *testing.T) {
	t.Parallel()
	url := shared.Use(t)
	box := amqp.Letterbox{URL: url, Queue: uuid.NewString()[:8] + ".letters"}
	channel := client(t, url)
	if _, err := channel.QueueDeclare(box.Queue, true, false, false, false, raw.Table{"x-queue-type": "quorum"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = channel.QueueDelete(box.Queue, false, false, false) })
	if err := box.Put(t.Context(), amqp.Letter{ID: "i", Body: []byte{1}}); err != nil {
		t.Error(err)
	}
}

func TestALetterboxThatIsAwaySaysSoWithoutItsURL(t *testing.T) {
	t.Parallel()
	// One that takes connections and never says anything.
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	for _, c := range []struct{ url, want string }{
		{"amqp://user:hunter2@127.0.0.1:1/", "connection refused"},
		{"amqp://user:hunter2@" + silent.Addr().String() + "/", "has not answered in time"},
		{"amqp://user:hunter2%zz@h/", "the URL cannot be read"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		err := amqp.Letterbox{URL: c.url, Queue: "q"}.Put(ctx, amqp.Letter{})
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") || !strings.HasPrefix(err.Error(), "put a message into the queue q: ") {
			t.Errorf("%s: %v", c.want, err)
		}
		if c.want == "has not answered in time" && !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	}
}
