package fuzz

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"golang.org/x/net/websocket"
)

// FuzzMessages pushes any payload to any id, with each kind of connection and with none. The
// payload must arrive unchanged, arrive nowhere else, and be reported unchanged.
func FuzzMessages(f *testing.F) {
	for _, id := range []string{"", "a", "a\x00", "a\r\nSet-Cookie: x", "\x1b[2J", "\xff\xfe", "日本", strings.Repeat("i", 5000)} {
		for _, data := range []string{"", "\n", "a\nb\n\n", "\x00\xff", "{}", strings.Repeat("x", 66000)} {
			f.Add(id, []byte(data))
		}
	}
	f.Fuzz(func(t *testing.T, id string, data []byte) {
		if len(data) > most {
			t.Skip("too long")
		}
		bubble(t, func(t *testing.T) { messages(t, id, data) })
	})
}

func messages(t *testing.T, id string, data []byte) {
	r := newRig(nil, func(r *rig, ws *websocket.Conn) {
		own := id + ws.Request().URL.Path
		r.conns.Add(own, ws)
		defer r.conns.Del(own)
		io.Copy(io.Discard, ws)
	})
	defer r.end(t)
	plain, upgraded := r.collect(r.dial(t, "/plain")), r.collect(r.dial(t, "/upgraded"))
	raw := r.raw(t, id+"/raw")
	synctest.Wait()
	for _, to := range []string{"/plain", "/upgraded", "/raw", "/nobody"} {
		buf := bytes.Clone(data)
		if err := r.stream.Add(id+to, buf); err != nil {
			t.Errorf("Add: %v", err)
		}
		clear(buf) // buf belongs to the caller
		err := r.stream.Deliver(context.Background(), id+to, data)
		if to != "/nobody" && err != nil || to == "/nobody" && err == nil {
			t.Errorf("Deliver to %q: %v", id+to, err)
		}
		if err != nil {
			r.failed++
		}
	}
	want := append(bytes.Clone(data), '\n')
	equal(t, "the plain one got", plain(), [][]byte{want, want})
	equal(t, "the upgraded one got", upgraded(), [][]byte{want, want})
	equal(t, "the raw one got", [][]byte{raw()}, [][]byte{append(bytes.Clone(want), want...)})
	if len(r.reports) != 1 || r.reports[0].ID != id+"/nobody" || !bytes.Equal(r.reports[0].Data, data) {
		t.Errorf("reported: %.200q, want %.100q to %.100q", r.reports, data, id+"/nobody")
	}
	if err := r.stream.Add("", data); err == nil {
		t.Error("an empty id was accepted")
	}
}
