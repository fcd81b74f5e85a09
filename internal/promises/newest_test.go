package promises

import (
	"fmt"
	"net"
	"testing"

	"github.com/nulijiabei/gcpool"
)

// A witness is a cluster that has nobody else, and counts what it is told.
type witness struct {
	slowCluster
	conns *gcpool.ConnPool
	told  map[string]net.Conn // what an id had when it changed; of one goroutine
}

func (w witness) Changed(_, id string) {
	w.conns.Get(id, func(conn net.Conn) error {
		w.told[id] = conn
		return nil
	})
}

// TestClusterIsToldBeforeAddReturns: of two processes, that which added its
// connection last tells of it last, or the older one would win. A new connection and
// a takeover are told by Add itself, not on a goroutine that may run late.
func TestClusterIsToldBeforeAddReturns(t *testing.T) {
	p, conns, _ := started(t)
	w := witness{conns: conns, told: map[string]net.Conn{}}
	if err := p.SetCluster(w); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		for _, what := range []string{"new connection", "takeover"} {
			id := fmt.Sprint(i)
			ours, peer := net.Pipe()
			defer peer.Close()
			if err := conns.Add(id, ours); err != nil {
				t.Fatal(err)
			}
			if w.told[id] != ours {
				t.Fatalf("Add of %s %s has returned, and the cluster knows of %v", what, id, w.told[id])
			}
		}
	}
}
