package socket

import (
	"encoding/binary"
	"syscall"
	"unsafe"
)

// acknowledged asks SIOCOUTQ, which has the number of TIOCOUTQ (tcp(7), unix(7)), and TCP_INFO.
func acknowledged(fd uintptr) Ack {
	var left int32
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, fd, syscall.TIOCOUTQ, uintptr(unsafe.Pointer(&left)))
	if errno != 0 {
		return Ack{Left: -1}
	}
	return Ack{Left: int(left), Acked: acked(fd)}
}

// leaves asks poll(2) whether the peer has closed its side. Bytes from the peer may still wait to
// be read.
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

// acked returns tcpi_bytes_acked, at offset 120 of TCP_INFO (linux/tcp.h). It is 0 before Linux
// 4.1, and for a Unix socket. It is also 0 for Multipath TCP, which net.Listen offers: TCP_INFO
// describes only the first path, which may be gone while others go on.
func acked(fd uintptr) uint64 {
	protocol, _ := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_PROTOCOL)
	if protocol != syscall.IPPROTO_TCP {
		return 0
	}
	var info [128]byte
	size := uint32(len(info))
	_, _, _ = syscall.Syscall6(getsockopt, fd, syscall.IPPROTO_TCP, syscall.TCP_INFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	return binary.NativeEndian.Uint64(info[120:])
}

func limitUnsent(fd uintptr) {
	const notSentLowat = 25 // TCP_NOTSENT_LOWAT
	_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, notSentLowat, unsentMost)
}
