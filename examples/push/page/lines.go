package page

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/nulijiabei/gcpool"
)

// Everyone is the recipient of a message to all.
const Everyone = "*"

// A Request is what a browser sends: a message for one person or everyone, as one JSON line.
type Request struct {
	To   string `json:"to"` // a name; empty or * is everyone
	Text string `json:"text"`
	Ref  int64  `json:"ref"` // the browser's own number, for the outcome
}

// The lines that a browser gets, each in JSON. A server alone omits the fields that only a cluster
// has.
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
		Node    string   `json:"node,omitempty"`    // the node that made the list
	}
	message struct {
		Kind string `json:"kind"`
		From string `json:"from"`
		To   string `json:"to"`
		Text string `json:"text"`
		At   int64  `json:"at"` // Unix time in ms
		Ref  int64  `json:"ref"`
	}
	outcome struct { // of a request; without an error it was delivered
		Kind      string `json:"kind"`
		Ref       int64  `json:"ref"`
		Error     string `json:"error"`
		Uncertain bool   `json:"uncertain,omitempty"` // it may have been delivered
	}
	undelivered struct { // comes later, for one recipient of a message to everyone
		Kind      string `json:"kind"`
		Ref       int64  `json:"ref"`
		To        string `json:"to"`
		Error     string `json:"error"`
		Uncertain bool   `json:"uncertain,omitempty"`
	}
)

// ReadRequest reads a line of a browser, or returns what is wrong with it.
func ReadRequest(line []byte) (r Request, problem string) {
	if err := json.Unmarshal(line, &r); err != nil {
		return r, "The server did not understand that line."
	}
	if r.To = strings.TrimSpace(r.To); r.To == "" {
		r.To = Everyone
	}
	if strings.TrimSpace(r.Text) == "" {
		return r, "There is no text in it."
	}
	return r, ""
}

// Hello returns the first line for somebody who has connected.
func (p *Page) Hello(name string) []byte {
	return encode(hello{Kind: "hello", Name: name, Node: p.config.Node})
}

// Message returns the line for the recipients of a request.
func Message(from string, r Request) []byte {
	return encode(message{"message", from, r.To, r.Text, time.Now().UnixMilli(), r.Ref})
}

// Outcome returns the line that tells a sender why a request failed, or that it did not fail.
// uncertain means that the message may have arrived nevertheless.
func Outcome(r Request, why string, uncertain bool) []byte {
	return encode(outcome{"outcome", r.Ref, why, uncertain})
}

// Undelivered returns the line that tells the sender of a message why it did not reach one of its
// recipients. It reports false if data is not a message from a person.
func Undelivered(to string, data []byte, why string, uncertain bool) (sender string, line []byte, ok bool) {
	var m message
	if json.Unmarshal(data, &m) != nil || m.Kind != "message" {
		return "", nil, false
	}
	return m.From, encode(undelivered{"undelivered", m.Ref, to, why, uncertain}), true
}

// Reason puts an outcome into words. It returns "" for a message that was delivered.
func Reason(to string, err error) string {
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
	case errors.Is(err, gcpool.ErrNotAccepted):
		return to + " reads too slowly. It was not sent."
	case errors.Is(err, context.DeadlineExceeded):
		if to == Everyone {
			return "Somebody did not take it within 5 seconds."
		}
		return to + " has not taken it within 5 seconds. It may still arrive."
	}
	return err.Error()
}

// encode returns v as JSON. It panics if v has none, but all types here do.
func encode(v any) []byte {
	line, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return line
}
