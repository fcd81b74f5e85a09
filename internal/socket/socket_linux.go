package socket

import (
	"encoding/binary"
	"syscall"
	"unsafe"
)

// acknowledged asks SIOCOUTQ, which is the terminals' TIOCOUTQ (tcp(7), unix(7)), and
// TCP_INFO, where tcpi_bytes_acked is at 120.
func acknowledged(fd uintptr) Ack {
	var left int32
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, fd, syscall.TIOCOUTQ, uintptr(unsafe.Pointer(&left)))
	if errno != 0 {
		return Ack{Left: -1}
	}
	info := tcpInfo(fd)
	return Ack{Left: int(left), Acked: binary.NativeEndian.Uint64(info[120:])}
}

// leaves reports whether the peer has closed its side, though bytes from it may wait (poll(2)).
func leaves(fd uintptr) bool {
	const hup, rdhup = 0x10, 0x2000
	poll := struct {
		fd              int32
		events, revents int16
	}{fd: int32(fd), events: rdhup}
	var now syscall.Timespec
	_, _, _ = syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&poll)), 1, uintptr(unsafe.Pointer(&now)), 0, 0, 0)
	return poll.revents&(hup|rdhup) != 0
}

// tcpInfo returns the beginning of TCP_INFO (linux/tcp.h). What the system does not tell is 0: all
// of it for a Unix socket, and tcpi_bytes_acked before Linux 4.1. For Multipath TCP, which net.Listen
// offers, it would tell of the first path only, which may be gone while others go on; so that is 0,
// too.
func tcpInfo(fd uintptr) (info [128]byte) {
	protocol, _ := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_PROTOCOL)
	if protocol != syscall.IPPROTO_TCP {
		return info
	}
	size := uint32(len(info))
	_, _, _ = syscall.Syscall6(getsockopt, fd, syscall.IPPROTO_TCP, syscall.TCP_INFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	return info
}

func limitUnsent(fd uintptr) {
	const notSentLowat = 25 // TCP_NOTSENT_LOWAT
	_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, notSentLowat, unsentMost)
}
