package auditlog

import (
	"os"
	"syscall"
	"unsafe"
)

var (
	kernel32         = syscall.NewLazyDLL("kernel32.dll")
	procLockFileEx   = kernel32.NewProc("LockFileEx")
	procUnlockFileEx = kernel32.NewProc("UnlockFileEx")
	procDiskFree     = kernel32.NewProc("GetDiskFreeSpaceExW")
)

const (
	lockFailImmediately = 1
	lockExclusive       = 2
)

func lockFileEx(f *os.File, flags uintptr) error {
	var o syscall.Overlapped
	ok, _, err := procLockFileEx.Call(f.Fd(), flags, 0, 1, 0, uintptr(unsafe.Pointer(&o)))
	if ok == 0 {
		return err
	}
	return nil
}

// lockFile takes the lock of a stream for its writer. It ends with the process.
func lockFile(f *os.File) error { return lockFileEx(f, lockExclusive|lockFailImmediately) }

// lockHeld reports whether a writer has the lock.
func lockHeld(f *os.File) bool {
	if lockFileEx(f, lockFailImmediately) != nil {
		return true
	}
	var o syscall.Overlapped
	_, _, _ = procUnlockFileEx.Call(f.Fd(), 0, 1, 0, uintptr(unsafe.Pointer(&o)))
	return false
}

// syncDir does nothing: Windows has no way to sync a directory.
func syncDir(string) error { return nil }

func freeSpace(dir string) (int64, error) {
	name, err := syscall.UTF16PtrFromString(dir)
	if err != nil {
		return 0, err
	}
	var free uint64
	ok, _, err := procDiskFree.Call(uintptr(unsafe.Pointer(name)), uintptr(unsafe.Pointer(&free)), 0, 0)
	if ok == 0 {
		return 0, err
	}
	return int64(min(free, 1<<62)), nil
}
