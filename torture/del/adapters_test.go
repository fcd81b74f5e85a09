package del

import (
	"bytes"
	"io"
	"net"
	"time"

	gorilla "github.com/gorilla/websocket"
	"github.com/lxzan/gws"
	"github.com/olahol/melody"
)

// whole is the result of a Write that sends all of p or fails.
func whole(p []byte, err error) (int, error) {
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// gorillaConn sends each Write as a message.
type gorillaConn struct {
	net.Conn
	ws *gorilla.Conn
}

func (c *gorillaConn) Write(p []byte) (int, error) {
	return whole(p, c.ws.WriteMessage(gorilla.TextMessage, p))
}

func (c *gorillaConn) Close() error {
	c.ws.WriteControl(gorilla.CloseMessage, nil, time.Now().Add(time.Second))
	return c.Conn.Close()
}

// gwsConn sends each Write as a message.
type gwsConn struct {
	net.Conn
	ws *gws.Conn
}

func (c *gwsConn) Write(p []byte) (int, error) {
	return whole(p, c.ws.WriteMessage(gws.OpcodeText, p))
}

func (c *gwsConn) Close() error {
	c.ws.WriteClose(1000, nil)
	return c.Conn.Close()
}

// melodyConn hands each Write to melody, which keeps its connection to itself.
type melodyConn struct{ session *melody.Session }

func (c *melodyConn) Write(p []byte) (int, error) { return whole(p, c.session.Write(bytes.Clone(p))) }

func (c *melodyConn) Close() error { return c.session.Close() }

func (c *melodyConn) Read([]byte) (int, error)         { return 0, io.EOF }
func (c *melodyConn) LocalAddr() net.Addr              { return c.session.LocalAddr() }
func (c *melodyConn) RemoteAddr() net.Addr             { return c.session.RemoteAddr() }
func (c *melodyConn) SetDeadline(time.Time) error      { return nil }
func (c *melodyConn) SetReadDeadline(time.Time) error  { return nil }
func (c *melodyConn) SetWriteDeadline(time.Time) error { return nil }
