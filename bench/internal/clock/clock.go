// Package clock measures time and CPU time. Its times can be compared between
// the processes of one machine.
package clock

import "time"

// base is a moment that the process knows on both clocks: the system's
// monotonic one and Go's. From then on Go's is enough, and much cheaper.
var start, base = together()

// together reads both clocks at once. One try may be interrupted between the two
// for milliseconds, by which this process would then be ahead of the others; the
// shortest of many has not been.
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
