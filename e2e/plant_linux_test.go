package e2e_test

import "syscall"

// diesWithTest lets nothing outlive a test process that is killed.
func diesWithTest() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
