package outbox

import (
	"testing"
)

// TestChunkIsNotMuchLarger: a new chunk is not much larger than the message that it is made for.
func TestChunkIsNotMuchLarger(t *testing.T) {
	for n := 1; n < 200_000; n += n/10 + 1 {
		if c := newChunk(n, false); cap(c.buf) < n || cap(c.buf) > max(2*n, 16<<10) {
			t.Errorf("a chunk for %d bytes has %d", n, cap(c.buf))
		}
	}
}
