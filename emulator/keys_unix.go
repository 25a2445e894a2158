//go:build unix

package emulator

import (
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// inForeground reports whether a terminal is one and gives its keys to this
// process. Whoever reads from another one's is stopped by the system.
func inForeground(terminal *os.File) bool {
	group, err := unix.IoctlGetInt(int(terminal.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// readSingleKeys has a terminal give each key at once and show none, and leaves
// everything else as it is, Ctrl-C too. It returns how to undo that.
func readSingleKeys(terminal *os.File) (restore func(), err error) {
	fd := int(terminal.Fd())
	before, err := unix.IoctlGetTermios(fd, getTermios)
	if err != nil {
		return nil, err
	}
	set := func() error {
		single := *before
		single.Lflag &^= unix.ICANON | unix.ECHO
		single.Cc[unix.VMIN], single.Cc[unix.VTIME] = 1, 0
		return unix.IoctlSetTermios(fd, setTermios, &single)
	}
	if err := set(); err != nil {
		return nil, err
	}
	// The shell sets the terminal as it likes it while angz is stopped by Ctrl-Z.
	continued := make(chan os.Signal, 1)
	signal.Notify(continued, unix.SIGCONT)
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-continued:
				if inForeground(terminal) {
					_ = set()
				}
			case <-done:
				return
			}
		}
	}()
	return func() {
		signal.Stop(continued)
		close(done)
		<-ended
		_ = unix.IoctlSetTermios(fd, setTermios, before)
	}, nil
}
