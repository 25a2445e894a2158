//go:build unix

package main

import "golang.org/x/sys/unix"

// terminalWidth returns how many columns a terminal has, 0 if it does not say.
func terminalWidth(file uintptr) int {
	size, err := unix.IoctlGetWinsize(int(file), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return int(size.Col)
}
