//go:build !386 && !s390x

package transport

import "syscall"

const getsockopt = syscall.SYS_GETSOCKOPT
