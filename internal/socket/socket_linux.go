package socket

import (
	"syscall"
	"unsafe"
)

// acknowledged asks SIOCOUTQ, which is the terminals' TIOCOUTQ (tcp(7), unix(7)), and
// TCP_INFO (linux/tcp.h), where tcpi_bytes_acked is at 120; a Linux before 4.1 has none.
func acknowledged(fd uintptr) Ack {
	var left int32
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, fd, syscall.TIOCOUTQ, uintptr(unsafe.Pointer(&left)))
	if errno != 0 {
		return Ack{Left: -1}
	}
	var info [16]uint64
	size := uint32(unsafe.Sizeof(info))
	_, _, errno = syscall.Syscall6(getsockopt, fd, syscall.IPPROTO_TCP, syscall.TCP_INFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 || uintptr(size) < unsafe.Sizeof(info) {
		return Ack{Left: int(left)}
	}
	return Ack{Left: int(left), Acked: info[15]}
}

// leaves reports whether the peer has closed its side, though bytes from it may wait. It asks
// TCP_INFO, where tcpi_state comes first.
func leaves(fd uintptr) bool {
	const timeWait, closed, closeWait, lastAck, closing = 6, 7, 8, 9, 11 // net/tcp_states.h
	var state byte
	size := uint32(1)
	_, _, errno := syscall.Syscall6(getsockopt, fd, syscall.IPPROTO_TCP, syscall.TCP_INFO,
		uintptr(unsafe.Pointer(&state)), uintptr(unsafe.Pointer(&size)), 0)
	switch state {
	case timeWait, closed, closeWait, lastAck, closing:
		return errno == 0
	}
	return false
}

func limitUnsent(fd uintptr) {
	const notSentLowat = 25 // TCP_NOTSENT_LOWAT
	_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, notSentLowat, unsentMost)
}
