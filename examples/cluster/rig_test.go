package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nulijiabei/gcpool/examples/push/page"
	"github.com/nulijiabei/gcpool/examples/push/page/pagetest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // outages are what is tested
	code := m.Run()
	http.DefaultClient.CloseIdleConnections()
	if err := leaks(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// leaks waits until no goroutine is left, and returns those that are left in the end. goleak waits
// half a second, which is little for a busy machine.
func leaks(options ...goleak.Option) (err error) {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		if err = goleak.Find(options...); err == nil {
			return nil
		}
	}
	return err
}

// startCluster runs the example and returns the URLs of its nodes.
func startCluster(t *testing.T, args ...string) []string {
	t.Helper()
	urls, end := runCluster(t, args...)
	t.Cleanup(end)
	return urls
}

// runCluster runs the example; end stops it and checks that it ends well.
func runCluster(t *testing.T, args ...string) (urls []string, end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out, stdout := io.Pipe()
	var stderr bytes.Buffer
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, append([]string{"-addr", "127.0.0.1:0"}, args...), stdout, &stderr)
		stdout.Close()
	}()
	lines := bufio.NewScanner(out)
	for lines.Scan() && len(urls) < count {
		if _, url, found := strings.Cut(lines.Text(), " is at http://"); found {
			urls = append(urls, "http://"+url)
		}
	}
	go io.Copy(io.Discard, out)
	end = func() {
		cancel()
		select {
		case c := <-code:
			if c != 0 || stderr.Len() > 0 {
				t.Errorf("exit code %d, stderr %q", c, &stderr)
			}
		case <-time.After(20 * time.Second):
			t.Error("run does not return")
		}
	}
	if len(urls) != count {
		end()
		t.Fatalf("%d nodes", len(urls))
	}
	return urls, end
}

// startBus starts a NATS server on a port, and a way to it that can break.
func startBus(t *testing.T) (*bus, *proxy) {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("no NATS server")
	}
	return &bus{url: s.ClientURL()}, startProxy(t, s.Addr().String())
}

// startNode starts one node and returns its URL.
func startNode(t *testing.T, b *bus, c page.Config) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n, err := join(b, c, listener)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- nodes{n}.serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
		nodes{n}.end() // what an outage has left is not judged here
	})
	return "http://" + listener.Addr().String()
}

// awaitPeople returns when the people are those, each as "name on node".
func awaitPeople(c *pagetest.Client, want ...string) {
	for {
		p := c.Next("people")
		var have []string
		for i, name := range p.Names {
			if i < len(p.On) {
				have = append(have, name+" on "+p.On[i])
			}
		}
		if slices.Equal(have, want) && !p.Partial && p.More == 0 {
			return
		}
	}
}

// me is what a node tells a page.
type me struct {
	Name, Node string
	Nodes      []page.Node
}

func whoAmI(t *testing.T, url, cookie string) (m me) {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, url+"/me", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.AddCookie(&http.Cookie{Name: "session", Value: cookie})
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(&m); err != nil {
		t.Fatal(err)
	}
	return m
}

// A proxy is a way to a server that can be stuck, or gone.
type proxy struct {
	listener net.Listener
	to       string
	running  sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
	open  chan struct{} // closed while bytes may pass
	over  bool
}

func startProxy(t *testing.T, to string) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: listener, to: to, open: make(chan struct{})}
	close(p.open)
	p.running.Go(p.accept)
	t.Cleanup(func() {
		p.close()
		p.running.Wait()
	})
	return p
}

func (p *proxy) url() string { return "nats://" + p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		from, err := p.listener.Accept()
		if err != nil {
			return
		}
		to, err := net.Dial("tcp", p.to)
		if err != nil {
			from.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, from, to)
		over := p.over
		p.mu.Unlock()
		if over {
			from.Close()
			to.Close()
		}
		p.running.Go(func() { p.pass(from, to) })
		p.running.Go(func() { p.pass(to, from) })
	}
}

// pass passes bytes on in one direction.
func (p *proxy) pass(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		p.mu.Lock()
		open := p.open
		p.mu.Unlock()
		<-open
		if _, e := to.Write(b[:n]); e != nil || err != nil {
			return
		}
	}
}

// pause holds back all bytes until resume.
func (p *proxy) pause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = make(chan struct{})
}

func (p *proxy) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.open:
	default:
		close(p.open)
	}
}

// close ends all connections, and lets in no more.
func (p *proxy) close() {
	p.resume()
	p.listener.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	for _, c := range p.conns {
		c.Close()
	}
}
