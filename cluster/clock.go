package cluster

import (
	"time"

	"github.com/nulijiabei/gcpool/cluster/internal/skew"
)

// farFuture is how far the time of another node may be ahead of this node's clock. No clock that
// works shows a later time, and a clock moved close to the highest number could rise no further.
const farFuture = 100 * 365 * 24 * uint64(time.Hour/time.Microsecond)

// A clock tells the cluster's time, in microseconds since 1970. It starts from the wall clock and
// runs by the monotonic clock, so setting the wall clock later does not affect it. Like a Lamport
// clock, it is never behind a time that another node has sent. So nodes that have heard of each
// other agree to within the delay of a message, even during a partition.
type clock struct {
	start time.Time // has a monotonic reading
	ahead uint64    // how far the clock is ahead of the wall time of start
}

func startClock() clock {
	return clock{start: time.Now(), ahead: uint64(skew.Ahead.Microseconds())} // adding it wraps if negative
}

// at returns the cluster's time at t, a time of this process.
func (c *clock) at(t time.Time) uint64 {
	return uint64(max(0, c.start.UnixMicro()+t.Sub(c.start).Microseconds())) + c.ahead
}

// hear moves the clock beyond t, a time from another node. It returns false if t is too far ahead.
func (c *clock) hear(t uint64, at time.Time) bool {
	now := c.at(at)
	if t >= now && t-now > farFuture {
		return false
	}
	if t >= now {
		c.ahead += t - now + 1
	}
	return true
}
