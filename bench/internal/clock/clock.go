// Package clock measures time and CPU time. Processes on one machine can compare its times.
package clock

import "time"

// base is one moment on both clocks, the system's monotonic clock and Go's. From then on
// Go's clock is enough, and much cheaper.
var start, base = together()

// together reads both clocks at once. The system may interrupt a try between the two reads
// for milliseconds, and this process's clock would then be ahead by that time. So together
// tries many times and takes the shortest try.
func together() (start time.Time, base int64) {
	shortest := time.Hour
	for range 100 {
		at, system := time.Now(), monotonic()
		if took := time.Since(at); took < shortest {
			shortest, start, base = took, at, system
		}
	}
	return start, base
}

// Now returns the nanoseconds of the system's monotonic clock.
func Now() int64 { return base + int64(time.Since(start)) }
