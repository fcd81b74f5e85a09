package closing

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
)

// ends are the rows that have a meaning for bare TLS.
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

// newTLSSite serves TLS to the ids from 0 on, in the order in which they come.
func newTLSSite(t *testing.T) (s *site, address string) {
	t.Helper()
	certificate := httptest.NewUnstartedServer(nil)
	certificate.StartTLS()
	certificate.Close()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", certificate.TLS)
	if err != nil {
		t.Fatal(err)
	}
	s = &site{pool: gcpool.NewPool(), ready: make(chan struct{}, 1000)}
	s.pool.Register("users")
	s.pool.Start()
	s.conns = s.pool.GetConn("users")
	t.Cleanup(func() {
		listener.Close()
		s.pool.Shutdown(context.Background())
	})
	go func() {
		for i := 0; ; i++ {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go s.serveTLS(strconv.Itoa(i), conn)
		}
	}()
	return s, listener.Addr().String()
}

func (s *site) serveTLS(id string, conn net.Conn) {
	if conn.(*tls.Conn).Handshake() == nil && s.conns.Add(id, conn) == nil {
		s.ready <- struct{}{}
		io.Copy(io.Discard, conn)
	}
}

// TestOpenSSL has openssl s_client tell whether close_notify came.
func TestOpenSSL(t *testing.T) {
	need(t, "openssl")
	for _, r := range ends {
		t.Run(r.name+"/bare", func(t *testing.T) {
			s, address := newTLSSite(t)
			readOpenSSL(t, s, r, address, "")
		})
		for _, l := range libraries {
			t.Run(r.name+"/"+l.name, func(t *testing.T) {
				s := newSite(t, &closure{row: r, library: l, shape: shape{"Del", "Close"}, silent: true, tls: true})
				defer s.close()
				address := s.server.Listener.Addr().String()
				readOpenSSL(t, s, r, address, fmt.Sprintf(handshake, "0", address))
			})
		}
	}
}

// readOpenSSL ends a connection of openssl's, which sends first.
func readOpenSSL(t *testing.T, s *site, r row, address, first string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	command := exec.CommandContext(ctx, "openssl", "s_client", "-connect", address, "-quiet", "-msg", "-no_ign_eof")
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, &out
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	io.WriteString(in, first)
	s.await(t, 1)
	r.end(s, 1)
	err = command.Wait()
	if exited := new(exec.ExitError); err != nil && !errors.As(err, &exited) {
		t.Fatal(err)
	}
	if text := out.String(); !notified(text) {
		t.Errorf("openssl has not seen close_notify:\n%.2000s", text)
	}
}

// notified reports whether s_client has received close_notify, by what -msg prints.
func notified(out string) bool {
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "<<<") && strings.Contains(line, "close_notify") {
			return true
		}
	}
	return false
}
