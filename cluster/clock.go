package cluster

import (
	"time"

	"github.com/nulijiabei/gcpool/cluster/internal/skew"
)

// farFuture is how far ahead of a node's clock a time may be that others tell. One
// beyond is no clock's, and near the end of what a time can be.
const farFuture = 100 * 365 * 24 * uint64(time.Hour/time.Microsecond)

// A clock tells the cluster's time, in microseconds since 1970. It begins with the
// wall clock and goes on with the monotonic one, so that a wall clock that is set does
// not matter. It is never behind a time of another node (Lamport), so all
// nodes that have heard of each other agree, to within a message's time, also during a
// partition. Times given to connections are unique within a node.
type clock struct {
	start time.Time // has a monotonic reading
	ahead uint64    // of start's wall time
	last  uint64    // version
}

func startClock() clock {
	return clock{start: time.Now(), ahead: uint64(skew.Ahead.Microseconds())} // adding it wraps if negative
}

// at returns the cluster's time at a moment of this process.
func (c *clock) at(t time.Time) uint64 {
	return uint64(max(0, c.start.UnixMicro()+t.Sub(c.start).Microseconds())) + c.ahead
}

// hear moves the clock beyond a time of another node, and reports false if
// that makes no sense.
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

// version returns the version of a connection that came at a moment.
func (c *clock) version(at time.Time) uint64 {
	c.last = max(c.last+1, c.at(at))
	return c.last
}
