package adapters

import (
	"bytes"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/nulijiabei/gcpool"
)

var block = bytes.Repeat([]byte("0123456789abcdef"), 4<<10) // 64 KiB

// TestPlainPeerThatStallsIsClosedInTime, and is sent nothing after the cut message.
func TestPlainPeerThatStallsIsClosedInTime(t *testing.T) {
	t.Parallel()
	f := newFixture(t, plain, false, gcpool.WithWriteTimeout(300*time.Millisecond))
	alice := f.connect("alice") // and does not read
	f.await("a stuck write", func() bool {
		if f.pool.Stats()[0].WaitingBytes < 4*len(block) {
			f.stream.Add("alice", block)
		}
		return f.pool.Stats()[0].Stalled > 0
	})
	began := time.Now()
	f.await("its end", func() bool { return f.present("alice") == nil })
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("closed after %v", took)
	}
	if u := <-f.failed; !errors.Is(u.Err, gcpool.ErrSlow) || u.ID != "alice" {
		t.Errorf("reported: %s, %v", u.ID, u.Err)
	}
	expectOnlyWhole(t, alice)
}

func TestDeadlineEndsAStuckPlainWriteAndNothingFollowsIt(t *testing.T) {
	t.Parallel()
	f := newFixture(t, plain, false)
	alice := f.connect("alice") // and does not read
	conn := f.present("alice")
	ended := make(chan error)
	go func() {
		for {
			if _, err := conn.Write(block); err != nil {
				ended <- err
				return
			}
		}
	}()
	time.Sleep(50 * time.Millisecond) // the deadline may come while a write is stuck or before it
	conn.SetWriteDeadline(time.Now())
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatal("the write goes on")
	}
	if n, err := conn.Write(block); err == nil || n > 0 {
		t.Errorf("a write after the deadline: %d, %v", n, err)
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		expectOnlyWhole(t, alice)
	}()
	conn.Close() // there is room for a goodbye by now
	<-drained
}

// expectOnlyWhole reads what came: whole messages, and then the end of the connection,
// perhaps inside of one; never something else in its place.
func expectOnlyWhole(t *testing.T, ws *websocket.Conn) {
	t.Helper()
	for {
		_, r, err := ws.NextReader()
		if told := (*websocket.CloseError)(nil); errors.As(err, &told) && told.Code != websocket.CloseAbnormalClosure {
			t.Errorf("a close frame after a cut message: %v", err)
		}
		if err != nil {
			return
		}
		message, err := io.ReadAll(r)
		if rest := bytes.TrimSuffix(message, []byte("\n")); !bytes.HasPrefix(block, rest) || err == nil && len(rest) != len(block) {
			t.Errorf("a message has something else in it: %d bytes, %.20q", len(rest), rest[max(0, len(rest)-20):])
			return
		}
	}
}

// bodies returns how many lines stand in the functions with those names.
func bodies(t *testing.T, names []string) map[string]int {
	t.Helper()
	files, lines := token.NewFileSet(), make(map[string]int)
	for _, name := range []string{"gorilla.go", "coder.go", "gws.go", "gobwas.go", "melody.go"} {
		file, err := parser.ParseFile(files, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && slices.Contains(names, f.Name.Name) {
				lines[f.Name.Name] = files.Position(f.Body.Rbrace).Line - files.Position(f.Body.Lbrace).Line - 1
			}
		}
	}
	return lines
}
