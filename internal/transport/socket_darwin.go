package transport

import "syscall"

const notSentLowat = 0x201 // TCP_NOTSENT_LOWAT

// acknowledged asks SO_NWRITE. What is written to a Unix socket is with the peer at once,
// so nothing is seen there.
func acknowledged(fd uintptr) (left int, acked uint64) {
	addr, _ := syscall.Getsockname(int(fd))
	n, err := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_NWRITE)
	if _, unix := addr.(*syscall.SockaddrUnix); unix || err != nil {
		return -1, 0
	}
	return n, 0
}
