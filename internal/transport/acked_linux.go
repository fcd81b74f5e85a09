package transport

import (
	"syscall"
	"unsafe"
)

// bytesAcked returns tcpi_bytes_acked of TCP_INFO (linux/tcp.h), which is at 120; 0 if
// the socket, or a Linux before 4.1, has none.
func bytesAcked(fd uintptr) uint64 {
	var info [16]uint64
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := syscall.Syscall6(getsockopt, fd, syscall.IPPROTO_TCP, syscall.TCP_INFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 || uintptr(size) < unsafe.Sizeof(info) {
		return 0
	}
	return info[15]
}
