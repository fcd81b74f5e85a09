package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nulijiabei/gcpool"
)

// TestReasons: each outcome travels unchanged, and an unknown error must never arrive as written.
func TestReasons(t *testing.T) {
	for err, want := range map[error]error{
		nil:                               nil,
		gcpool.ErrSlow:                    gcpool.ErrSlow,
		gcpool.ErrDeleted:                 gcpool.ErrDeleted,
		gcpool.ErrExpired:                 gcpool.ErrExpired,
		gcpool.ErrTooLarge:                gcpool.ErrTooLarge,
		gcpool.ErrNotRegistered:           ErrUncertain,
		io.ErrUnexpectedEOF:               ErrUncertain,
		fmt.Errorf("x: %w", ErrUncertain): ErrUncertain,
		fmt.Errorf("%w: broken pipe", gcpool.ErrNotConnected): gcpool.ErrNotConnected,
	} {
		if got := reasons[reason(err)]; got != want {
			t.Errorf("%v travels as %v, want %v", err, got, want)
		}
	}
}

// TestAnswersThatMakeNoSense: malformed answers are counted, and the request waits for a valid one.
func TestAnswersThatMakeNoSense(t *testing.T) {
	s := serve(t, nil)
	a, g := join(t, s.ClientURL()), haunt(t, s.ClientURL(), "g", nil)
	g.serves(name, "alice")
	malformed := uint64(0)
	for what, bad := range map[string]struct {
		kind  byte
		codes []byte
		name  string
	}{
		"a reason that is none":     {outcomes, []byte{byte(len(reasons))}, ""},
		"more than were sent":       {outcomes, []byte{0, 0}, ""},
		"a kind that is none":       {'?', nil, ""},
		"a node that is a wildcard": {outcomes, nil, strings.Repeat("*", 22)},
		"a node that is short":      {outcomes, nil, "g"},
	} {
		outcome := a.background("alice", "x")
		m, _ := g.asked()
		g.answers(m, bad.kind, bad.codes, bad.name)
		malformed++
		eventually(t, what+" is malformed", func() bool { return a.Stats().Malformed >= malformed })
		g.answers(m, outcomes, []byte{reason(gcpool.ErrSlow)}, "")
		if err := <-outcome; !errors.Is(err, gcpool.ErrSlow) {
			t.Errorf("%s: Deliver: %v", what, err)
		}
	}
	if n := a.Stats().Malformed; n != malformed {
		t.Errorf("%d are malformed, want %d", n, malformed)
	}
}

// TestStrangeStatus: of all NATS statuses, only "no responders" ends a request.
func TestStrangeStatus(t *testing.T) {
	s := serve(t, nil)
	a, g := join(t, s.ClientURL()), haunt(t, s.ClientURL(), "g", nil)
	g.serves(name, "alice")
	outcome := a.background("alice", "x")
	m, _ := g.asked()
	g.nc.PublishMsg(&nats.Msg{Subject: m.Reply, Header: nats.Header{"Status": {"408"}}})
	eventually(t, "it is malformed", func() bool { return a.Stats().Malformed == 1 })
	g.answers(m, outcomes, []byte{0}, "")
	if err := <-outcome; err != nil {
		t.Errorf("Deliver: %v", err)
	}
}

// TestWhereWhileMoving: when an id has just left the node that was asked, Where asks again.
func TestWhereWhileMoving(t *testing.T) {
	s := serve(t, nil)
	a, g := join(t, s.ClientURL()), haunt(t, s.ClientURL(), "g", nil)
	g.serves(name, "alice")
	where := make(chan string, 1)
	go func() {
		node, err := a.Where(t.Context(), name, "alice")
		where <- fmt.Sprint(node, err)
	}()
	m, _ := g.asked()
	g.answers(m, outcomes, nil, "")
	m, _ = g.asked()
	g.answers(m, outcomes, []byte{0}, "node g")
	if got := <-where; got != "node g<nil>" {
		t.Errorf("she is at %q", got)
	}
}

// TestWhereAsksOnlyOthers: Where does not ask NATS about an id that is connected here.
func TestWhereAsksOnlyOthers(t *testing.T) {
	s := serve(t, nil)
	a := join(t, s.ClientURL())
	a.dial("alice")
	if where, err := a.Where(t.Context(), name, "alice"); err != nil || where != a.Name() || a.Stats().Requests > 0 {
		t.Errorf("she is at %q, %v, after %d requests", where, err, a.Stats().Requests)
	}
}

// TestAnswersInPieces: many answers to one node travel together, but
// never in a message larger than NATS takes.
func TestAnswersInPieces(t *testing.T) {
	n := bare("n")
	codes := make([]byte, 1000)
	for i := range 1000 {
		n.answerLocked("g", uint64(i), outcomes, codes, "")
		n.answerLocked("h", uint64(i), outcomes, nil, "")
	}
	size := 0
	for _, p := range n.pending {
		size = max(size, len(p.data))
	}
	if most := 1000*1000/piece + 2; size > piece+2000 || len(n.pending) > most {
		t.Errorf("%d messages of up to %d bytes", len(n.pending), size)
	}
}

