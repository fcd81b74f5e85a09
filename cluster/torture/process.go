//go:build unix

package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"sync/atomic"
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

// stop asks a process to end, and kills it after 20 s.
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

// lastPort is the last port that freePorts tried. Fleets that run at the same time in one process
// never try the same port.
var lastPort atomic.Int64

func init() { lastPort.Store(rand.Int64N(ports)) }

// ports is how many ports there are for servers, from 7500 on. They lie below the ports that the
// system gives to connections; otherwise a connection might take a port before its server starts.
// Other tests, which may run at the same time, use other ports.
const ports = 2500

// freePorts returns ports for the servers and for the routes between them.
func freePorts() (clients, routes [nodes]int, err error) {
	for i := range 2 * nodes {
		port := &clients[i%nodes]
		if i >= nodes {
			port = &routes[i%nodes]
		}
		for range 100 {
			*port = 7500 + int(lastPort.Add(1)%ports)
			l, e := net.Listen("tcp", address(*port))
			if err = e; err == nil {
				defer l.Close() // once all ports are found, so that none is found twice
				break
			}
		}
		if err != nil {
			return clients, routes, err
		}
	}
	return clients, routes, nil
}

// accepts waits until a process listens at addr.
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
