//go:build !unix

package main

// terminalWidth returns how many columns a terminal has, 0 because it is not
// asked here.
func terminalWidth(uintptr) int { return 0 }
