//go:build !linux

package e2e_test

import "syscall"

func diesWithTest() *syscall.SysProcAttr { return nil }
