// Package clock measures time and CPU time. Its times can be compared between
// the processes of one machine.
package clock

import "time"

// base is a moment that the process knows on both clocks: the system's
// monotonic one and Go's. From then on Go's is enough, and much cheaper.
var (
	start = time.Now()
	base  = monotonic()
)

// Now returns the nanoseconds of the system's monotonic clock.
func Now() int64 { return base + int64(time.Since(start)) }
