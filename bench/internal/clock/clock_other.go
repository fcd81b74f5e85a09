//go:build !linux

package clock

import "time"

// Without the system's monotonic clock, we use the wall clock.
func monotonic() int64 { return time.Now().UnixNano() }

// CPU returns 0: it is measured on Linux only.
func CPU() int64 { return 0 }

// Precise does nothing here.
func Precise() {}

// SleepUntil sleeps until Now is t.
func SleepUntil(t int64) { time.Sleep(time.Duration(t - Now())) }
