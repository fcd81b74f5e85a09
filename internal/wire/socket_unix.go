//go:build linux || darwin

package wire

import "syscall"

// limitUnsent sets the bound of unsentMost. Not every socket has one, as those of Unix
// do not; they work without.
func limitUnsent(fd uintptr) {
	_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, notSentLowat, unsentMost)
}
