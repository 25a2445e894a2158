package supervise

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// startTime returns when a process was started, in a form to be compared. It is
// empty for one that does not exist.
func startTime(pid int) string {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%d.%06d", info.Proc.P_starttime.Sec, info.Proc.P_starttime.Usec)
}
