//go:build linux && (386 || s390x)

package socket

// getsockopt has had its own system call here since Linux 4.3. Package syscall does not know its
// number.
const getsockopt = 365
