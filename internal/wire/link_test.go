package wire

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"golang.org/x/net/websocket"
)

type hijacked struct {
	*httptest.ResponseRecorder
	conn *Conn
}

func (h hijacked) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.conn, bufio.NewReadWriter(bufio.NewReader(h.conn), bufio.NewWriter(h.conn)), nil
}

// TestKillWhileTheApplicationSetsDeadlines: Kill closes an upgraded WebSocket
// whose write is stuck, though the application sets deadlines on it meanwhile.
func TestKillWhileTheApplicationSetsDeadlines(t *testing.T) {
	bad, rounds := 0, 20
	for range rounds {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		links, leave := make(chan *Link), make(chan bool)
		go func() {
			conn, _ := l.Accept()
			req, _ := http.ReadRequest(bufio.NewReader(conn))
			c := &Conn{Conn: conn}
			websocket.Handler(func(ws *websocket.Conn) {
				links <- NewLink(ws)
				<-leave
			}).ServeHTTP(hijacked{httptest.NewRecorder(), c}, req.WithContext(NewContext(context.Background(), c)))
		}()
		peer, err := websocket.Dial("ws://"+l.Addr().String()+"/", "", "http://localhost")
		if err != nil {
			t.Fatal(err)
		}
		link := <-links
		sent, killed, stop := make(chan bool), make(chan bool), make(chan bool)
		go func() {
			defer close(sent)
			link.Send(AppendFrame(nil, Text, make([]byte, 16<<20), false), func(int) {})
		}()
		time.Sleep(50 * time.Millisecond) // it is stuck
		go func() {
			for { // as before each Read or Write of its own
				select {
				case <-stop:
					return
				default:
					link.Conn.SetDeadline(time.Now().Add(time.Hour))
				}
			}
		}()
		go func() {
			defer close(killed)
			link.Kill()
		}()
		select {
		case <-killed:
		case <-time.After(2 * time.Second):
			bad++
		}
		close(stop)
		close(leave)
		l.Close()
		peer.Close()
		<-sent
		<-killed
	}
	if bad > 0 {
		t.Errorf("%d of %d times Kill had not closed the connection after 2 s", bad, rounds)
	}
}
