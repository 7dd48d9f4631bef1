//go:build linux || darwin

package auditlog

import "syscall"

// freeSpace returns how many bytes an ordinary user may still write.
func freeSpace(dir string) (int64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return int64(min(uint64(s.Bavail)*uint64(s.Bsize), 1<<62)), nil
}
