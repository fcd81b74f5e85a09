//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/nulijiabei/gcpool/bench/internal/clock"
	"golang.org/x/sys/unix"
)

const (
	nearAddr = "198.18.0.1" // RFC 2544's network for benchmarks
	farAddr  = "198.18.0.2"
	queued   = 1 << 16 // packets that the line and its devices hold each way
)

// An end is one end of the line: a network namespace without a name, which ends with the
// processes in it, and its TUN device.
type end struct {
	space int // the namespace's file descriptor
	tun   int // the device's file descriptor
}

// newLine joins two network namespaces with a line that delays every IP packet, so that the
// server's TCP sees the round trip. It returns a spawner for each end.
func newLine(delay time.Duration, mtu int, sysctls []string) (near, far spawner, err error) {
	a, err := newEnd(nearAddr, farAddr, mtu, sysctls)
	if err != nil {
		return nil, nil, err
	}
	b, err := newEnd(farAddr, nearAddr, mtu, sysctls)
	if err != nil {
		return nil, nil, err
	}
	carry(a.tun, b.tun, delay, mtu)
	carry(b.tun, a.tun, delay, mtu)
	return a.spawn, b.spawn, nil
}

// newEnd makes a namespace and the device in it.
func newEnd(addr, peer string, mtu int, sysctls []string) (e *end, err error) {
	e = new(end)
	apart(func() {
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			err = fmt.Errorf("a network namespace, which takes root: %w", err)
			return
		}
		if e.space, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
			return
		}
		if e.tun, err = openTUN("line0"); err != nil {
			err = fmt.Errorf("a TUN device: %w", err)
			return
		}
		for _, args := range []string{
			"ip link set lo up",
			fmt.Sprintf("ip link set line0 up mtu %d txqueuelen %d", mtu, queued),
			fmt.Sprintf("ip address add %s peer %s dev line0", addr, peer),
		} {
			args := strings.Fields(args)
			if out, failed := exec.Command(args[0], args[1:]...).CombinedOutput(); failed != nil {
				err = fmt.Errorf("%s: %w: %s", args, failed, out)
				return
			}
		}
		err = set(append(sysctls, "net.ipv4.tcp_no_metrics_save=1")) // no run learns from an earlier one
	})
	return e, err
}

// set sets name=value in the calling thread's namespace.
func set(sysctls []string) error {
	for _, s := range sysctls {
		name, value, _ := strings.Cut(s, "=")
		path := "/proc/sys/" + strings.ReplaceAll(name, ".", "/")
		if err := os.WriteFile(path, []byte(value), 0); err != nil {
			return err
		}
	}
	return nil
}

// spawn starts a process of this program at this end of the line.
func (e *end) spawn(role string, l load) (c *child, err error) {
	apart(func() {
		if err = unix.Setns(e.space, unix.CLONE_NEWNET); err == nil {
			c, err = spawn(role, l)
		}
	})
	return c, err
}

// apart calls f on a thread of its own, which ends when f returns.
func apart(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		f()
	}()
	<-done
}

// openTUN makes a device that carries bare IP packets, one with each read or write.
func openTUN(name string) (int, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	req, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	return fd, unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
}

// A packet is on its way until due, a time on clock.Now.
type packet struct {
	due  int64
	data *[]byte
	n    int
}

// carry hands each packet of one device to the other after delay, until the process ends.
func carry(from, to int, delay time.Duration, mtu int) {
	way := make(chan packet, queued)
	buffers := sync.Pool{New: func() any { return new(make([]byte, mtu)) }}
	go func() {
		runtime.LockOSThread()
		for {
			p := packet{data: buffers.Get().(*[]byte)}
			n, err := unix.Read(from, *p.data)
			if err != nil {
				continue // it was interrupted
			}
			p.n, p.due = n, clock.Now()+int64(delay)
			way <- p
		}
	}()
	go func() {
		runtime.LockOSThread()
		clock.Precise()
		for p := range way {
			clock.SleepUntil(p.due)
			_, _ = unix.Write(to, (*p.data)[:p.n]) // a device that is full drops, as others do
			buffers.Put(p.data)
		}
	}()
}
