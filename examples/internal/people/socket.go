package people

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

const (
	lineMax       = 64 << 10        // bytes of a line from a browser, its newline included
	patience      = 5 * time.Second // how long a push may take
	statusTooBig  = 1009            // RFC 6455 section 7.4.1
	statusExpired = 4001            // the session has: from 4000 to 4499 a client comes back
)

// What a browser sends, one JSON line each.
type request struct {
	To   string `json:"to"` // a name; empty or * is everyone
	Text string `json:"text"`
	Ref  int64  `json:"ref"` // the browser's own number, for the outcome
}

// What a browser gets, one JSON line each. What only a cluster has is left out
// without one.
type (
	hello struct { // the first line of a connection
		Kind  string `json:"kind"`
		Name  string `json:"name"`
		Node  string `json:"node,omitempty"`
		Nodes []Node `json:"nodes,omitempty"` // only over HTTP
	}
	people struct {
		Kind    string   `json:"kind"`
		Names   []string `json:"names"`
		On      []string `json:"on,omitempty"` // the node of each; "" if it is not known
		More    int      `json:"more,omitempty"`
		Partial bool     `json:"partial,omitempty"` // not all nodes have answered
		Node    string   `json:"node,omitempty"`    // whose list it is
	}
	message struct {
		Kind string `json:"kind"`
		From string `json:"from"`
		To   string `json:"to"`
		Text string `json:"text"`
		At   int64  `json:"at"` // Unix time in ms
		Ref  int64  `json:"ref"`
	}
	outcome struct { // what became of a request; no error is delivered
		Kind      string `json:"kind"`
		Ref       int64  `json:"ref"`
		Error     string `json:"error"`
		Uncertain bool   `json:"uncertain,omitempty"` // it may have been delivered
	}
	undelivered struct { // comes later, and for one recipient of many
		Kind      string `json:"kind"`
		Ref       int64  `json:"ref"`
		To        string `json:"to"`
		Error     string `json:"error"`
		Uncertain bool   `json:"uncertain,omitempty"`
	}
)

// socket is the handler of the WebSockets.
func (s *Server) socket() http.Handler {
	return websocket.Server{Handshake: s.handshake, Handler: s.connected}
}

// handshake lets in who is signed in, from a page of this server. A page may say
// as whom: one of another port shares its cookies, may have signed in as another
// just now, and that person's connection would be taken over by mistake.
func (s *Server) handshake(config *websocket.Config, r *http.Request) error {
	if err := gcpool.SameOrigin(config, r); err != nil {
		return err
	}
	who, err := s.sessions.read(r)
	if as := r.URL.Query(); err == nil && as.Has("as") && as.Get("as") != who.name {
		return errSignedOut
	}
	return err
}

// connected serves one connection until it ends.
func (s *Server) connected(ws *websocket.Conn) {
	who, err := s.sessions.read(ws.Request())
	if err != nil {
		return
	}
	ws.SetReadDeadline(who.expires)
	lanes := newLanes()
	defer lanes.wait()
	if err := s.conns.Add(who.name, ws); err != nil {
		return // the server is shutting down
	}
	defer s.conns.Del(who.name)
	s.answer(who.name, hello{Kind: "hello", Name: who.name, Node: s.config.Node})
	s.mark() // a takeover is no presence event, but the new page needs the list

	// ReadBytes would keep a line without an end for as long as it grows.
	lines := bufio.NewScanner(ws)
	lines.Buffer(nil, lineMax)
	for lines.Scan() {
		s.take(who.name, lanes, lines.Bytes())
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		refuse(ws, statusTooBig)
	case errors.Is(err, os.ErrDeadlineExceeded):
		refuse(ws, statusExpired)
	}
}

// refuse tells the peer why its connection ends. What it still sends is read
// for a moment: closing a socket with unread bytes resets the connection, and
// the close frame could be lost.
func refuse(ws *websocket.Conn, status int) {
	if ws.WriteClose(status) != nil {
		return
	}
	ws.SetReadDeadline(time.Now().Add(2 * time.Second))
	io.Copy(io.Discard, ws)
}

// take serves one line. It waits no longer than patience, whatever recipients
// do; meanwhile the sender's next lines wait in its socket.
func (s *Server) take(from string, lanes *lanes, line []byte) {
	var r request
	if err := json.Unmarshal(line, &r); err != nil {
		s.answer(from, outcome{Kind: "outcome", Ref: r.Ref, Error: "The server did not understand that line."})
		return
	}
	if r.To = strings.TrimSpace(r.To); r.To == "" {
		r.To = everyone
	}
	if strings.TrimSpace(r.Text) == "" {
		s.answer(from, outcome{Kind: "outcome", Ref: r.Ref, Error: "There is no text in it."})
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	started := lanes.run(ctx, r.To, func() {
		defer cancel()
		why, uncertain := s.reason(r.To, s.push(ctx, from, r))
		s.answer(from, outcome{"outcome", r.Ref, why, uncertain})
	})
	if !started {
		cancel()
		s.answer(from, outcome{Kind: "outcome", Ref: r.Ref, Error: "Too many of your messages still wait for slow recipients."})
	}
}

// push sends r on and returns its outcome. For everyone that is whether all
// outboxes took it; who did not get it in the end comes through undelivered.
func (s *Server) push(ctx context.Context, from string, r request) error {
	line := encode(message{"message", from, r.To, r.Text, time.Now().UnixMilli(), r.Ref})
	if r.To == everyone {
		return s.stream.Broadcast(line)
	}
	return s.stream.Deliver(ctx, r.To, line)
}

// answer pushes v to a person's own connection. A person who does not read the
// answers is in nobody's way but their own.
func (s *Server) answer(name string, v any) { s.answerWithin(patience, name, v) }

func (s *Server) answerWithin(d time.Duration, name string, v any) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	s.stream.AddContext(ctx, name, encode(v)) // what fails here has nobody left to be told
}

// undelivered is told of what the pool could not deliver, and no Deliver was
// waiting for. If it was a person's message, its sender gets to know. The pool
// calls this for one report after the other, so it must not wait for long.
func (s *Server) undelivered(u gcpool.Undelivered) {
	var m message
	if json.Unmarshal(u.Data, &m) == nil && m.Kind == "message" {
		why, uncertain := s.reason(u.ID, u.Err)
		s.answerWithin(peoplePause, m.From, undelivered{"undelivered", m.Ref, u.ID, why, uncertain})
	}
}

// reason puts an outcome into words, none for a message that was delivered, and
// reports whether it may have been all the same.
func (s *Server) reason(to string, err error) (why string, uncertain bool) {
	if err != nil && s.config.Explain != nil {
		why, uncertain = s.config.Explain(to, err)
	}
	if why == "" {
		why = reason(to, err)
	}
	return why, uncertain
}

func reason(to string, err error) string {
	switch {
	case err == nil:
		return ""
	case err == gcpool.ErrNotConnected:
		return to + " is not connected."
	case errors.Is(err, gcpool.ErrNotConnected):
		return "The connection to " + to + " broke."
	case errors.Is(err, gcpool.ErrSlow):
		return to + " was too slow to take it."
	case errors.Is(err, gcpool.ErrDeleted):
		return to + " left before it was sent."
	case errors.Is(err, gcpool.ErrTooLarge):
		return "It is too large."
	case errors.Is(err, gcpool.ErrClosed):
		return "The server is shutting down."
	case errors.Is(err, context.DeadlineExceeded):
		return to + " has not taken it within 5 seconds. It may still arrive."
	}
	return err.Error()
}

// encode returns v as JSON; all our types have one.
func encode(v any) []byte {
	line, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return line
}
