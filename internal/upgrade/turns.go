package upgrade

import "slices"

// writer says who writes to the socket of a Conn. Only one writes at a time, and the next begins
// where a frame has ended:
//
//	nobody   -> library    its message is open; or the pool had the last turn, or does not wait
//	nobody   -> pool       no message is open, and the library had the last turn, or does not wait
//	any      -> controls   control frames may be due
//	controls -> nobody     none is due, or none may be written now
type writer uint8

const (
	nobody writer = iota
	pool
	library
	controls
)

// turns decides who writes next. It has no lock and no clock; see Conn.acquire and release.
type turns struct {
	turn    writer
	last    writer   // the writer that took the turn last
	waiting [2]int32 // how many wait for the turn, by writer-1
	due     [][]byte // control frames that wait for the end of a frame
}

// take gives w the turn if it is free and w may have it. The writer that had it last lets the
// other go first. between says that no message of the library is open. While one is open, only
// the library may have the turn.
func (t *turns) take(w writer, between bool) bool {
	others := library + pool - w
	first := t.last != w || t.waiting[others-1] == 0
	if t.turn != nobody || w == pool && !between || between && !first {
		return false
	}
	t.turn, t.last = w, w
	return true
}

// put queues a control frame. Of each kind only the newest waits, except that a pool's frame
// never replaces another: the library expects an answer to the payload of its own ping.
func (t *turns) put(f []byte, by writer) {
	same := func(other []byte) bool { return other[0]&0xf == f[0]&0xf }
	if by == pool && slices.ContainsFunc(t.due, same) {
		return
	}
	t.due = append(slices.DeleteFunc(t.due, same), f)
}
