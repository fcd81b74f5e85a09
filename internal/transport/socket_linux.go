package transport

import (
	"syscall"
	"unsafe"
)

const notSentLowat = 25 // TCP_NOTSENT_LOWAT

// acknowledged asks SIOCOUTQ, which is the terminals' TIOCOUTQ: see tcp(7) and unix(7).
func acknowledged(fd uintptr) (left int, acked uint64) {
	var n int32
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, fd, syscall.TIOCOUTQ, uintptr(unsafe.Pointer(&n)))
	if errno != 0 {
		return -1, 0
	}
	return int(n), bytesAcked(fd)
}
