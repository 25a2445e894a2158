//go:build !linux && !darwin

package doctor

// fileLimit does not know the limit here.
func fileLimit() (limit uint64, known bool) { return 0, false }

// freeBytes does not know the room here.
func freeBytes(string) (bytes uint64, known bool) { return 0, false }
