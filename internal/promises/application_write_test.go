package promises

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

// long is a write timeout far longer than a busy machine might keep a peer from reading.
const long = 5 * time.Second

// TestLargeWriteOfTheApplicationIsProgress: the pool's message waits for a large write of the
// application. While the peer reads that write, the message must not time out.
func TestLargeWriteOfTheApplicationIsProgress(t *testing.T) {
	t.Parallel()
	_, c, s := started(t, gcpool.WithWriteTimeout(long), gcpool.WithHeartbeat(0))
	raw, _ := serveMemory(t, gcpool.Upgrade, websocket.Handler(func(ws *websocket.Conn) {
		c.Add("a", ws)
		go ws.Write(make([]byte, 1<<20))
		io.Copy(io.Discard, ws)
	}))("")
	eventually(t, "joined", func() bool { return c.Len() == 1 })
	buf := make([]byte, 64<<10)
	for start, i := time.Now(), 0; i < 16; i++ { // the peer reads slowly, for longer than the timeout
		if _, err := io.ReadFull(raw, buf); err != nil {
			t.Fatalf("a peer that reads all the time, after %v: %v", time.Since(start), err)
		}
		if i == 0 { // the write has begun
			add(t, s, "a", "hello")
		}
		time.Sleep(long / 10)
	}
}

// TestWriteOfTheApplicationThatStopsIsTimedOut: the pool's message waits for a write of the
// application. The write timeout counts from the last progress of that write. The test runs in
// real time; see TestFullOutboxWaitsForAWriteOfTheApplication.
func TestWriteOfTheApplicationThatStopsIsTimedOut(t *testing.T) {
	t.Parallel()
	_, conns, stream := started(t, gcpool.WithWriteTimeout(long), gcpool.WithHeartbeat(0))
	large := make(chan bool)
	raw, _ := serveMemory(t, gcpool.Upgrade, websocket.Handler(func(ws *websocket.Conn) {
		conns.Add("a", ws)
		<-large
		ws.Write(make([]byte, 20<<16))
	}))("")
	eventually(t, "joined", func() bool { return conns.Len() == 1 })
	large <- true
	io.ReadFull(raw, make([]byte, 1<<16)) // part of the frame
	outcome := make(chan error, 1)
	go func() { outcome <- stream.Deliver(t.Context(), "a", []byte("1")) }()
	for range 12 { // longer than the timeout
		time.Sleep(long / 10)
		if conns.Len() == 0 {
			t.Fatal("closed while its peer read")
		}
		io.ReadFull(raw, make([]byte, 1<<16))
	}
	select {
	case err := <-outcome:
		if !errors.Is(err, gcpool.ErrSlow) {
			t.Errorf("Deliver: %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("a peer that has stopped reading is not closed")
	}
}

// TestFullOutboxWaitsForAWriteOfTheApplication: Add waits for room while the peer reads what
// the application writes; a peer that takes nothing for a second would be slow. The test runs
// in real time, because a writer that waits for the end of a frame stops a simulated clock.
func TestFullOutboxWaitsForAWriteOfTheApplication(t *testing.T) {
	undisturbed(t, func() error { return waitForAWriteOfTheApplication(t) })
}

func waitForAWriteOfTheApplication(t *testing.T) error {
	const pieces = 12
	_, conns, stream := started(t, gcpool.WithOutbox(100), gcpool.WithHeartbeat(0))
	large := make(chan bool)
	open := serveMemory(t, gcpool.Upgrade, websocket.Handler(func(ws *websocket.Conn) {
		conns.Add("a", ws)
		defer conns.Del("a")
		<-large
		ws.Write(bytes.Repeat([]byte("x"), pieces<<16))
	}))
	raw, _ := open("")
	defer raw.Close()
	eventually(t, "joined", func() bool { return conns.Len() == 1 })
	large <- true
	io.ReadFull(raw, make([]byte, 1<<16)) // part of the frame
	add(t, stream, "a", strings.Repeat("1", 60))
	for range pieces - 2 {
		time.Sleep(150 * time.Millisecond)
		io.ReadFull(raw, make([]byte, 1<<16))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := stream.AddContext(ctx, "a", make([]byte, 60)); !errors.Is(err, context.DeadlineExceeded) || conns.Len() != 1 {
		return fmt.Errorf("Add: %v, %d connected, though the peer reads", err, conns.Len())
	}
	return nil
}
