package closing

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
)

// ends are the rows that make sense for bare TLS.
var ends = []row{
	{name: "Shutdown", end: func(s *site, n int) { s.pool.Shutdown(context.Background()) }},
	{name: "takeover", end: takeOver},
	{name: "Del", end: func(s *site, n int) { each(n, func(id string) { s.conns.Del(id) }) }},
}

// TestBareTLS adds TLS connections themselves, without a WebSocket.
func TestBareTLS(t *testing.T) {
	for _, r := range ends {
		t.Run(r.name, func(t *testing.T) {
			n := 20
			if *closes > 0 {
				n = *closes
			}
			s, address := newTLSSite(t)
			errs := make(chan error, n)
			for range n {
				socket, err := net.Dial("tcp", address)
				if err != nil {
					t.Fatal(err)
				}
				defer socket.Close()
				socket.SetDeadline(time.Now().Add(patience))
				conn, records := clientTLS(socket)
				go func() {
					_, err := io.Copy(io.Discard, conn)
					if err == nil && !records.notified() {
						err = errors.New("no close_notify")
					}
					errs <- err
				}()
			}
			s.await(t, n)
			r.end(s, n)
			for range n {
				if err := <-errs; err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// newTLSSite serves TLS, giving connections the ids from 0 on in the order in which they arrive.
func newTLSSite(t *testing.T) (s *site, address string) {
	t.Helper()
	l := listen(t, true)
	s = &site{pool: gcpool.NewPool(), ready: make(chan struct{}, 1000)}
	s.pool.Register("users")
	s.pool.Start()
	s.conns = s.pool.GetConn("users")
	t.Cleanup(func() {
		l.Close()
		s.pool.Shutdown(context.Background())
	})
	go accept(l, func(i int, conn net.Conn) { s.serveTLS(strconv.Itoa(i), conn) })
	return s, l.Addr().String()
}

func (s *site) serveTLS(id string, conn net.Conn) {
	if conn.(*tls.Conn).Handshake() == nil && s.conns.Add(id, conn) == nil {
		s.ready <- struct{}{}
		io.Copy(io.Discard, conn)
	}
}

// TestOpenSSL lets openssl s_client report whether close_notify arrived, without a WebSocket.
func TestOpenSSL(t *testing.T) {
	need(t, "openssl")
	for _, r := range ends {
		t.Run(r.name, func(t *testing.T) {
			s, address := newTLSSite(t)
			p, err := startOpenSSL(address)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			s.await(t, 1)
			r.end(s, 1)
			if _, err := io.Copy(io.Discard, p); err != nil || !p.notified() {
				t.Errorf("openssl has not seen close_notify: %v", err)
			}
		})
	}
}

// TestBareFramesUnderOpenSSL lets openssl s_client carry the frames of a WebSocket.
func TestBareFramesUnderOpenSSL(t *testing.T) {
	need(t, "openssl")
	open := func(_ *testing.T, url string, n int, sends bool) []ending {
		return openPeers(dialOpenSSL, url, n, sends)
	}
	closeAll(t, open, round{few: 1, tls: true, takes: func(c *closure) bool {
		return notifies(c) && len(c.shape) == 2 && !c.sends
	}})
}

func dialOpenSSL(url string) (*rawPeer, error) {
	address, path, _ := strings.Cut(strings.TrimPrefix(url, "wss://"), "/")
	p, err := startOpenSSL(address)
	if err != nil {
		return nil, err
	}
	peer := &rawPeer{ReadWriteCloser: p, notified: p.notified}
	return peer, peer.shake(address, path)
}

// An openSSL is openssl s_client running in a process of its own.
type openSSL struct {
	io.Reader
	io.WriteCloser
	command *exec.Cmd
	log     bytes.Buffer // what -msg prints
	kill    func()
}

func startOpenSSL(address string) (*openSSL, error) {
	ctx, kill := context.WithTimeout(context.Background(), patience)
	p := &openSSL{kill: kill, command: exec.CommandContext(ctx, "openssl", "s_client",
		"-connect", address, "-quiet", "-no_ign_eof", "-msg", "-msgfile", "/dev/stderr")}
	p.command.Stderr = &p.log
	p.WriteCloser, _ = p.command.StdinPipe() // if this fails, so does Start
	p.Reader, _ = p.command.StdoutPipe()
	return p, p.command.Start()
}

// Close ends the process.
func (p *openSSL) Close() error {
	p.kill()
	_ = p.command.Wait() // notified may have waited already
	return nil
}

// notified waits for the end of the process, and reports whether it received close_notify.
func (p *openSSL) notified() bool {
	_ = p.command.Wait() // openssl may complain about how the connection ended
	for line := range strings.Lines(p.log.String()) {
		if strings.HasPrefix(line, "<<<") && strings.Contains(line, "close_notify") {
			return true
		}
	}
	return false
}
