//go:build linux || darwin

package promises

import (
	"runtime"
	"syscall"
)

func setWindow(fd uintptr, n int) error {
	return syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, n)
}

// unlimit undoes TCP_NOTSENT_LOWAT.
func unlimit(fd uintptr) error {
	option := 25
	if runtime.GOOS == "darwin" {
		option = 0x201
	}
	return syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, option, 1<<30)
}
