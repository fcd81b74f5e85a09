package adapters

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
)

func TestPlainPeerThatStallsIsClosed(t *testing.T) {
	t.Parallel()
	block := bytes.Repeat([]byte("0123456789abcdef"), 4<<10) // 64 KiB
	f := newFixture(t, plain, false, gcpool.WithWriteTimeout(300*time.Millisecond))
	f.connect("alice") // and does not read
	f.await("its end", func() bool {
		if f.pool.Stats()[0].WaitingBytes < 4*len(block) { // else Add might wait
			f.stream.Add("alice", block)
		}
		return f.present("alice") == nil
	})
	if u := <-f.failed; !errors.Is(u.Err, gcpool.ErrSlow) || u.ID != "alice" {
		t.Errorf("reported: %s, %v", u.ID, u.Err)
	}
}

func TestNothingFollowsACutPlainFrame(t *testing.T) {
	t.Parallel()
	socket, peer := net.Pipe()
	conn := &plainConn{frames{Conn: socket}}
	ended := make(chan error)
	go func() {
		_, err := conn.Write([]byte("hello"))
		ended <- err
	}()
	if _, err := io.ReadFull(peer, make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	conn.SetWriteDeadline(time.Now())
	if err := <-ended; err == nil {
		t.Error("the write was not cut")
	}
	conn.SetWriteDeadline(time.Time{})
	go func() {
		if _, err := conn.Write([]byte("world")); err == nil {
			t.Error("another message was written")
		}
		conn.Close()
	}()
	if rest, err := io.ReadAll(peer); len(rest) > 0 || err != nil {
		t.Errorf("after the cut came %q, %v", rest, err)
	}
}

func TestPlainCloseEndsAStuckWrite(t *testing.T) {
	t.Parallel()
	socket, peer := net.Pipe()
	defer peer.Close()
	conn := &plainConn{frames{Conn: socket}}
	ended := make(chan error)
	go func() {
		_, err := conn.Write([]byte("hello"))
		ended <- err
	}()
	if _, err := io.ReadFull(peer, make([]byte, 3)); err != nil { // the write is under way
		t.Fatal(err)
	}
	conn.Close()
	if err := <-ended; err == nil {
		t.Error("the write goes on")
	}
}
