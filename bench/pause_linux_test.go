package bench

import (
	"syscall"
	"time"
)

// pause sleeps for less than a millisecond, which time.Sleep does not where nothing
// else is to be done.
func pause(d time.Duration) {
	if d <= 0 {
		return
	}
	t := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&t, nil) // a signal may end it early
}
