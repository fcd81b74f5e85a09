package outbox

import (
	"bytes"
	"hash/maphash"
	"runtime"
	"slices"
	"strconv"
)

const (
	// rememberedOwners is how many owners of one id are remembered.
	rememberedOwners = 16
	// rememberedIDs is of how many ids that are away the owners are remembered, or of
	// up to twice as many.
	rememberedIDs = 1 << 14
)

// owners are the goroutines that added the connections of an id; the last one's is the
// present connection, if there is any. Goroutines have numbers that are never used again,
// so a Del can be told apart however late it comes.
type owners []uint64

// add returns o with a goroutine that has added a connection.
func (o owners) add(goroutine uint64) owners {
	if len(o) == rememberedOwners {
		o = slices.Delete(o, 0, 1)
	}
	return append(o, goroutine)
}

// remove reports whether a Del by c may remove the present connection. An owner, and a
// goroutine that it started, may remove the connection that it added and no other;
// everybody else may remove any. An owner of several is a stranger to each.
func (o owners) remove(c Caller) bool {
	who := c.Parent
	if slices.Contains(o, c.Goroutine) {
		who = c.Goroutine
	}
	i := slices.Index(o, who)
	return i < 0 || i == len(o)-1 || slices.Contains(o[i+1:], who)
}

// Past remembers the owners of ids that are away, each in one of two generations, by a
// hash of the id, which may be long. Its user locks it.
type Past struct {
	seed       maphash.Seed
	young, old map[uint64]owners
}

// Put remembers the owners of an id that goes away.
func (p *Past) Put(b *Box) {
	if p.young == nil {
		p.seed = maphash.MakeSeed()
	}
	if p.young == nil || len(p.young) >= rememberedIDs {
		p.old, p.young = p.young, make(map[uint64]owners)
	}
	if len(b.owners) > 0 {
		p.young[maphash.String(p.seed, b.ID)] = b.owners
	}
}

// take returns the owners of an id that comes back.
func (p *Past) take(id string) owners {
	if p.young == nil {
		return nil
	}
	key := maphash.String(p.seed, id)
	o := p.young[key]
	if o == nil {
		o = p.old[key]
	}
	delete(p.young, key)
	delete(p.old, key)
	return o
}

// A Caller is a goroutine, and the one that started it, 0 if there is none.
type Caller struct{ Goroutine, Parent uint64 }

// WhoCalls tells who calls. Only the text of the stack has it: there the goroutine stands
// first, and its parent last.
func WhoCalls() Caller {
	text := make([]byte, 4<<10)
	n := runtime.Stack(text, false)
	for ; n == len(text) && n < 1<<20; n = runtime.Stack(text, false) {
		text = make([]byte, 4*n)
	}
	_, start, _ := bytes.Cut(text[:n], []byte("\ncreated by "))
	start, _, _ = bytes.Cut(start, []byte("\n"))
	return Caller{number(text), number(start)}
}

// number returns the number of the goroutine that a text names first, 0 if it names none.
func number(text []byte) uint64 {
	_, text, _ = bytes.Cut(text, []byte("goroutine "))
	digits := bytes.IndexFunc(append(text, ' '), func(r rune) bool { return r < '0' || r > '9' })
	n, _ := strconv.ParseUint(string(text[:max(0, digits)]), 10, 64)
	return n
}
