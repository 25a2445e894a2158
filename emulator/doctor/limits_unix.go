//go:build linux || darwin

package doctor

import "golang.org/x/sys/unix"

// fileLimit returns how many files this process may have open at once.
func fileLimit() (limit uint64, known bool) {
	var found unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &found); err != nil {
		return 0, false
	}
	return found.Cur, true
}

// freeBytes returns how much this user may still write to the disk of a folder.
func freeBytes(folder string) (bytes uint64, known bool) {
	var found unix.Statfs_t
	if err := unix.Statfs(folder, &found); err != nil {
		return 0, false
	}
	return uint64(found.Bavail) * uint64(found.Bsize), true
}
