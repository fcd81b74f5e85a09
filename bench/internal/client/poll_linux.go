package client

import (
	"io"
	"net"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"github.com/nulijiabei/gcpool/bench/internal/clock"
	"golang.org/x/sys/unix"
)

// poller reads all connections in one thread, with epoll and one buffer. A goroutine for
// each connection, on Go's own poller, took twice the CPU time.
type poller struct{ epoll int }

// socket is a file descriptor of the poller's own.
type socket int

// pause is how long the poller rests between two reads in a round that measures
// throughput, so that it takes many messages with each read.
const pause = 5 * time.Millisecond

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	return &poller{fd}, err
}

// add takes over nc. It closes nc and keeps a copy of its socket, so that Go's poller does not
// watch the socket, too.
func (p *poller) add(user int, nc net.Conn) (socket, error) {
	defer nc.Close()
	raw, err := nc.(syscall.Conn).SyscallConn()
	if err != nil {
		return -1, err
	}
	fd, failed := -1, error(nil)
	if err := raw.Control(func(of uintptr) { fd, failed = unix.Dup(int(of)) }); err != nil {
		return -1, err
	}
	if failed != nil {
		return -1, failed
	}
	return socket(fd), unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(user)})
}

func (p *poller) remove(s socket) { _ = unix.EpollCtl(p.epoll, unix.EPOLL_CTL_DEL, int(s), nil) }

func (p *poller) run(k *Client) {
	runtime.LockOSThread()
	clock.Precise()
	defer unix.Close(p.epoll)
	buffer := make([]byte, 512<<10)
	events := make([]unix.EpollEvent, 1024)
	for !k.closed.Load() {
		n, err := unix.EpollWait(p.epoll, events, 50)
		if err != nil && err != unix.EINTR {
			return
		}
		for _, e := range events[:max(n, 0)] {
			p.read(k, k.conns[e.Fd], buffer)
		}
		for end := clock.Now() + int64(pause); n < len(events) && k.rest.Load() && clock.Now() < end; {
			clock.SleepUntil(min(end, clock.Now()+int64(pause)/5))
		}
	}
}

// read takes the bytes that have come for c. If they do not fit into the buffer, epoll
// reports c again.
func (p *poller) read(k *Client, c *conn, buffer []byte) {
	had := copy(buffer, c.left)
	// Once the sockets are closed, other files may get their numbers.
	k.mu.Lock()
	if k.closed.Load() {
		k.mu.Unlock()
		return
	}
	// A raw system call: the socket does not block, so the scheduler need not know.
	n, _, e := unix.RawSyscall(unix.SYS_READ, uintptr(c.socket), uintptr(unsafe.Pointer(&buffer[had])), uintptr(len(buffer)-had))
	k.mu.Unlock()
	switch {
	case e == unix.EAGAIN || e == unix.EINTR:
	case e != 0:
		p.remove(c.socket)
		k.ended(c, e)
	case n == 0:
		p.remove(c.socket)
		k.ended(c, io.EOF)
	default:
		k.arrived(c, buffer[:had+int(n)], clock.Now())
	}
}

// write writes a few bytes, for which there is always room.
func (s socket) write(b []byte) { _, _ = unix.Write(int(s), b) }

func (s socket) close() { _ = unix.Close(int(s)) }

// shrink makes the kernel's buffers small on both sides, with a small receive window and
// small segments, so that the server soon notices a user who stops reading.
func shrink(raw syscall.RawConn) error {
	var failed error
	err := raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4096)
		if failed == nil {
			failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, 536)
		}
	})
	if err != nil {
		return err
	}
	return failed
}
