package del

import (
	"context"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
)

// kindsSeen returns the kinds for which the pool can see that a
// handler has returned, or those for which it cannot.
func kindsSeen(seen bool) []kind {
	return slices.DeleteFunc(slices.Clone(kinds), func(k kind) bool { return k.seen != seen })
}

// TestReturnsWithoutDel: x/net's connection is removed at the next heartbeat.
func TestReturnsWithoutDel(t *testing.T) {
	for _, k := range kindsSeen(true) {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			s := openSite(t, k, gcpool.WithHeartbeat(time.Minute)) // so long that silence does not count yet
			newPlayer(t, s).play(`
				1 connects: 1
				1 leaves & 1 returns & 1 is missed: nobody
				2 connects: 2
				2 leaves: 2
				2 dels: nobody`)
		})
	}
}

// TestReturnsWithoutDelAndIsReplaced: the heartbeat leaves the newer connection alone.
func TestReturnsWithoutDelAndIsReplaced(t *testing.T) {
	for _, k := range kindsSeen(true) {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			s := openSite(t, k, gcpool.WithHeartbeat(time.Second))
			newPlayer(t, s).play(`
				1 connects: 1
				1 leaves & 1 returns & 2 connects: 2
				2 is pinged: 2
				3 connects: 3
				2 returns: 3
				3 is pinged: 3
				3 logs out: nobody`)
		})
	}
}

// TestReturnsWithoutDelAndIsReplacedMeanwhile: the newer connection comes while the heartbeat
// checks whether the handler has returned.
func TestReturnsWithoutDelAndIsReplacedMeanwhile(t *testing.T) {
	t.Parallel()
	asked, replaced := make(chan bool, 1), make(chan bool)
	k := kind{name: "xnet", open: web(func(s *site) http.Handler {
		h := xnet(s)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.ServeHTTP(w, r.WithContext(slowContext{r.Context(), asked, replaced}))
		})
	})}
	p := newPlayer(t, openSite(t, k, gcpool.WithHeartbeat(time.Second)))
	p.play(`
		1 connects: 1
		1 leaves: 1`)
	p.visits[0].free()
	<-asked
	p.play("2 connects: 2")
	close(replaced)
	p.play(`
		2 is pinged: 2
		2 logs out: nobody`)
}

// A slowContext that has ended reports that only once the connection has been replaced.
type slowContext struct {
	context.Context
	asked, replaced chan bool
}

func (c slowContext) Err() error {
	err := c.Context.Err()
	if err != nil {
		select {
		case c.asked <- true:
		default:
		}
		<-c.replaced
	}
	return err
}

// TestReturnsWithoutDelAndNobodySees: the pool cannot see the handlers of other libraries, so
// their connections are removed when the next message fails.
func TestReturnsWithoutDelAndNobodySees(t *testing.T) {
	for _, k := range kindsSeen(false) {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			newPlayer(t, openSite(t, k)).play(`
				1 connects: 1
				1 leaves: 1
				1 returns: 1
				admin pushes & 1 is missed: nobody
				2 connects: 2
				2 leaves: 2
				2 dels: nobody`)
		})
	}
}
