package promises

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

// TestUpgradeAnswersAsNetHTTPDoes: if the handler refuses a handshake, the response is
// the one that net/http would send.
func TestUpgradeAnswersAsNetHTTPDoes(t *testing.T) {
	both(t, func(t *testing.T, wrap wrapper) {
		addr := serve(t, wrap, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Connection", "keep-alive")
			w.WriteHeader(http.StatusTeapot)
			w.Header().Set("X-Late", "yes")
			io.WriteString(w, "<html>hello</html>")
		}))
		text := ask(t, addr, http.MethodGet, "Connection: close\r\n")
		resp, body := response(t, text)
		if resp.StatusCode != http.StatusTeapot || body != "<html>hello</html>" || resp.Header.Get("X-Late") != "" || strings.Count(text, "Connection: ") != 1 ||
			resp.Header.Get("Date") == "" || resp.Header.Get("Content-Type") != "text/html; charset=utf-8" {
			t.Errorf("%+v %q", resp, body)
		}
	})
}

// TestUpgradeAddsNoHeaderThatNetHTTPDoesNot: an encoded body gets no detected Content-Type, and
// a nil Date suppresses the header.
func TestUpgradeAddsNoHeaderThatNetHTTPDoesNot(t *testing.T) {
	both(t, func(t *testing.T, wrap wrapper) {
		addr := serve(t, wrap, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Header()["Date"] = nil
			w.WriteHeader(http.StatusForbidden)
			io.WriteString(w, "\x1f\x8b\x08")
		}))
		resp, _ := response(t, ask(t, addr, http.MethodGet, "Connection: close\r\n"))
		if resp.Header.Get("Content-Type") != "" || resp.Header.Get("Date") != "" {
			t.Errorf("%+v", resp.Header)
		}
	})
}

// switchAndClose answers a handshake with WriteHeader, as coder does,
// and then closes the connection.
func switchAndClose(t *testing.T, w http.ResponseWriter) {
	w.WriteHeader(http.StatusSwitchingProtocols)
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	conn.Close()
}

// TestUpgradeAnswersWithTheHeadersInFront: headers set by middleware in front of Upgrade are in
// the handler's answer, and also in a handshake that the handler answers with WriteHeader, as
// coder does. A Content-Encoding is not, because such middleware does not see the body.
func TestUpgradeAnswersWithTheHeadersInFront(t *testing.T) {
	both(t, func(t *testing.T, wrap wrapper) {
		inner := wrap.around(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Add("Set-Cookie", "b=2")
			if r.Header.Get("Cookie") == "" {
				http.Error(w, "no", http.StatusUnauthorized)
				return
			}
			switchAndClose(t, w)
		}))
		addr := serve(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Set-Cookie", "a=1")
			if wrap != nil {
				w.Header().Set("Content-Encoding", "gzip")
			}
			inner.ServeHTTP(w, r)
		}))
		for more, want := range map[string]int{"": 401, "Cookie: a=1\r\n": 101} {
			resp, _ := response(t, ask(t, addr, http.MethodGet, "Connection: close\r\n"+more))
			if got := fmt.Sprint(resp.Header["Set-Cookie"], resp.Header["Content-Encoding"]); resp.StatusCode != want || got != "[a=1 b=2] []" {
				t.Errorf("%s with %s", resp.Status, got)
			}
		}
	})
}

// TestUpgradeAnswersWithoutLengthsInFront: headers of middleware in front about the body's
// length or the connection are not in the answer, as with net/http (RFC 9112 section 6.1).
func TestUpgradeAnswersWithoutLengthsInFront(t *testing.T) {
	both(t, func(t *testing.T, wrap wrapper) {
		inner := wrap.around(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Cookie") == "" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			w.Header().Set("Connection", "Upgrade")
			w.Header().Set("Upgrade", "websocket")
			switchAndClose(t, w)
		}))
		for header, value := range map[string]string{"Connection": "keep-alive", "Content-Length": "0", "Transfer-Encoding": "chunked"} {
			addr := serve(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Cookie") != "" || header == "Connection" {
					w.Header().Set(header, value)
				}
				inner.ServeHTTP(w, r)
			}))
			for more, want := range map[string]string{"": "close", "Cookie: a=1\r\n": "Upgrade"} {
				got := ask(t, addr, http.MethodGet, "Connection: close\r\n"+more)
				if strings.Count(got, "\r\nConnection: ") != 1 || !strings.Contains(got, "\r\nConnection: "+want+"\r\n") ||
					more != "" && (strings.Contains(got, "Content-Length") || strings.Contains(got, "Transfer-Encoding")) {
					t.Errorf("%s in front: %q", header, got)
				}
			}
		}
	})
}

// TestUpgradeHijackSendsTheStatus: like net/http, Hijack sends a status that was written before
// it. Some WebSocket libraries send the handshake's status this way.
func TestUpgradeHijackSendsTheStatus(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusSwitchingProtocols, http.StatusBadRequest} {
		both(t, func(t *testing.T, wrap wrapper) {
			addr := serve(t, wrap, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Mine", "yes")
				w.WriteHeader(status)
				conn, buf, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				buf.WriteString("behind")
				buf.Flush()
				conn.Close()
			}))
			got := ask(t, addr, http.MethodGet, "")
			if !strings.HasPrefix(got, fmt.Sprint("HTTP/1.1 ", status, " ", http.StatusText(status), "\r\n")) ||
				!strings.Contains(got, "\r\nX-Mine: yes\r\n") || !strings.HasSuffix(got, "\r\n\r\nbehind") {
				t.Errorf("got %q", got)
			}
		})
	}
}

