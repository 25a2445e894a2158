package control

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/angz-dev/angz/emulator/project"
)

// What trying a lock may tell.
var (
	errHeld    = errors.New("somebody else holds the lock")
	errNoLocks = errors.New("the file system has no locks")
)

// Self is what an emulator says about itself when it claims its project.
type Self struct {
	Project  string   // what the project is called
	Dir      string   // its folder
	Detached bool     // nobody sits before it
	Environ  []string // as os.Environ returns it; it says where the person's folders are
}

// Claim is the right to run a project, which one process has at a time. It is
// lost with the process, however that ends.
type Claim struct {
	record Record
	lock   *os.File
	files  []string // that tell others, removed at the end
}

// Taken says that another process runs the project already.
type Taken struct {
	Record Record // its PID is 0 when it has not said who it is
}

// Error says who it is and what to do.
func (e *Taken) Error() string {
	who := "another angz"
	if e.Record.PID != 0 {
		who = fmt.Sprintf("process %d, since %s, %s", e.Record.PID, e.Record.Started.Local().Format("2006-01-02 15:04:05"), e.Record.where())
	}
	return fmt.Sprintf("%s runs already: %s\nstop it with \"angz stop\", or look at it with \"angz ps\" and \"angz logs -f\"", e.Record.Dir, who)
}

// identifyTime is how long a process that holds the lock may take to say who it
// is, and one that only looks whether the lock is held to let go of it.
const identifyTime = 2 * time.Second

// Acquire claims the project for this process and makes that known. It fails
// with *Taken when another process runs the project.
func Acquire(self Self) (*Claim, error) {
	dir, err := realPath(self.Dir)
	if err != nil {
		return nil, fmt.Errorf("claim the project: %w", err)
	}
	folder, err := project.MakeFolder(dir)
	if err != nil {
		return nil, err
	}
	lock, err := acquireLock(dir)
	if err != nil {
		return nil, err
	}
	c := &Claim{lock: lock, record: Record{
		Project: self.Project, Dir: dir, PID: os.Getpid(), Started: time.Now().UTC().Truncate(time.Millisecond), Detached: self.Detached, Terminal: terminal(),
	}}
	if c.record.Socket, err = socketPath(dir, self.Environ); err == nil {
		err = c.announce(folder, registries(self.Environ))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("claim the project: %w", err), c.Release())
	}
	return c, nil
}

// announce writes the record where others look for it.
func (c *Claim) announce(folder string, registries []string) error {
	own := filepath.Join(folder, recordName)
	c.files = append(c.files, own)
	if err := c.record.write(own); err != nil {
		return err
	}
	var all error
	for _, registry := range registries {
		err := c.list(registry)
		if err == nil {
			return nil
		}
		all = errors.Join(all, err)
	}
	return all
}

// list writes the record into a folder for all running emulators.
func (c *Claim) list(registry string) error {
	unlock, err := lockFolder(registry)
	if err != nil {
		return err
	}
	defer unlock()
	path := filepath.Join(registry, mark(c.record.Dir)+recordEnding)
	if err := c.record.write(path); err != nil {
		return err
	}
	c.files = append(c.files, path)
	return nil
}

// Socket returns where the project is controlled while Serve runs.
func (c *Claim) Socket() string { return c.record.Socket }

// Release gives the project free. It is the last thing a process does with it.
func (c *Claim) Release() error {
	var all error
	for _, file := range c.files {
		if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
			all = errors.Join(all, err)
		}
	}
	c.files = nil
	return errors.Join(all, c.lock.Close())
}

// acquireLock takes the lock of the project in dir.
func acquireLock(dir string) (*os.File, error) {
	path := filepath.Join(dir, folderName, lockName)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the project: %w; make %s writable", err, filepath.Dir(path))
	}
	for deadline := time.Now().Add(identifyTime); ; time.Sleep(5 * time.Millisecond) {
		err := tryLock(file, true)
		record, unread := readRecord(filepath.Join(dir, folderName, recordName))
		if unread != nil {
			record = Record{Dir: dir}
		}
		switch {
		case err == nil:
			return file, nil
		case errors.Is(err, errNoLocks):
			if unread == nil && answers(record.Socket) {
				return nil, errors.Join(&Taken{record}, file.Close())
			}
			return file, nil
		case !errors.Is(err, errHeld):
			return nil, errors.Join(fmt.Errorf("lock the project: %s: %w", path, err), file.Close())
		case unread == nil && isAlive(record.PID):
			file.Close()
			return nil, &Taken{record}
		case time.Now().After(deadline):
			file.Close()
			return nil, &Taken{Record{Dir: dir}}
		}
	}
}

// isHeld reports whether a process runs the project in dir.
func isHeld(dir string) (bool, error) {
	file, err := os.Open(filepath.Join(dir, folderName, lockName))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer file.Close()
	switch err := tryLock(file, false); {
	case err == nil:
		return false, nil
	case errors.Is(err, errHeld):
		return true, nil
	case errors.Is(err, errNoLocks):
		record, err := readRecord(filepath.Join(dir, folderName, recordName))
		return err == nil && answers(record.Socket), nil
	default:
		return false, err
	}
}

// answers reports whether somebody accepts connections at a socket.
func answers(socket string) bool {
	conn, err := net.DialTimeout("unix", socket, time.Second)
	return err == nil && conn.Close() == nil
}

// realPath returns the one absolute path of a folder that may have several.
func realPath(dir string) (string, error) {
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(absolute)
}

// terminal returns the name of the terminal that this process was started in,
// as far as that can be seen.
func terminal() string {
	name, err := os.Readlink("/proc/self/fd/0")
	if err != nil || !isTerminalName(name) {
		return ""
	}
	return name
}

func isTerminalName(name string) bool {
	return filepath.Dir(name) == "/dev/pts" || filepath.Dir(name) == "/dev" && len(name) > len("/dev/tty") && name[:len("/dev/tty")] == "/dev/tty"
}
