package wire

import "syscall"

const notSentLowat = 0x201 // TCP_NOTSENT_LOWAT

func unacknowledged(fd uintptr) int {
	n, err := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_NWRITE)
	if err != nil {
		return -1
	}
	return n
}
