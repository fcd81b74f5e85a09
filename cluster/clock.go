package cluster

import (
	"time"

	"github.com/nulijiabei/gcpool/cluster/internal/skew"
)

// farFuture is how far ahead of a node's clock the time of another node may be. No clock shows a
// later time, and versions could not rise much beyond it.
const farFuture = 100 * 365 * 24 * uint64(time.Hour/time.Microsecond)

// A clock tells the cluster's time, in microseconds since 1970. It starts from the wall clock and
// runs by the monotonic clock, so it does not matter if somebody sets the wall clock. It is never
// behind a time that another node has sent (Lamport). So nodes that have heard of each other agree
// to within the delay of a message, also during a partition.
type clock struct {
	start time.Time // has a monotonic reading
	ahead uint64    // how far the clock is ahead of the wall time of start
}

func startClock() clock {
	return clock{start: time.Now(), ahead: uint64(skew.Ahead.Microseconds())} // adding it wraps if negative
}

// at returns the cluster's time at a moment of this process.
func (c *clock) at(t time.Time) uint64 {
	return uint64(max(0, c.start.UnixMicro()+t.Sub(c.start).Microseconds())) + c.ahead
}

// hear moves the clock beyond a time of another node. It reports false if that time makes no
// sense.
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
