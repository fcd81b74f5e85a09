package adapters

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	coder "github.com/coder/websocket"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	gorilla "github.com/gorilla/websocket"
	"github.com/lxzan/gws"
)

func wsURL(url string) string { return "ws" + strings.TrimPrefix(url, "http") }

func gorillaClient(t *testing.T, url string, header http.Header) func() ([]byte, error) {
	c, _, err := gorilla.DefaultDialer.Dial(wsURL(url), header)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return func() ([]byte, error) {
		_, message, err := c.ReadMessage()
		return message, err
	}
}

func coderClient(t *testing.T, url string, header http.Header) func() ([]byte, error) {
	c, _, err := coder.Dial(t.Context(), wsURL(url), &coder.DialOptions{HTTPHeader: header})
	if err != nil {
		t.Fatal(err)
	}
	c.SetReadLimit(-1)
	t.Cleanup(func() { c.CloseNow() })
	return func() ([]byte, error) {
		_, message, err := c.Read(context.Background())
		return message, err
	}
}

// gwsReceiver hands over what gws calls back with.
type gwsReceiver struct {
	gws.BuiltinEventHandler
	messages chan []byte
}

func (g gwsReceiver) OnClose(*gws.Conn, error) { close(g.messages) }

func (g gwsReceiver) OnMessage(_ *gws.Conn, m *gws.Message) { g.messages <- m.Bytes() }

func gwsClient(t *testing.T, url string, header http.Header) func() ([]byte, error) {
	g := gwsReceiver{messages: make(chan []byte, 16)}
	c, _, err := gws.NewClient(g, &gws.ClientOption{Addr: wsURL(url), RequestHeader: header})
	if err != nil {
		t.Fatal(err)
	}
	go c.ReadLoop()
	t.Cleanup(func() {
		c.NetConn().Close()
		for range g.messages { // until OnClose
		}
	})
	return func() ([]byte, error) {
		if m, ok := <-g.messages; ok {
			return m, nil
		}
		return nil, io.EOF
	}
}

func gobwasClient(t *testing.T, url string, header http.Header) func() ([]byte, error) {
	dialer := ws.Dialer{Header: ws.HandshakeHeaderHTTP(header)}
	c, ahead, _, err := dialer.Dial(t.Context(), wsURL(url))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	rw := struct {
		io.Reader
		io.Writer
	}{c, c}
	if ahead != nil { // frames that came with the answer to the handshake
		rw.Reader = io.MultiReader(ahead, c)
	}
	return func() ([]byte, error) {
		message, _, err := wsutil.ReadServerData(rw)
		return message, err
	}
}
