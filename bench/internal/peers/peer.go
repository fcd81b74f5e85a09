// Package peers holds the libraries that the benchmark compares. Each has the same small
// interface, and is used as its documentation says.
package peers

import (
	"errors"
	"net/http"
	"strconv"
)

// A Peer pushes payloads to the users that are connected to its handler. Several
// goroutines may call Push and Broadcast at once, but only one goroutine for the same
// user. The caller reuses the payload after the call has returned. A peer that keeps the
// payload must copy it; an application would have to do the same.
type Peer interface {
	// Handler serves WebSocket handshakes for /?id=<ID of the user>.
	Handler() http.Handler
	// Push sends payload to one user. If the peer has backpressure, Push waits for a user
	// who reads more slowly than the producer pushes.
	Push(user int, payload []byte) error
	// Broadcast sends payload to every user.
	Broadcast(payload []byte) error
	// Len returns how many users are connected.
	Len() int
	// Close ends the peer and its connections.
	Close()
}

// A Flusher is a Peer that holds messages back until a call of Flush tells it that no more will
// come for now.
type Flusher interface{ Flush() error }

// Dialect is what a peer's clients must speak.
type Dialect string

const (
	// Plain is one frame for each message, with nothing but the payload.
	Plain Dialect = "plain"
	// Centrifuge is the Protobuf form of centrifugal's client protocol.
	Centrifuge Dialect = "centrifuge"
)

// A Spec names a peer and has its constructor.
type Spec struct {
	Name    string
	Library string // the peer whose library this peer uses with gcpool; empty without gcpool
	Module  string // the module whose version the report names
	Text    string // one line for the report
	Dialect Dialect
	Limit   bool // a limit and no library: it is never the best peer
	Batched bool // sends only whole batches, so one message means nothing
	New     func() (Peer, error)
}

// All returns every peer, gcpool first.
func All() []Spec {
	return []Spec{
		{Name: "gcpool", Library: "xnet", Module: "github.com/nulijiabei/gcpool", Dialect: Plain, New: with(pooledXnet),
			Text: "StreamPool.Add, all defaults but the newline"},
		{Name: "original", Module: "golang.org/x/net", Dialect: Plain, New: newOriginal,
			Text: "gcpool's first design: one goroutine a pool, ws.Write a message"},
		{Name: "xnet", Module: "golang.org/x/net", Dialect: Plain, New: newXnet,
			Text: "ws.Write in the producer"},
		{Name: "gorilla", Module: "github.com/gorilla/websocket", Dialect: Plain, New: newGorilla,
			Text: "the chat example's hub: a channel and a writePump a connection"},
		{Name: "gorilla+gcpool", Library: "gorilla", Module: "github.com/gorilla/websocket", Dialect: Plain, New: with(pooledGorilla),
			Text: "its handler under Upgrade, StreamPool.Add"},
		{Name: "melody", Module: "github.com/olahol/melody", Dialect: Plain, New: newMelody,
			Text: "Session.Write, held back by HandleSentMessage"},
		{Name: "melody+gcpool", Library: "melody", Module: "github.com/olahol/melody", Dialect: Plain, New: with(pooledMelody),
			Text: "its handler under Upgrade, StreamPool.Add"},
		{Name: "gws", Module: "github.com/lxzan/gws", Dialect: Plain, New: newGws,
			Text: "WriteAsync, held back by its callback"},
		{Name: "gws+gcpool", Library: "gws", Module: "github.com/lxzan/gws", Dialect: Plain, New: with(pooledGws),
			Text: "its handler under Upgrade, StreamPool.Add"},
		{Name: "coder", Module: "github.com/coder/websocket", Dialect: Plain, New: newCoder,
			Text: "a channel and a goroutine a connection, as its chat example"},
		{Name: "coder+gcpool", Library: "coder", Module: "github.com/coder/websocket", Dialect: Plain, New: with(pooledCoder),
			Text: "its handler under Upgrade, StreamPool.Add"},
		{Name: "centrifuge", Module: "github.com/centrifugal/centrifuge", Dialect: Centrifuge, New: newCentrifuge,
			Text: "Node.Publish to a personal channel, Protobuf"},
		{Name: "write", Dialect: Plain, Limit: true, New: func() (Peer, error) { return newBare(0), nil },
			Text: "limit: conn.Write a frame, nothing else"},
		{Name: "write16k", Dialect: Plain, Limit: true, Batched: true, New: func() (Peer, error) { return newBare(16 << 10), nil },
			Text: "limit: conn.Write for 16 KiB of frames"},
	}
}

// Find returns the peer with that name.
func Find(name string) (Spec, error) {
	for _, s := range All() {
		if s.Name == name {
			return s, nil
		}
	}
	return Spec{}, errors.New("no peer named " + strconv.Quote(name))
}

// MaxUsers is how many users there may be.
const MaxUsers = 20_000

// errGone is what Push returns for a user that is not connected.
var errGone = errors.New("user is not connected")

var ids = func() []string {
	all := make([]string, MaxUsers)
	for i := range all {
		all[i] = "user-" + strconv.Itoa(i)
	}
	return all
}()

// ID returns the id of a user. All ids are made in advance.
func ID(user int) string { return ids[user] }
