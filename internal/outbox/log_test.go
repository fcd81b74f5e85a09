package outbox

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/nulijiabei/gcpool/internal/frame"
)

var text = Format{frame.Text, true}

func message(data string) *Message { return &Message{ID: "a", Data: []byte(data)} }

func texts(c *Chunk) (all []string) {
	for c := *c; c.Messages > 0; {
		m := c.Next()
		all = append(all, string(m.Data))
	}
	return all
}

// rest returns the messages that wait.
func rest(l *Log) (all []string) {
	for _, c := range l.chunks {
		all = append(all, texts(c)...)
	}
	return all
}

func same(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// TestPinnedBytesStay: nothing done to the log may change the bytes of a pinned chunk, because
// a write may be reading them.
func TestPinnedBytesStay(t *testing.T) {
	for name, do := range map[string]func(l *Log){
		"append": func(l *Log) { l.Append(message("next"), text, false) },
		"take":   func(l *Log) { l.Take() },
		"first":  func(l *Log) { l.First() },
		"sift": func(l *Log) {
			l.Sift(-1, func(*Message) error { return errors.New("no") }, func(*Chunk, error) {})
		},
		"abandon":  func(l *Log) { l.Abandon().Next() },
		"many":     func(l *Log) { fill(l, 10_000, text) },
		"abandon+": func(l *Log) { l.Abandon().Free(); fill(l, 10_000, text) },
	} {
		var l Log
		l.Append(message("pinned 1"), text, false)
		l.Append(message("pinned 2"), text, false)
		c := l.Pin(false)
		frames := c.Frames()
		before := bytes.Clone(frames)
		l.Append(message("behind"), text, false)
		do(&l)
		if !bytes.Equal(frames, before) {
			t.Errorf("%s has changed %q to %q", name, before, frames)
		}
	}
}

func fill(l *Log, n int, f Format) {
	for i := range n {
		l.Append(message(fmt.Sprint("message ", i)), f, false)
	}
}

// TestWhatAWriteLeavesComesFirst: the rest of a chunk waits again, ahead of messages that
// arrived during the write.
func TestWhatAWriteLeavesComesFirst(t *testing.T) {
	var l Log
	for _, data := range []string{"1", "2", "3"} {
		l.Append(message(data), text, false)
	}
	c := l.Pin(false)
	l.Append(message("4"), text, false)
	size := 2 + len("1\n")
	if took := c.NextSize(); took != size {
		t.Errorf("the first message takes %d bytes, want %d", took, size)
	}
	if m := c.Next(); string(m.Data) != "1" {
		t.Errorf("the first message is %q", m.Data)
	}
	l.Unpin(false)
	same(t, "waits", rest(&l), "2", "3", "4")
}

// TestPinAlone pins one message of a chunk. The message's frame must not change.
func TestPinAlone(t *testing.T) {
	var l Log
	fill(&l, 3, Format{frame.Binary, true})
	same(t, "pinned", texts(l.Pin(true)), "message 0")
	same(t, "waits", rest(&l), "message 1", "message 2")
	l.Unpin(false)
	same(t, "waits", rest(&l), "message 0", "message 1", "message 2")
	for i, c := range l.chunks {
		if op := c.Frames()[0] & 0xf; op != frame.Binary {
			t.Errorf("chunk %d begins with opcode %d", i, op)
		}
	}
}

// TestSiftKeepsTheOrder: the messages that stay keep their order and
// their receipts, even across chunks.
func TestSiftKeepsTheOrder(t *testing.T) {
	var l Log
	var told []string
	for i := range 6 {
		m := message(fmt.Sprint(i))
		m.FromRemote = i%2 == 0
		m.Receipt = &Receipt{Decide: func(error) func() { told = append(told, fmt.Sprint(i)); return nil }}
		if i == 3 {
			l.begin(1, true)
		}
		l.Append(m, text, false)
	}
	moved := errors.New("moved")
	removed := 0
	l.Sift(100, func(m *Message) error {
		if m.FromRemote {
			return moved
		}
		return nil
	}, func(c *Chunk, reason error) {
		if same(t, "removed", texts(c), fmt.Sprint(2*removed)); reason != moved {
			t.Errorf("removed for %v", reason)
		}
		removed++
	})
	same(t, "stay", rest(&l), "1", "3", "5")
	if removed != 3 {
		t.Errorf("%d were removed", removed)
	}
	for c := range slices.Values(l.chunks) {
		for c.Messages > 0 {
			m := c.Next()
			m.Receipt.Tell(nil)
		}
	}
	same(t, "told", told, "1", "3", "5")
}

// TestUnpinKeepsASmallChunk: Unpin keeps a small chunk as a spare, and only for a busy id.
func TestUnpinKeepsASmallChunk(t *testing.T) {
	for name, test := range map[string]struct {
		size       int
		keep, want bool
	}{
		"small":              {100, true, true},
		"small, of an idler": {100, false, false},
		"large":              {10_000, true, false},
	} {
		var l Log
		l.Append(message(string(make([]byte, test.size))), text, false)
		l.Pin(false).Next()
		l.Unpin(test.keep)
		if kept := l.spare != nil; kept != test.want || !l.Empty() {
			t.Errorf("%s: kept: %v", name, kept)
		}
		if l.FreeSpare(); l.spare != nil {
			t.Errorf("%s: FreeSpare leaves it", name)
		}
	}
}

// TestSpareIsOfTheLastWrite: a chunk whose messages were reported has no buffer left, and the
// chunk of a message that waited for its id has no room for another. Neither may stay as the
// spare in place of a chunk with room.
func TestSpareIsOfTheLastWrite(t *testing.T) {
	for name, before := range map[string]func(l *Log){
		"reported": func(l *Log) { l.Append(message("1"), text, false); l.Pin(false).First() },
		"waited":   func(l *Log) { l.Append(message("1"), text, true); l.Pin(false).Next() },
	} {
		var l Log
		before(&l)
		l.Unpin(true)
		l.Append(message("message 2"), text, false)
		l.Pin(false).Next()
		l.Unpin(true)
		if room := cap(l.spare.buf); room < 256 {
			t.Errorf("%s: the spare has room for %d bytes", name, room)
		}
	}
}

// TestFirstLetsGoOfMemory: the fewer messages are left of a chunk, the smaller it is.
func TestFirstLetsGoOfMemory(t *testing.T) {
	var l Log
	for i := 0; len(l.chunks) < 2; i++ {
		l.Append(message(fmt.Sprint("message ", i)), text, false)
	}
	for len(l.chunks) == 2 {
		if c := l.chunks[0]; cap(c.buf) > 5*len(c.Frames()) {
			t.Fatalf("%d bytes are left, in %d", len(c.Frames()), cap(c.buf))
		}
		l.First()
	}
}

// TestLogAgainstASlice: whatever is done to a log, its messages leave it once and in order, and
// its counts are those of the messages without an outcome.
func TestLogAgainstASlice(t *testing.T) {
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 0))
		var l Log
		var pinned, lost, waiting []string // messages without an outcome yet
		var taken []*Chunk                 // with the lost messages
		var chunk *Chunk                   // with the pinned messages
		asked := map[string]int{}          // how many receipts each message has
		settle := func(want *[]string, c *Chunk) {
			for _, got := range texts(c) {
				if len(*want) == 0 || (*want)[0] != got {
					t.Fatalf("seed %d: %q has left, want the first of %q", seed, got, *want)
				}
				*want = (*want)[1:]
			}
			l.Settled(c.Count)
		}
		settleLost := func() {
			for _, c := range taken {
				settle(&lost, c)
			}
			taken = nil
		}
		for i := range 200 {
			switch op := rng.IntN(10); {
			case op < 5:
				data := fmt.Sprint(i, " ", string(make([]byte, rng.IntN(1+rng.IntN(40_000)))))
				m := message(data)
				if rng.IntN(3) == 0 {
					m.Receipt, asked[data] = &Receipt{Decide: func(error) func() { return nil }}, 1
				}
				l.Append(m, text, rng.IntN(2) == 0)
				waiting = append(waiting, data)
			case op < 6 && len(pinned) == 0 && len(waiting) > 0:
				chunk = l.Pin(rng.IntN(2) == 0)
				n := len(texts(chunk))
				pinned, waiting = slices.Clone(waiting[:n]), waiting[n:]
			case op < 7 && len(pinned) > 0:
				for n := rng.IntN(len(pinned) + 1); n > 0; n-- {
					settle(&pinned, chunk.First())
				}
				settleLost()
				l.Unpin(false)
				pinned, waiting = nil, append(slices.Clone(pinned), waiting...)
			case op < 8 && len(pinned) > 0:
				taken = append(taken, l.Take()...)
				lost, waiting = append(lost, waiting...), nil
			case op < 9 && len(waiting) > 0:
				settle(&waiting, l.First())
			case op < 10 && len(pinned) > 0:
				settle(&pinned, l.Abandon())
				settleLost()
			}
			bytes, receipts, left := 0, 0, slices.Concat(pinned, lost, waiting)
			for _, data := range left {
				bytes += len(data)
				receipts += asked[data]
			}
			same(t, "waits", rest(&l), waiting...)
			if l.Bytes != bytes || l.Messages != len(left) || l.Receipts != receipts || l.Empty() != (len(left) == 0) {
				t.Fatalf("seed %d: %d bytes in %d messages with %d receipts, want %d, %d, %d", seed,
					l.Bytes, l.Messages, l.Receipts, bytes, len(left), receipts)
			}
		}
	}
}
