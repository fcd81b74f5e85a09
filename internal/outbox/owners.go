package outbox

import (
	"bytes"
	"runtime"
	"slices"
	"strconv"
)

const (
	// rememberedOwners is how many owners of one id are remembered.
	rememberedOwners = 16
	// rememberedIDs is of how many ids that are away the owners are remembered.
	rememberedIDs = 1 << 14
)

// An owner is the goroutine that added a connection.
type owner struct {
	goroutine uint64
	left      bool // it, or one that it started, has called Del since
}

// owners added the connections that an id has had; the last one's is the present
// connection, if there is any. Goroutines have numbers that are never used again, so
// a Del can be told apart however late it comes.
type owners []owner

// add returns o with c, who has added a connection. If there are too many, the oldest
// that has left is forgotten.
func (o owners) add(c Caller) owners {
	o = slices.DeleteFunc(o, func(x owner) bool { return x.left && x.goroutine == c.goroutine })
	if len(o) == rememberedOwners {
		i := max(0, slices.IndexFunc(o, func(x owner) bool { return x.left }))
		o = slices.Delete(o, i, i+1)
	}
	return append(o, owner{goroutine: c.goroutine})
}

// del notes that c calls Del, and reports whether it may remove the present connection.
// An owner and those that it started may remove the connection that it added, and no
// other; everybody else may remove any. An owner of several connections is a stranger to
// each; those that it started may belong to any, and remove none.
func (o owners) del(c Caller) bool {
	who := c.parent
	if slices.ContainsFunc(o, func(x owner) bool { return x.goroutine == c.goroutine }) {
		who = c.goroutine
	}
	known, count, last := false, 0, 0
	for i, x := range o {
		if x.goroutine == who {
			if known = true; !x.left {
				count, last = count+1, i
			}
		}
	}
	if count == 1 {
		o[last].left = true
	}
	return !known || count == 1 && last == len(o)-1 || count > 1 && who == c.goroutine
}

// Past remembers the owners of ids that are away. Its user locks it.
type Past struct {
	ids   map[string]past
	order []string // a ring
	next  int
}

type past struct {
	owners
	slot int // in order
}

// Put remembers the owners of an id that goes away.
func (p *Past) Put(b *Box) {
	if len(b.owners) == 0 {
		return
	}
	if p.ids == nil {
		p.ids = make(map[string]past)
	}
	if len(p.order) < rememberedIDs {
		p.order = append(p.order, "")
	}
	if old := p.order[p.next]; p.ids[old].slot == p.next {
		delete(p.ids, old)
	}
	p.order[p.next] = b.ID
	p.ids[b.ID] = past{b.owners, p.next}
	p.next = (p.next + 1) % rememberedIDs
}

// Del notes that c calls Del for an id that is away.
func (p *Past) Del(id string, c Caller) { p.ids[id].del(c) }

// take returns the owners of an id that comes back.
func (p *Past) take(id string) owners {
	o := p.ids[id].owners
	delete(p.ids, id)
	return o
}

// A Caller is the goroutine that calls, and the one that started it, 0 if there is none.
type Caller struct{ goroutine, parent uint64 }

// WhoCalls tells who calls. Only the text of the stack has it: there the goroutine stands
// first, and its parent last.
func WhoCalls() (c Caller) {
	text := make([]byte, 4<<10)
	n := runtime.Stack(text, false)
	for ; n == len(text) && n < 1<<20; n = runtime.Stack(text, false) {
		text = make([]byte, 4*n)
	}
	text = text[:n]
	c.goroutine = number(text)
	if _, start, ok := bytes.Cut(text, []byte("\ncreated by ")); ok {
		start, _, _ = bytes.Cut(start, []byte("\n"))
		c.parent = number(start[max(0, bytes.LastIndex(start, []byte("goroutine "))):])
	}
	return c
}

// number returns the number in a text that begins with "goroutine 7", 0 if it does not.
func number(text []byte) uint64 {
	text, ok := bytes.CutPrefix(text, []byte("goroutine "))
	if i := bytes.IndexByte(text, ' '); i >= 0 {
		text = text[:i]
	}
	n, err := strconv.ParseUint(string(text), 10, 64)
	if !ok || err != nil {
		return 0
	}
	return n
}
