// Package owners knows which goroutine added which connection, and therefore which connection a
// Del may remove.
package owners

import (
	"bytes"
	"hash/maphash"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"
)

const (
	// rememberedOwners is how many of the last owners of an id are always remembered.
	rememberedOwners = 16
	// rememberedMost bounds them together with older owners that have not called Del yet:
	// a thousand clients may connect at once as the same user.
	rememberedMost = 1024
	// rememberedAway bounds the owners of an id that is away.
	rememberedAway = 64
	// rememberedIDs is how many ids that are away one generation of Past remembers; there are two.
	rememberedIDs = 1 << 14
)

// An owner is the goroutine that added a connection.
type owner struct {
	goroutine uint64
	conn      time.Duration // when it added the connection; 0 after Left
}

// A List says who added the connections that an id has had, and when. No two connections have the
// same time. The number of a goroutine is never used again, so a List knows whose Del it is,
// however late the Del comes.
type List []owner

// Add returns o with goroutine as the owner of the connection added at the time conn. It forgets
// older owners that have left.
func (o List) Add(goroutine uint64, conn time.Duration) List {
	o = slices.DeleteFunc(o, func(x owner) bool { return x.conn == 0 && x.goroutine == goroutine })
	if older := len(o) - rememberedOwners + 1; older > 0 {
		kept := slices.DeleteFunc(o[:older], func(x owner) bool { return x.conn == 0 })
		o = append(kept, o[older:]...)
	}
	if len(o) == rememberedMost {
		o = slices.Delete(o, 0, 1)
	}
	return append(o, owner{goroutine, conn})
}

// Del notes that c calls Del. An owner, and a goroutine that it started, may remove the
// connection that the owner added, and no other. Del returns when that connection was added, or
// 0. Every other goroutine is a stranger, who may remove any connection. An owner of several
// connections counts as a stranger. A goroutine that such an owner started may belong to any of
// these connections, so it may remove none. Nor may a stranger inside the Close of a connection, if
// the id has had several: an earlier one may be closing. The zero Caller is a stranger.
func (o List) Del(c Caller) (conn time.Duration, stranger bool) {
	who := c.Parent
	if slices.ContainsFunc(o, func(x owner) bool { return x.goroutine == c.Goroutine }) {
		who = c.Goroutine
	}
	known, count := false, 0
	for _, x := range o {
		if x.goroutine == who && who != 0 {
			if known = true; x.conn != 0 {
				count, conn = count+1, x.conn
			}
		}
	}
	if count == 1 {
		o.Left(conn)
		return conn, false
	}
	return 0, !known && (!c.Inside || len(o) <= 1) || count > 1 && who == c.Goroutine
}

// Left notes that the connection added at the time conn was removed: by its owner's Del, by
// DelConn, or because its handler has returned.
func (o List) Left(conn time.Duration) {
	if i := slices.IndexFunc(o, func(x owner) bool { return x.conn == conn }); i >= 0 {
		o[i].conn = 0
	}
}

// Past remembers the owners of ids that are away, each in one of two generations. It knows an id
// by its hash, because the id may be long. The caller must hold a lock.
type Past struct {
	seed       maphash.Seed
	young, old map[uint64]List
}

// NewPast returns a Past that remembers no owners yet.
func NewPast() Past { return Past{seed: maphash.MakeSeed(), young: make(map[uint64]List)} }

// Put remembers the owners of an id that goes away.
func (p *Past) Put(id string, o List) {
	if len(p.young) >= rememberedIDs {
		p.old, p.young = p.young, make(map[uint64]List)
	}
	if n := len(o); n > 0 {
		p.young[maphash.String(p.seed, id)] = slices.Clone(o[max(0, n-rememberedAway):])
	}
}

// Del notes that c calls Del for an id that is away.
func (p *Past) Del(id string, c Caller) {
	_, o := p.find(id)
	o.Del(c)
}

// Take returns the owners of an id that comes back.
func (p *Past) Take(id string) List {
	key, o := p.find(id)
	delete(p.young, key)
	delete(p.old, key)
	return o
}

func (p *Past) find(id string) (key uint64, o List) {
	key = maphash.String(p.seed, id)
	if o = p.young[key]; o == nil {
		o = p.old[key]
	}
	return key, o
}

// A Caller is a goroutine and its parent, the goroutine that started it; 0 if there is none.
type Caller struct {
	Goroutine, Parent uint64
	Inside            bool // the pool closes a connection, whose Close calls the pool
}

// closers are the functions that call the Close of a connection.
var closers = [][]byte{[]byte("gcpool/internal/socket.Close("), []byte("gcpool/internal/transport.(*raw).Close(")}

// Goroutine returns the calling goroutine, in about 4 µs. It has a new goroutine look up its own
// parent, because the text of a stack takes over 1 µs for each frame, and the stack of a handler
// is long.
func Goroutine() uint64 {
	parent := make(chan uint64, 1)
	go func() { parent <- WhoCalls().Parent }()
	return <-parent
}

// WhoCalls returns the calling goroutine and its parent. Only the text of the stack has their
// numbers: the goroutine comes first, and its parent last. A goroutine that the pool started, such
// as the goroutine of the hooks, counts as having no parent.
func WhoCalls() Caller {
	buf := stacks.Get().(*[4 << 10]byte)
	defer stacks.Put(buf)
	text := buf[:]
	n := runtime.Stack(text, false)
	for ; n == len(text) && n < 1<<20; n = runtime.Stack(text, false) {
		text = make([]byte, 4*n)
	}
	text = text[:n]
	frames, start, _ := bytes.Cut(text, []byte("\ncreated by "))
	start, _, _ = bytes.Cut(start, []byte("\n"))
	inside := slices.ContainsFunc(closers, func(name []byte) bool { return bytes.Contains(frames, name) })
	if inside || bytes.HasPrefix(start, []byte("github.com/nulijiabei/gcpool/internal/tasks.(*Tasks).")) {
		start = nil
	}
	return Caller{number(text), number(start), inside}
}

var stacks = sync.Pool{New: func() any { return new([4 << 10]byte) }}

// number returns the number of the goroutine that a text names first, or 0 if it names none.
func number(text []byte) uint64 {
	_, text, _ = bytes.Cut(text, []byte("goroutine "))
	text, _, _ = bytes.Cut(text, []byte(" "))
	n, _ := strconv.ParseUint(string(text), 10, 64)
	return n
}
