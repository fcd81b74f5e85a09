package cluster

// A window knows which of the latest requests of one node have been taken, like the anti-replay
// window of RFC 4303. Unlike that window, it also refuses requests that come out of order: a
// delayed request must not be written after later ones.
type window struct {
	last  uint64   // the highest number taken or refused
	taken []uint64 // one bit for each of the last numbers; nil until one was taken
}

// size is how many numbers a window remembers.
const size = 65_536

func (w *window) bit(number uint64) (word *uint64, bit uint64) {
	return &w.taken[number%size/64], 1 << (number % 64)
}

// refuse makes the window refuse all requests up to number from now on.
func (w *window) refuse(number uint64) {
	if number > w.last && (w.taken == nil || number-w.last >= size) {
		clear(w.taken)
		w.last = number
	}
	for w.last < number {
		w.last++
		word, bit := w.bit(w.last)
		*word &^= bit
	}
}

// take takes a request, and reports whether it did. A request can be taken once, and only if its
// number is above all earlier numbers.
func (w *window) take(number uint64) bool {
	if number <= w.last {
		return false
	}
	w.refuse(number)
	if w.taken == nil {
		w.taken = make([]uint64, size/64)
	}
	word, bit := w.bit(number)
	*word |= bit
	return true
}

// never reports whether a request certainly was not taken, and never will be.
func (w *window) never(number uint64) bool {
	if number > w.last || w.last-number >= size {
		return false
	}
	if w.taken == nil {
		return true
	}
	word, bit := w.bit(number)
	return *word&bit == 0
}
