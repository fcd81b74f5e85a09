package delivery

import (
	"testing"
	"unsafe"

	"github.com/nulijiabei/gcpool/internal/backlog"
	"github.com/nulijiabei/gcpool/internal/owners"
)

// TestNoCacheLineIsShared: two processors that push to two ids must
// not share a cache line that both write to. Such false sharing costs
// a tenth of the throughput, and no other test would notice.
func TestNoCacheLineIsShared(t *testing.T) {
	const line = 64
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("laid out for processors of 64 bits")
	}
	g := newGroup(backlog.Config{})
	if at := uintptr(unsafe.Pointer(&g.Accepted)) % line; at > line-16 {
		t.Errorf("a tally begins at byte %d of a cache line, and ends in the next one", at)
	}
	for range 100 {
		r := NewRecipient(&g.Shared, "a", owners.List{})
		if at := uintptr(unsafe.Pointer(r)) % line; at != 0 || unsafe.Sizeof(*r) != 3*line {
			t.Fatalf("a Recipient of %d bytes begins at byte %d of a cache line", unsafe.Sizeof(*r), at)
		}
	}
}
