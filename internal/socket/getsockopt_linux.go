//go:build !386 && !s390x

package socket

import "syscall"

const getsockopt = syscall.SYS_GETSOCKOPT
