//go:build unix

package torture

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/torture/internal/peer"
	"golang.org/x/net/websocket"
)

// fewDescriptors is the server's limit. There are more peers than it can serve, but
// less than twice that number.
const fewDescriptors, manyPeers = 40, 50

// TestFault21DescriptorLimit: a server without a free descriptor goes on serving its connected
// peers. When some of them leave, it serves the peers that wait. The server runs in its own
// process, because the peers need descriptors too.
func TestFault21DescriptorLimit(t *testing.T) {
	if os.Getenv("TORTURE_CHILD") != "" {
		limited(t)
		return
	}
	for _, k := range kinds[1:] {
		t.Run(k.String(), func(t *testing.T) {
			child := startChild(t, "TestFault21DescriptorLimit")
			c := &burst{addr: child.addr, kind: k}
			for range manyPeers {
				c.wg.Go(c.come)
			}
			var first []*peer.Peer
			eventually(t, "the server has no descriptor left", func() bool {
				first = append(first, c.take()...)
				return len(first) > manyPeers/2 && child.log.contains("too many open files")
			})
			if len(first) > fewDescriptors {
				t.Errorf("%d peers are served with %d descriptors", len(first), fewDescriptors)
			}
			echo(t, first)
			for _, p := range first {
				p.Conn.Close()
			}
			var second []*peer.Peer
			eventually(t, "those who waited are served", func() bool {
				second = append(second, c.take()...)
				return len(second) == manyPeers-len(first)
			})
			echo(t, second)
			for _, p := range second {
				p.Conn.Close()
			}
			c.wg.Wait()
			c.come()
			last := c.take()
			if len(last) != 1 {
				t.Fatalf("no peer is accepted afterwards: %v", c.err)
			}
			echo(t, last)
			last[0].Conn.Close()
			child.end(t)
		})
	}
}

// burst is a group of peers that connect at once.
type burst struct {
	addr string
	kind kind
	wg   sync.WaitGroup

	mu   sync.Mutex
	came []*peer.Peer
	n    int
	err  error
}

// come connects one peer, and waits if the server has no descriptor.
func (c *burst) come() {
	c.mu.Lock()
	c.n++
	id := fmt.Sprint(c.n)
	c.mu.Unlock()
	conn, err := net.Dial("tcp", c.addr)
	var p *peer.Peer
	if err == nil {
		conn.SetDeadline(time.Now().Add(time.Minute))
		p, err = peer.Dial(conn, "/echo/"+c.kind.String()+"?id="+id)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.err = err
		return
	}
	c.came = append(c.came, p)
}

// take returns the peers that were served since the last call.
func (c *burst) take() (came []*peer.Peer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	came, c.came = c.came, nil
	return came
}

// echo delivers a message to each peer through the pool.
func echo(t *testing.T, peers []*peer.Peer) {
	t.Helper()
	for i, p := range peers {
		want := fmt.Sprintf("message %d\n", i)
		err := p.Send(0x81, []byte(want))
		_, got, failed := p.Frame()
		if err != nil || failed != nil || string(got) != want {
			t.Errorf("a peer got %q, want %q: %v, %v", got, want, err, failed)
		}
	}
}

// limited is the server's process. It sends each peer's messages back to the peer.
func limited(t *testing.T) {
	r := newTCP(t, gcpool.WithHeartbeat(0))
	handler := websocket.Handler(func(ws *websocket.Conn) {
		id := ws.Request().FormValue("id")
		r.conns.Add(id, ws)
		defer r.conns.Del(id)
		for lines := bufio.NewScanner(ws); lines.Scan(); {
			if err := r.stream.Deliver(t.Context(), id, lines.Bytes()); err != nil {
				t.Errorf("Deliver: %v", err)
			}
		}
	})
	r.mux.Handle("/echo/plain", handler)
	r.mux.Handle("/echo/upgraded", gcpool.Upgrade(handler))
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: fewDescriptors, Max: fewDescriptors}); err != nil {
		t.Fatal(err)
	}
	fmt.Println(r.addr)
	io.Copy(io.Discard, os.Stdin) // until the parent is done
	err := r.end(far)
	if s := r.stats(); err != nil || s.Joins != manyPeers+1 || s.Written != manyPeers+1 || s.Undelivered != 0 {
		t.Errorf("Shutdown: %v, of %d peers: %+v", err, manyPeers+1, s)
	}
}

// child is a process that runs a test.
type child struct {
	addr  string
	cmd   *exec.Cmd
	stdin io.Closer
	log   logged
}

// logged is the output of a process.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logged) contains(text string) bool { return strings.Contains(l.String(), text) }

func startChild(t *testing.T, test string) *child {
	t.Helper()
	c := &child{cmd: exec.Command(os.Args[0], "-test.run=^"+test+"$", "-test.timeout=2m")}
	c.cmd.Env = append(os.Environ(), "TORTURE_CHILD=1")
	c.cmd.Stderr = &c.log
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(stdout)
	if c.addr, err = lines.ReadString('\n'); err != nil {
		t.Fatalf("the server does not start: %v\n%s", err, c.log.String())
	}
	c.addr = strings.TrimSpace(c.addr)
	go io.Copy(&c.log, lines) // ends when the process ends
	t.Cleanup(func() { c.cmd.Process.Kill() })
	return c
}

// end tells the server to shut down and checks its output.
func (c *child) end(t *testing.T) {
	t.Helper()
	c.stdin.Close()
	if err := c.cmd.Wait(); err != nil {
		t.Errorf("the server: %v\n%s", err, c.log.String())
	}
}
