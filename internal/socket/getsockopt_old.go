//go:build linux && (386 || s390x)

package socket

// getsockopt is a system call of its own here since Linux 4.3, which package syscall does
// not know.
const getsockopt = 365
