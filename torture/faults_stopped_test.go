//go:build unix

package torture

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/torture/internal/peer"
	"golang.org/x/net/websocket"
)

// TestFault25StoppedProcess: the server's process is stopped for many heartbeats, for instance
// while its virtual machine is moved. The server cannot hear its peers in that time, so it must
// not take them for dead. A peer that is silent afterwards is still closed.
func TestFault25StoppedProcess(t *testing.T) {
	const heartbeat, peers = 2 * time.Second, 20 // a busy machine may hold up the peers that answer for twice this time
	if os.Getenv("TORTURE_CHILD") != "" {
		receiving(t, heartbeat)
		return
	}
	child := startChild(t, "TestFault25StoppedProcess")
	dial := func(id string) *websocket.Conn {
		ws, err := websocket.Dial("ws://"+child.addr+"/?id="+id, "", "http://"+child.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ws.Close() })
		return ws
	}
	gone := make(chan int, peers)
	for i := range peers {
		ws := dial(fmt.Sprint(i))
		go func() {
			io.Copy(io.Discard, ws) // answers pings
			gone <- i
			ws.Close()
		}()
		time.Sleep(heartbeat / peers) // so that some are pinged just before
	}
	time.Sleep(2 * heartbeat)
	child.cmd.Process.Signal(syscall.SIGSTOP)
	time.Sleep(3 * heartbeat)
	child.cmd.Process.Signal(syscall.SIGCONT)
	select {
	case i := <-gone:
		t.Fatalf("peer %d was closed because its server was stopped", i)
	case <-time.After(3 * heartbeat):
	}
	silent, err := net.Dial("tcp", child.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if _, err := peer.Dial(silent, "/?id=silent"); err != nil {
		t.Fatal(err)
	}
	silent.SetReadDeadline(time.Now().Add(20 * time.Second)) // however often the machine stalls
	if _, err := io.Copy(io.Discard, silent); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a peer that answers no ping: %v", err)
	}
	if len(gone) > 0 {
		t.Error("a peer that answers was closed")
	}
	child.end(t)
}

// receiving is the server's process. Its peers only receive.
func receiving(t *testing.T, heartbeat time.Duration) {
	r := newTCP(t, gcpool.WithHeartbeat(heartbeat))
	r.mux.Handle("/", gcpool.Upgrade(websocket.Handler(func(ws *websocket.Conn) {
		id := ws.Request().FormValue("id")
		r.conns.Add(id, ws)
		defer r.conns.Del(id)
		io.Copy(io.Discard, ws)
	})))
	fmt.Println(r.addr)
	io.Copy(io.Discard, os.Stdin) // until the parent is done
	r.end(far)
}
