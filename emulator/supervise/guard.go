package supervise

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Guard is the whole life of the guardian: a process beside angz that reads from
// orders which process groups and sockets there are. When orders ends without a
// farewell, angz has died, however it did, and Guard kills the groups and
// removes the sockets. It returns when that is done.
func Guard(orders io.Reader) error {
	heedOnlyTheEnd()
	w := ward{groups: map[int]string{}}
	var errs []error
	for reader := bufio.NewReader(orders); ; {
		order, err := reader.ReadString('\n')
		if err != nil {
			// An order without an end was cut short by the death.
			return errors.Join(append(errs, w.end())...)
		}
		done, err := w.obey(strings.TrimSuffix(order, "\n"))
		if done {
			return errors.Join(errs...)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
}

// ward is what a guardian has been told.
type ward struct {
	parent  int
	mark    string
	groups  map[int]string // when the first process of each was started
	sockets []string
}

// obey takes in one order. It reports whether it was the farewell.
func (w *ward) obey(order string) (done bool, err error) {
	verb, rest, _ := strings.Cut(order, " ")
	switch verb {
	case "done":
		return true, nil
	case "parent":
		w.parent, err = strconv.Atoi(rest)
	case "mark":
		w.mark, err = strconv.Unquote(rest)
	case "socket":
		var path string
		if path, err = strconv.Unquote(rest); err == nil && filepath.IsAbs(path) {
			w.sockets = append(w.sockets, path)
		}
	case "group":
		number, quoted, _ := strings.Cut(rest, " ")
		var group int
		if group, err = positive(number); err == nil {
			w.groups[group], err = strconv.Unquote(quoted)
		}
	case "forget":
		var group int
		if group, err = positive(rest); err == nil {
			delete(w.groups, group)
		}
	default:
		err = errors.New("no such order")
	}
	if err != nil {
		return false, fmt.Errorf("guard: order %.80q: %w", order, err)
	}
	return false, nil
}

// positive reads the number of a process group. 0 and 1 would mean others than
// the groups of children.
func positive(text string) (int, error) {
	number, err := strconv.Atoi(text)
	if err == nil && number < 2 {
		err = fmt.Errorf("%d is not the process group of a child", number)
	}
	return number, err
}

// end does what the guardian is for.
func (w *ward) end() error {
	w.awaitParent()
	for group, started := range w.groups {
		// A first process that was started at another time is another one: the
		// group was gone and its number was given again.
		if now := startTime(group); now != "" && now != started {
			delete(w.groups, group)
			continue
		}
		killGroup(group)
	}
	if w.mark != "" {
		sweep(w.mark)
	}
	deadline := time.Now().Add(time.Second)
	for group := range w.groups {
		awaitGone(group, deadline)
	}
	var errs []error
	for _, socket := range w.sockets {
		errs = append(errs, removeDead(socket))
	}
	return errors.Join(errs...)
}

// awaitParent waits until angz is gone altogether: the end of the pipe comes a
// moment before the end of its other files, such as its own sockets.
func (w *ward) awaitParent() {
	for deadline := time.Now().Add(time.Second); w.parent != 0 && os.Getppid() == w.parent && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
}

// removeDead removes a socket unless somebody goes on answering there: the next
// angz may be up already.
func removeDead(path string) error {
	for range 10 {
		conn, err := net.DialTimeout("unix", path, time.Second)
		if err != nil {
			return removeSocket(path)
		}
		_ = conn.Close()
		// A process that was being made when angz died has its files for a
		// moment longer.
		time.Sleep(10 * time.Millisecond)
	}
	return nil
}
