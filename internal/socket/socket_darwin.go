package socket

import "syscall"

// acknowledged asks SO_NWRITE. Bytes written to a Unix socket reach the peer at once, so there is
// nothing to see.
func acknowledged(fd uintptr) Ack {
	addr, _ := syscall.Getsockname(int(fd))
	left, err := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_NWRITE)
	if _, unix := addr.(*syscall.SockaddrUnix); unix || err != nil {
		return Ack{Left: -1}
	}
	return Ack{Left: left}
}

func leaves(uintptr) bool { return false }

func limitUnsent(fd uintptr) {
	const notSentLowat = 0x201 // TCP_NOTSENT_LOWAT
	_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, notSentLowat, unsentMost)
}