// TestFullOutboxElsewhere: messages for a peer that reads wait for room in its outbox on the
// other node, as they would here.
func TestFullOutboxElsewhere(t *testing.T) {
	s := serve(t, nil)
	b, g := join(t, s.ClientURL(), gcpool.WithOutbox(10<<10)), haunt(t, s.ClientURL(), "g", nil)
	u := b.dial("alice")
	const requests = 50
	var batch []string
	for range 9 {
		batch = append(batch, strings.Repeat("x", 1000))
	}
	for range requests { // faster than alice can read
		g.sends(b, push, "alice", batch...)
	}
	for range requests * len(batch) {
		u.read()
	}
	for answers := 0; answers < requests; {
		kind, codes, _ := g.answered()
		if kind == inProgress {
			continue
		}
		if answers++; !bytes.Equal(codes, make([]byte, len(batch))) {
			t.Errorf("outcomes %v", codes)
		}
	}
}

// TestTooLargeElsewhere: a message that is too large for the id's node comes back with that
// error, and holds up no message behind it.
func TestTooLargeElsewhere(t *testing.T) {
	s := serve(t, nil)
	a, b := join(t, s.ClientURL()), join(t, s.ClientURL(), gcpool.WithOutbox(1000))
	g := haunt(t, s.ClientURL(), "g", nil)
	u := b.dial("alice")
	b.known("alice", a)
	g.sends(b, push, "alice", "1", strings.Repeat("x", 2000), "2")
	kind, codes, _ := g.answered()
	if want := []byte{0, reason(gcpool.ErrTooLarge), 0}; kind != outcomes || !bytes.Equal(codes, want) {
		t.Errorf("outcomes %v, want %v", codes, want)
	}
	if u.read() != "1" || u.read() != "2" {
		t.Error("the other messages did not arrive")
	}
	if err := a.stream.Deliver(t.Context(), "alice", make([]byte, 2000)); !errors.Is(err, gcpool.ErrTooLarge) {
		t.Errorf("Deliver: %v", err)
	}
}

// TestShutDownElsewhere: a pool that is shut down takes no messages,
// and reports no outcome for them.
func TestShutDownElsewhere(t *testing.T) {
	s := serve(t, nil)
	b, g := join(t, s.ClientURL()), haunt(t, s.ClientURL(), "g", nil)
	b.dial("alice")
	eventually(t, "announced", func() bool { return b.Stats().IDs == 1 })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b.pool.Shutdown(ctx)
	g.sends(b, push, "alice", "x")
	_, codes, _ := g.answered()
	if len(codes) > 0 {
		t.Errorf("outcomes %v", codes)
	}
}

// TestBroadcastElsewhere: a Broadcast for a pool that is not here, or no longer, is not an
// error. A Broadcast from something that is not a node is malformed, and reaches no connection.
func TestBroadcastElsewhere(t *testing.T) {
	s := serve(t, nil)
	b := join(t, s.ClientURL())
	u := b.dial("alice")
	spread := func(node, pool, data string) {
		b.receiveBroadcast(&nats.Msg{Data: append(appendString(appendString(nil, node), pool), data...)})
	}
	node := strings.Repeat("g", 22)
	spread(node, "other", "x")
	if err := b.Err(); err != nil {
		t.Errorf("a Broadcast of a pool that is not here: %v", err)
	}
	spread("g", name, "bad")
	spread(b.id, name, "bad")
	spread(node, name, "good")
	if got := u.read(); got != "good" || b.Stats().Malformed != 1 {
		t.Errorf("received %q, %d malformed", got, b.Stats().Malformed)
	}
	b.fault.Store(nil)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.pool.Shutdown(ctx) }() // waits for alice, who does not know yet
	eventually(t, "Shutdown", func() bool { return b.stream.Broadcast(nil) == gcpool.ErrClosed })
	spread(node, name, "late")
	cancel()
	if <-ended; b.Err() != nil {
		t.Errorf("after Shutdown: %v", b.Err())
	}
}

// TestBroadcastTooLargeElsewhere: a node that cannot take a Broadcast records an error.
func TestBroadcastTooLargeElsewhere(t *testing.T) {
	s := serve(t, nil)
	a, b := join(t, s.ClientURL()), join(t, s.ClientURL(), gcpool.WithOutbox(1000))
	b.dial("alice")
	if err := a.stream.Broadcast(make([]byte, 2000)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "an error", func() bool { return errors.Is(b.Err(), gcpool.ErrTooLarge) })
}
