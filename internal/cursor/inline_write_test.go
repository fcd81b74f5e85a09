package cursor

import (
	"runtime"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool/internal/backlog"
	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/schedule"
)

// TestInlineWriterServesNobodyElse: while Add writes inline, another id joins the line, and its
// peer reads nothing. A goroutine must serve that id, not the caller of Add.
func TestInlineWriterServesNobodyElse(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("nothing is inline")
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	g := begun(backlog.Config{WriteTimeout: time.Minute})
	link, _, peer := upgraded(t)
	a, b := newID(g), newID(g)
	stuck := &gate{free: make(chan bool)}
	a.attach(link)
	b.attach(NewConnection(stuck, false))
	time.Sleep(schedule.InlineCredit)
	w := a.accept("1")
	if w == nil {
		t.Fatal("an idle pool gives the caller no writer")
	}
	if b.accept("2") != nil || a.accept("3") != nil {
		t.Fatal("a busy pool gives the caller a writer")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		w()
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("the caller of Add is stuck in a write to another id")
	}
	receive(t, peer, "1", "3")
	stuck.free <- true
	dismissed(t, g)
}

// TestCursorStandsInLineOnce, whether or not Add could write inline.
func TestCursorStandsInLineOnce(t *testing.T) {
	webSocket, _, _ := upgraded(t)
	for name, link := range map[string]*Connection{
		"under Upgrade":    webSocket,
		"a raw connection": NewConnection(&sleepy{}, false),
	} {
		b := newBench(t, backlog.Config{})
		b.attachLink(link)
		for range 3 {
			b.push("1")
		}
		if n := b.Shared.Line.Len(); n != 1 {
			t.Errorf("%s: it stands in line %d times", name, n)
		}
	}
}

// TestInlineWriterFindsTheApplicationInsideAFrame: the application has written only part of a
// frame. The caller of Add must not wait for the rest.
func TestInlineWriterFindsTheApplicationInsideAFrame(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	g := begun(backlog.Config{WriteTimeout: time.Minute})
	link, conn, peer := upgraded(t)
	a := newID(g)
	a.attach(link)
	application := frame.Append(nil, frame.Text, []byte("application"), false)
	if _, err := conn.Write(application[:5]); err != nil {
		t.Fatal(err)
	}
	time.Sleep(schedule.InlineCredit)
	w := a.accept("1")
	if w == nil {
		t.Fatal("an idle pool gives the caller no writer")
	}
	w()
	a.accept("2")
	if _, err := conn.Write(application[5:]); err != nil {
		t.Fatal(err)
	}
	receive(t, peer, "application", "1", "2")
	dismissed(t, g)
}
