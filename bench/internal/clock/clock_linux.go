package clock

import (
	"time"

	"golang.org/x/sys/unix"
)

func monotonic() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		return time.Now().UnixNano()
	}
	return t.Nano()
}

// CPU returns the nanoseconds that the process has computed, in user space and
// in the kernel.
func CPU() int64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// Precise makes the sleeps of the calling thread end on time; the kernel may
// else prolong each by 50 us. The goroutine must be locked to its thread.
func Precise() { _ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) }

// SleepUntil sleeps until Now is t. time.Sleep would be late by up to a
// millisecond in a process that is idle otherwise.
func SleepUntil(t int64) {
	for {
		d := t - Now()
		if d <= 0 {
			return
		}
		left := unix.NsecToTimespec(d)
		_ = unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &left, nil)
	}
}
