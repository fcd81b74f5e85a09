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

// CPU returns the CPU time that the process has used, in user space and in the kernel, in
// nanoseconds.
func CPU() int64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// Precise makes the sleeps of the calling thread end on time. Otherwise the kernel may
// prolong each by 50 µs. The goroutine must be locked to its thread.
func Precise() { _ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) }

// SleepUntil sleeps until Now is t. In a process that is otherwise idle, time.Sleep would be
// up to a millisecond late.
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