// TestUpgradeSendsNoBodyWhereNoneIsAllowed: see RFC 9110 section 6.4.1.
func TestUpgradeSendsNoBodyWhereNoneIsAllowed(t *testing.T) {
	both(t, func(t *testing.T, wrap wrapper) {
		addr := serve(t, wrap, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusNotModified)
			if _, err := io.WriteString(w, "body"); err != http.ErrBodyNotAllowed {
				t.Errorf("Write: %v", err)
			}
		}))
		if got := ask(t, addr, http.MethodGet, "Connection: close\r\n"); !strings.HasSuffix(got, "\r\n\r\n") {
			t.Errorf("got %q", got)
		}
	})
}

func TestUpgradeCutsNoResponseUnseen(t *testing.T) {
	addr := serve(t, gcpool.Upgrade, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "x.txt", time.Time{}, bytes.NewReader(make([]byte, 100_000)))
	}))
	if resp, body := response(t, ask(t, addr, http.MethodGet, "")); resp.StatusCode != http.StatusInternalServerError {
		t.Errorf("status %d with %d bytes, Content-Length %d", resp.StatusCode, len(body), resp.ContentLength)
	}
}

// TestLongHandshakeResponseIsNoFrame: a long handshake response takes two writes. The second
// must not be parsed as a frame, whatever its first bytes are.
func TestLongHandshakeResponseIsNoFrame(t *testing.T) {
	p, c, s := started(t)
	_ = p
	in := make(chan bool, 1)
	h := websocket.Server{
		Handshake: func(config *websocket.Config, req *http.Request) error {
			config.Header = http.Header{"X-Name": {strings.Repeat("é", 250)}}
			return nil
		},
		Handler: func(ws *websocket.Conn) {
			c.Add("a", ws)
			in <- true
			io.Copy(io.Discard, ws)
		},
	}
	both(t, func(t *testing.T, wrap wrapper) {
		ws := dial(t, serve(t, wrap, h), "")
		<-in
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		go io.Copy(io.Discard, ws)
		if err := s.Deliver(ctx, "a", []byte("x")); err != nil {
			t.Error(err)
		}
	})
}

// TestHandshakeCannotBeUsedToFillMemory: a handler streams its response and never hijacks. When
// its client has gone, its Write must return an error.
func TestHandshakeCannotBeUsedToFillMemory(t *testing.T) {
	const cap = 1 << 30 // reached after 10 s
	both(t, func(t *testing.T, wrap wrapper) {
		begun, ended := make(chan bool), make(chan bool)
		var size atomic.Int64
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // events until the client leaves
			close(begun)
			defer close(ended)
			for r.Context().Err() == nil && size.Load() < cap {
				n, err := w.Write(make([]byte, 1<<20))
				if err != nil {
					return
				}
				size.Add(int64(n))
				time.Sleep(10 * time.Millisecond)
			}
		})
		conn, err := net.Dial("tcp", serve(t, wrap, h))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
		<-begun
		conn.Close()
		if <-ended; size.Load() >= cap {
			t.Errorf("the client is gone, but the handler went on; %d MB have gathered", size.Load()>>20)
		}
	})
}

// TestInterimStatusIsNotTheFinalOne: an interim status (1xx) is neither sent nor taken
// for the final status.
func TestInterimStatusIsNotTheFinalOne(t *testing.T) {
	both(t, func(t *testing.T, wrap wrapper) {
		addr := serve(t, wrap, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", "</x>; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusForbidden)
			io.WriteString(w, "<html>no")
		}))
		req, _ := http.NewRequest("GET", "http://"+addr, nil)
		req.Header.Set("Connection", "Upgrade")
		req.Header.Set("Upgrade", "websocket")
		req.Header.Set("Sec-WebSocket-Version", "13")
		req.Header.Set("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==")
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		resp, err := http.DefaultClient.Do(req.WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		t.Log(resp.Status, resp.Header, string(b))
		if resp.StatusCode != 403 {
			t.Error(resp.Status)
		}
	})
}

// TestResponseMayBeFlushed: a handler that refuses a handshake may flush its response, as some
// middleware does. A proxy may set headers before it hijacks, and send them afterwards.
func TestResponseMayBeFlushed(t *testing.T) {
	url := serve(t, gcpool.Upgrade, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Flush") != "" {
			w.WriteHeader(http.StatusForbidden)
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
			w.(http.Flusher).Flush()
			io.WriteString(w, "no")
			return
		}
		w.Header().Set("X-Request-Id", "7")
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nX-Request-Id: %s\r\n\r\n", w.Header().Get("X-Request-Id"))
	}))
	if resp, body := response(t, ask(t, url, http.MethodGet, "Connection: close\r\nX-Flush: 1\r\n")); resp.StatusCode != http.StatusForbidden || body != "no" {
		t.Errorf("flushed: %+v %q", resp, body)
	}
	if resp, _ := response(t, ask(t, url, http.MethodGet, "")); resp.Header.Get("X-Request-Id") != "7" {
		t.Errorf("hijacked: %+v", resp)
	}
}
