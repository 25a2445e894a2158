package amqp

import (
	"errors"
	"fmt"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// explain adds to what the broker says what a person can do about it.
func explain(err error) error {
	advice := advise(err)
	if advice == "" {
		return err
	}
	return fmt.Errorf("%w; %s", err, advice)
}

func advise(err error) string {
	var answer *amqp.Error
	if !errors.As(err, &answer) {
		return ""
	}
	switch {
	case errors.Is(err, amqp.ErrCredentials), answer.Code == amqp.AccessRefused && strings.Contains(answer.Reason, "password"),
		answer.Code == amqp.AccessRefused && strings.Contains(answer.Reason, "Login was refused"):
		return "check the user and the password in the URL of the bus"
	case answer.Code == amqp.NotAllowed && strings.Contains(answer.Reason, "vhost"):
		return "create the virtual host, give the user access to it, or correct the URL of the bus"
	case answer.Code == amqp.AccessRefused:
		return "give the user permission to configure, write and read on this virtual host"
	case answer.Code == amqp.PreconditionFailed && strings.Contains(answer.Reason, "message size"):
		return "raise max_message_size in the broker's configuration to 16 MiB at least"
	case answer.Code == amqp.PreconditionFailed && strings.Contains(answer.Reason, "inequivalent"):
		return "it was declared with other settings: configure the same ones, or delete it from the broker and it will be made anew " +
			"(nothing is lost by that, consumers read the log)"
	case answer.Code == amqp.ResourceLocked:
		return "another process holds it; it is tried again"
	}
	return ""
}

// remind is after what time the log hears again of trouble that stays the same.
const remind = time.Minute

// complaint keeps the log from being told the same thing at every attempt.
type complaint struct {
	text string
	at   time.Time
}

// fresh reports whether the log should hear of an error.
func (c *complaint) fresh(err error) bool {
	if err.Error() == c.text && time.Since(c.at) < remind {
		return false
	}
	c.text, c.at = err.Error(), time.Now()
	return true
}

func (c *complaint) forget() { *c = complaint{} }
