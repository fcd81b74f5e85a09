//go:build linux || darwin

package transport

import "syscall"

func limitUnsent(fd uintptr) {
	_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, notSentLowat, unsentMost)
}
