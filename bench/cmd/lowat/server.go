//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/bench/internal/clock"
	"golang.org/x/net/websocket"
	"golang.org/x/sys/unix"
)

// producers push at once, each to its own users.
const producers = 16

// served has the server process's counts, from the first Add until the last message was
// written.
type served struct {
	Began, CPU       int64 // nanoseconds
	Writes, Switches int64
}

// serve is the server process: it pushes the load when all users are connected.
func serve(l load) error {
	tcp, err := listen(l)
	if err != nil {
		return err
	}
	opts := []gcpool.Option{}
	if l.Outbox > 0 {
		opts = append(opts, gcpool.WithOutbox(l.Outbox))
	}
	pool := gcpool.NewPool(opts...)
	if err := pool.Register("users"); err != nil {
		return err
	}
	pool.Start()
	at := &listener{Listener: tcp}
	ready := make(chan error, l.Users)
	go http.Serve(at, gcpool.Upgrade(join(pool, at, l.Bound, ready)))
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(tcp.Addr().String()); err != nil {
		return err
	}
	for range l.Users {
		if err := <-ready; err != nil {
			return err
		}
	}
	before := count()
	err = push(pool.GetStream("users"), l)
	after := count()
	after.CPU -= before.CPU
	after.Writes -= before.Writes
	after.Switches -= before.Switches
	after.Began = before.Began
	return errors.Join(err, out.Encode(after))
}

// listen opens the server's socket. Accepted sockets inherit its congestion control.
func listen(l load) (net.Listener, error) {
	control := func(_, _ string, raw syscall.RawConn) (err error) {
		failed := raw.Control(func(fd uintptr) {
			if l.Congestion != "" {
				err = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, l.Congestion)
			}
		})
		return errors.Join(failed, err)
	}
	return (&net.ListenConfig{Control: control}).Listen(context.Background(), "tcp", l.Addr)
}

// join adds each connection to pool under the id in its URL, and then changes its bound.
func join(pool *gcpool.Pool, at *listener, bound int, ready chan<- error) http.Handler {
	return websocket.Handler(func(ws *websocket.Conn) {
		req := ws.Request()
		id := req.FormValue("id")
		err := pool.GetConn("users").Add(id, ws)
		if err == nil && bound > 0 {
			err = at.limit(req.RemoteAddr, bound)
		}
		ready <- err
		if err == nil {
			io.Copy(io.Discard, ws)
			pool.GetConn("users").Del(id)
		}
	})
}

// push adds l's messages for each user. It returns when each user's last message is written.
func push(stream *gcpool.StreamPool, l load) error {
	data := make([]byte, l.Size)
	errs := make([]error, producers)
	var wg sync.WaitGroup
	for p := range producers {
		wg.Go(func() {
			for i := range l.Each {
				for user := p; user < l.Users && errs[p] == nil; user += producers {
					send := stream.AddContext
					if i == l.Each-1 {
						send = stream.Deliver
					}
					errs[p] = send(context.Background(), strconv.Itoa(user), data)
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// A listener remembers the connections that it has accepted.
type listener struct {
	net.Listener
	conns sync.Map // *net.TCPConn by its peer's address
}

func (l *listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.conns.Store(conn.RemoteAddr().String(), conn)
	}
	return conn, err
}

// limit sets the bound of the connection to peer.
func (l *listener) limit(peer string, bound int) error {
	conn, ok := l.conns.Load(peer)
	if !ok {
		return fmt.Errorf("no connection from %s", peer)
	}
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return err
	}
	failed := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, bound)
	})
	return errors.Join(failed, err)
}

// count reads the process's counters. The system counts writes of every kind, including the
// writes with which Go's runtime wakes its own poller.
func count() served {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return served{}
	}
	s := served{Switches: u.Nvcsw, CPU: clock.CPU()}
	text, _ := os.ReadFile("/proc/self/io") // not every kernel has it
	for line := range strings.Lines(string(text)) {
		if n, ok := strings.CutPrefix(line, "syscw: "); ok {
			s.Writes, _ = strconv.ParseInt(strings.TrimSpace(n), 10, 64)
		}
	}
	s.Began = clock.Now()
	return s
}
