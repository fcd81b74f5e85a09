//go:build unix

package main

import (
	"math"
	"syscall"
)

// descriptors returns how many descriptors this process may open.
func descriptors() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || uint64(limit.Cur) > math.MaxInt32 {
		return math.MaxInt32
	}
	return int(limit.Cur)
}

// shrink gives a socket that is about to connect a small receive buffer, so that the server
// soon notices a peer that stops reading.
func shrink(_, _ string, c syscall.RawConn) error {
	var err error
	if failed := c.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, window)
	}); failed != nil {
		return failed
	}
	return err
}
