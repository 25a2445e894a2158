package emulator

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/muesli/cancelreader"

	"github.com/angz-dev/angz/emulator/supervise"
)

// keyHelp lists the keys, as ? shows them.
const keyHelp = `keys:
  r  restart services         l  choose whose lines are shown
  p  pause and resume restarts after changes of files
  c  clear the screen         o  show where everything is
  q  quit (or Ctrl-C)         ?  this list`

// readKeys acts on single keys until the context ends, when somebody sits before
// the emulator.
func (e *emulation) readKeys(ctx context.Context) {
	terminal, isFile := e.options.Stdin.(*os.File)
	if !isFile || !e.options.Terminal || !inForeground(terminal) {
		return
	}
	restore, err := readSingleKeys(terminal)
	if err != nil {
		e.log.angz.Debug("no keys can be read", "error", err)
		return
	}
	defer restore()
	reader, err := cancelreader.NewReader(terminal)
	if err != nil {
		e.log.angz.Debug("no keys can be read", "error", err)
		return
	}
	defer context.AfterFunc(ctx, func() { reader.Cancel() })()
	var k keyboard
	for buffer := make([]byte, 64); ; {
		n, err := reader.Read(buffer)
		if err != nil {
			return
		}
		for _, key := range string(buffer[:n]) {
			k.press(e, key)
		}
	}
}

// keyboard knows what the next key is for.
type keyboard struct {
	// asked, if not nil, gets the next key: the answer to a question.
	asked func(key rune)
}

func (k *keyboard) press(e *emulation, key rune) {
	if answer := k.asked; answer != nil {
		k.asked = nil
		answer(key)
		return
	}
	switch key {
	case 'r':
		k.choose(e, "restart", "", func(names []string, _ rune) {
			e.group.Restart(supervise.Cause{Why: "asked for (r)", At: time.Now()}, names...)
		})
	case 'l':
		k.choose(e, "show the lines of", ", w warnings and errors only", func(names []string, key rune) {
			e.log.show(names, key == 'w')
		})
	case 'p':
		paused := len(e.pausedServices()) == 0
		e.board.pause(paused)
		if paused {
			e.log.say("paused: changes of files restart nothing until p is pressed again")
		} else {
			e.log.say("resumed: changes of files restart their services again")
		}
	case 'c':
		e.log.clear()
	case 'o':
		e.announce(context.Background(), 0)
	case 'q':
		e.stop()
	case '?', 'h':
		e.log.say(keyHelp)
	}
}

// choose asks which services are meant. The answer gets none for all of them, and
// the key itself if it is one of the others that are offered.
func (k *keyboard) choose(e *emulation, what, others string, answer func(names []string, key rune)) {
	names := e.current().names()
	question := []string{"a all"}
	for i, name := range names {
		if i < len(digits) {
			question = append(question, fmt.Sprintf("%c %s", digits[i], name))
		}
	}
	e.log.say(what + ": " + strings.Join(question, ", ") + others + ", any other key for nothing")
	k.asked = func(key rune) {
		if key == 'a' {
			answer(nil, key)
			return
		}
		if i := strings.IndexRune(digits, key); i >= 0 && i < len(names) {
			answer(names[i:i+1], key)
			return
		}
		if others != "" && strings.ContainsRune(others[2:3], key) {
			answer(nil, key)
		}
	}
}

// digits are the keys that stand for the services.
const digits = "123456789"

// pausedServices lists the services that changes of files do not restart.
func (e *emulation) pausedServices() (names []string) {
	for _, each := range e.board.all() {
		if each.paused {
			names = append(names, each.Name)
		}
	}
	return names
}
