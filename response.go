package gcpool

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// answer sends the response that the handler has written.
func (u *upgraded) answer() {
	u.WriteHeader(http.StatusOK)
	u.explain()
	if u.cut { // part of the body would look like the whole response
		u.status, u.sent = http.StatusInternalServerError, make(http.Header)
		u.body = []byte("the response to a handshake was too large\n")
	}
	if _, set := u.sent["Date"]; !set {
		u.sent.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	}
	if _, set := u.sent["Content-Type"]; !set && len(u.body) > 0 && u.sent.Get("Content-Encoding") == "" {
		u.sent.Set("Content-Type", http.DetectContentType(u.body))
	}
	u.sent.Del("Connection") // the Close field below writes it
	resp := http.Response{StatusCode: u.status, ProtoMajor: 1, ProtoMinor: 1, Header: u.sent,
		Body: io.NopCloser(bytes.NewReader(u.body)), ContentLength: int64(len(u.body)), Close: true}
	u.conn.SetWriteDeadline(time.Now().Add(handshakeTime))
	_ = resp.Write(u.conn) // the peer may be gone
}

func (u *upgraded) Header() http.Header {
	if u.header == nil {
		u.header = make(http.Header)
	}
	return u.header
}

func (u *upgraded) WriteHeader(status int) {
	if u.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) { // the others are informational
		u.status, u.sent = status, u.Header().Clone()
	}
}

func (u *upgraded) Write(p []byte) (int, error) {
	if u.hijacked {
		return 0, http.ErrHijacked
	}
	if u.cut = u.cut || len(u.body)+len(p) > responseMax; u.cut {
		return 0, fmt.Errorf("gcpool: the response to a handshake is larger than %d bytes", responseMax)
	}
	u.WriteHeader(http.StatusOK)
	if u.status < 200 || u.status == http.StatusNoContent || u.status == http.StatusNotModified { // RFC 9110 section 6.4.1
		return 0, http.ErrBodyNotAllowed
	}
	u.body = append(u.body, p...)
	return len(p), nil
}

// SetReadDeadline and SetWriteDeadline are for [http.ResponseController].
func (u *upgraded) SetReadDeadline(t time.Time) error  { return u.conn.SetReadDeadline(t) }
func (u *upgraded) SetWriteDeadline(t time.Time) error { return u.conn.SetWriteDeadline(t) }

// Hijack implements [http.Hijacker], and clears the deadlines as net/http does. The buffers are
// small, because x/net keeps them for as long as the connection lives; larger reads and writes
// bypass them.
func (u *upgraded) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if u.hijacked {
		return nil, nil, http.ErrHijacked
	}
	if u.status != 0 { // send the head, as net/http does; it would also drop a body
		var head bytes.Buffer
		fmt.Fprintf(&head, "HTTP/1.1 %d %s\r\n", u.status, http.StatusText(u.status))
		_ = u.sent.Write(&head) // a Buffer takes all
		head.WriteString("\r\n")
		u.conn.SetWriteDeadline(time.Now().Add(handshakeTime))
		if _, err := u.conn.Write(head.Bytes()); err != nil {
			return nil, nil, err
		}
	}
	chosen := u.header[subprotocol]
	if u.hijacked, u.sent = true, nil; u.status != 0 {
		u.header = nil // has been sent; otherwise a library that writes its own response may need it
	}
	if chosen != nil { // coder looks here for the subprotocol that it has chosen
		u.Header()[subprotocol] = chosen
	}
	u.conn.SetDeadline(time.Time{})
	in, out := bufio.NewReaderSize(u.conn, hijackBuffer), bufio.NewWriterSize((*hijackWriter)(u), hijackBuffer)
	return u.conn, bufio.NewReadWriter(in, out), nil
}

// Flush sends nothing: the response to a handshake leaves as a whole.
func (u *upgraded) Flush() {
	if !u.hijacked {
		u.WriteHeader(http.StatusOK)
	}
}
