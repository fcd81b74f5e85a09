package adapters

import (
	"bytes"
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
)

var block = bytes.Repeat([]byte("0123456789abcdef"), 4<<10) // 64 KiB

func TestStalledPeerIsClosedInTimeAndDelaysNobody(t *testing.T) {
	t.Parallel()
	for _, lib := range libraries {
		t.Run(lib.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, lib.serve, gcpool.WithWriteTimeout(300*time.Millisecond))
			stalled, reader := b.connect("stalled"), b.connect("reader")
			go func() {
				for {
					if _, err := reader.next(); err != nil {
						return
					}
				}
			}()
			b.fill("stalled")
			began, worst := time.Now(), time.Duration(0)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			for b.present("stalled") != nil {
				before := time.Now()
				if err := b.stream.Deliver(ctx, "reader", []byte("are you there?")); err != nil {
					t.Fatalf("a push to another: %v", err)
				}
				worst = max(worst, time.Since(before))
			}
			took := time.Since(began)
			if u := <-b.failed; !errors.Is(u.Err, gcpool.ErrSlow) || u.ID != "stalled" {
				t.Errorf("reported: %s, %v", u.ID, u.Err)
			}
			if took > 5*time.Second || worst > 2*time.Second {
				t.Errorf("closed after %v; a push to another took up to %v", took, worst)
			}
			t.Logf("closed after %v; a push to another took up to %v", took, worst)
			stalled.expectOnlyWhole(t)
		})
	}
}

// fill pushes to a peer that does not read until its write is stuck.
func (b *bench) fill(id string) {
	b.await("a stuck write", func() bool {
		if b.pool.Stats()[0].WaitingBytes < 4*len(block) {
			b.stream.Add(id, block)
		}
		return b.pool.Stats()[0].Stalled > 0
	})
}

// expectOnlyWhole reads what came: whole messages, and then the end of the
// connection, perhaps inside of one; never something else in its place.
func (p *peer) expectOnlyWhole(t *testing.T) {
	t.Helper()
	for {
		f, err := p.next()
		switch {
		case err == nil && f.op == 1 && bytes.Equal(bytes.TrimSuffix(f.payload, []byte("\n")), block):
		case err == nil:
			t.Errorf("frame %d of %d bytes", f.op, len(f.payload))
			return
		default:
			if rest := bytes.Trim(f.payload, "\x00"); !bytes.HasPrefix(block, rest) {
				t.Errorf("the cut message has something else in it: %d bytes, %q", len(rest), rest[max(0, len(rest)-8):])
			}
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Logf("the end: %v", err) // a reset, where the server had unread bytes
			}
			return
		}
	}
}

func TestWriteDeadlineEndsAStuckWriteAndNothingFollowsIt(t *testing.T) {
	t.Parallel()
	for _, lib := range libraries {
		t.Run(lib.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, lib.serve)
			alice := b.connect("alice") // and does not read
			conn := b.present("alice")
			ended := make(chan error)
			go func() {
				for {
					if _, err := conn.Write(block); err != nil {
						ended <- err
						return
					}
				}
			}()
			// The deadline comes while the write is stuck, or before the next:
			// either has to end the loop.
			time.Sleep(50 * time.Millisecond) // not to wait for something: both are right
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
				alice.expectOnlyWhole(t)
			}()
			conn.Close() // there is room for its goodbye by now
			<-drained
		})
	}
}

func TestWriteDeadlineInThePastHoldsForTheNextWrite(t *testing.T) {
	t.Parallel()
	for _, lib := range libraries {
		t.Run(lib.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, lib.serve)
			b.connect("alice")
			conn := b.present("alice")
			conn.SetWriteDeadline(time.Now().Add(-time.Second))
			b.await("an error", func() bool { // coder's comes from a timer
				_, err := conn.Write([]byte("x"))
				return err != nil
			})
		})
	}
}

func TestAdaptersFitIn20Lines(t *testing.T) {
	t.Parallel()
	for _, lib := range libraries {
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, lib.name+".go", nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		lines := 0
		for _, decl := range file.Decls {
			if ours(decl, lib.name+"Conn") {
				lines += files.Position(decl.End()).Line - files.Position(decl.Pos()).Line + 1
			}
		}
		if lines == 0 || lines > 20 {
			t.Errorf("the adapter of %s has %d lines", lib.name, lines)
		}
	}
}

// ours reports whether decl is the type of that name, or a method of it.
func ours(decl ast.Decl, name string) bool {
	switch d := decl.(type) {
	case *ast.GenDecl:
		spec, ok := d.Specs[0].(*ast.TypeSpec)
		return ok && spec.Name.Name == name
	case *ast.FuncDecl:
		if d.Recv == nil {
			return false
		}
		star, ok := d.Recv.List[0].Type.(*ast.StarExpr)
		return ok && star.X.(*ast.Ident).Name == name
	}
	return false
}
