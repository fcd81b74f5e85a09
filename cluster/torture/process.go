//go:build unix

package main

import (
	"errors"
	"fmt"
	"net"
	"os/exec"
	"syscall"
	"time"
)

// A process is a node or a server, and how it is started.
type process struct {
	cmd   *exec.Cmd
	begin func() (*exec.Cmd, error)
}

func (p *process) signal(s syscall.Signal) error { return p.cmd.Process.Signal(s) }

// restart kills a process, and starts another in its place after a while.
func (p *process) restart(after time.Duration) (err error) {
	p.kill()
	time.Sleep(after)
	p.cmd, err = p.begin()
	return err
}

// stop has a process end by itself, and kills it after 20 s.
func (p *process) stop() error {
	timer := time.AfterFunc(20*time.Second, func() { _ = p.signal(syscall.SIGKILL) })
	defer timer.Stop()
	return errors.Join(p.signal(syscall.SIGTERM), p.cmd.Wait())
}

func (p *process) kill() {
	if p.cmd != nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	}
}

func address(port int) string { return fmt.Sprint("127.0.0.1:", port) }

// freePorts returns ports for the servers and for the routes between them.
func freePorts() (ports, routes [nodes]int, err error) {
	for i := range nodes {
		var first, second error
		ports[i], first = freePort()
		routes[i], second = freePort()
		err = errors.Join(err, first, second)
	}
	return ports, routes, err
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// accepts waits until somebody listens at an address.
func accepts(addr string) error {
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			return c.Close()
		}
		if time.Now().After(end) {
			return err
		}
	}
}
