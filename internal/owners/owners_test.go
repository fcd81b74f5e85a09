package owners

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// A step is an Add, or a Del that must or must not remove the present connection.
type step struct {
	Caller
	del, want bool
	late      bool // the Add of an older connection
}

func adds(goroutine uint64) step { return step{Caller: Caller{Goroutine: goroutine}} }

func del(goroutine, parent uint64, want bool) step {
	return step{Caller: Caller{Goroutine: goroutine, Parent: parent}, del: true, want: want}
}

func late(goroutine uint64) step { return step{Caller: Caller{Goroutine: goroutine}, late: true} }

// TestWhoseDel replays histories of one id. Goroutines 1 to 9 are handlers; 50 and
// above are not.
func TestWhoseDel(t *testing.T) {
	for name, history := range map[string][]step{
		"its own":                   {adds(1), del(1, 0, true)},
		"its read pump":             {adds(1), del(50, 1, true)},
		"a stranger":                {adds(1), del(50, 51, true)},
		"the zero Caller":           {adds(1), adds(0), adds(2), del(0, 0, true)},
		"nobody is there":           {del(50, 51, true)},
		"replaced, twice":           {adds(1), adds(2), del(1, 0, false), del(1, 0, false), del(2, 0, true)},
		"replaced, their pumps":     {adds(1), adds(2), del(50, 1, false), del(51, 1, false), del(52, 2, true)},
		"the old one after a kick":  {adds(1), adds(2), del(50, 51, true), del(1, 0, false), adds(3), del(1, 0, false), del(2, 0, false), del(3, 0, true)},
		"each its own":              {adds(1), adds(2), del(2, 0, true), adds(3), del(1, 0, false), del(2, 0, false), del(3, 0, true)},
		"once more after its own":   {adds(1), del(1, 0, true), adds(2), del(1, 0, false), del(50, 1, false), del(2, 0, true)},
		"the last first":            {adds(1), adds(2), adds(3), del(3, 0, true), del(2, 0, false), del(1, 0, false)},
		"the first hangs":           {adds(9), adds(1), adds(2), adds(3), del(9, 0, false), adds(4), del(9, 0, false), del(4, 0, true)},
		"a loop that reconnects":    {adds(1), del(1, 0, true), adds(1), del(50, 1, true), adds(1), del(51, 1, true)},
		"a loop that accepts":       {adds(1), adds(1), del(50, 1, false), del(51, 1, false)},
		"a hub":                     {adds(1), adds(1), del(1, 0, true), adds(1), adds(1), del(1, 0, true)},
		"a hub, and a handler":      {adds(1), adds(2), del(1, 0, false), adds(1), del(2, 0, false), del(1, 0, true)},
		"a handler that 1 started":  {adds(1), {Caller: Caller{Goroutine: 2, Parent: 1}}, del(2, 1, true), adds(3), del(2, 1, false)},
		"late":                      {adds(1), late(2), del(2, 0, false), del(50, 2, false), del(1, 0, true)},
		"late, of a hub":            {adds(1), late(1), del(1, 0, true)},
		"inside a connection":       {adds(1), adds(2), {Caller: Caller{Goroutine: 50, Inside: true}, del: true}, {Caller: Caller{Goroutine: 2, Inside: true}, del: true, want: true}},
		"inside the only one":       {adds(1), {Caller: Caller{Goroutine: 50, Inside: true}, del: true, want: true}},
		"a stranger that 1 started": {adds(1), adds(2), del(50, 1, false), del(2, 0, true)},
	} {
		var o List
		var present time.Duration
		for i, s := range history {
			if now := time.Duration(i + 1); !s.del {
				if o = o.Add(s.Goroutine, now); !s.late {
					present = now
				}
			} else if conn, stranger := o.Del(s.Caller); (stranger || conn == present && conn != 0) != s.want {
				t.Errorf("%s, step %d: %d is there; Del by %+v may remove %d, any: %v; want %v", name, i, present, s.Caller, conn, stranger, s.want)
			}
		}
	}
}

// added returns o with a goroutine that added a connection at the time of its own number.
func added(o List, goroutine uint64) List {
	return o.Add(goroutine, time.Duration(goroutine))
}

// TestOwnersAreBounded: owners that have left are forgotten first, so an owner that
// hangs is remembered for long.
func TestOwnersAreBounded(t *testing.T) {
	o := added(nil, 1)
	for g := range uint64(1000) {
		o = added(o, g+2)
		o.Del(Caller{Goroutine: g + 2})
	}
	if _, stranger := o.Del(Caller{Goroutine: 1}); stranger {
		t.Error("the first owner is forgotten after 1000 others have come and gone")
	}
	if len(o) > rememberedOwners+1 || cap(o) > 2*rememberedOwners {
		t.Errorf("%d owners in room for %d", len(o), cap(o))
	}
	for g := range uint64(3000) {
		o = added(o, 2000+g)
		if g < rememberedMost-1 {
			continue
		}
		if _, stranger := o.Del(Caller{Goroutine: 2000 + g - rememberedMost + 1}); stranger {
			t.Fatalf("an owner that hangs is forgotten after only %d more", rememberedMost-1)
		}
	}
	for g := range uint64(2 * rememberedMost) {
		o = added(o, 9000+g)
	}
	if len(o) != rememberedMost {
		t.Errorf("%d owners that hang, want %d", len(o), rememberedMost)
	}
}

// TestPastIsBounded: Past is bounded, and remembers an id's owners as of its last removal.
func TestPastIsBounded(t *testing.T) {
	p := NewPast()
	put := func(id string, goroutine uint64) {
		p.Put(id, added(p.Take(id), goroutine))
	}
	put("first", 1)
	for i := range uint64(rememberedIDs) {
		put("often", i+1)
		put(fmt.Sprint(i), 1)
	}
	if p.Take("0") == nil {
		t.Errorf("an id is forgotten after only %d more have gone", rememberedIDs-1)
	}
	for i := range 2 * rememberedIDs {
		put(fmt.Sprint("more", i), 1)
	}
	if len(p.young)+len(p.old) > 2*rememberedIDs {
		t.Errorf("%d ids are remembered", len(p.young)+len(p.old))
	}
	if p.Take("first") != nil || p.Take("often") != nil {
		t.Error("the oldest are not forgotten")
	}
	for i := range uint64(1000) {
		put("often", i+1)
	}
	if o := p.Take("often"); len(o) != rememberedAway || o[len(o)-1].goroutine != 1000 {
		t.Errorf("Past has %d owners of an id that came back often", len(o))
	}
	if p.Take("often") != nil {
		t.Error("an id that has come back is still among those that are away")
	}
}

// TestPastNotesADel: Past records a Del of an id that is away, because the loop that accepted
// the id's connection may add another for it.
func TestPastNotesADel(t *testing.T) {
	p := NewPast()
	p.Put("a", List{}.Add(1, 1))
	p.Del("a", Caller{Goroutine: 5, Parent: 1})
	o := p.Take("a").Add(1, 2)
	if conn, _ := o.Del(Caller{Goroutine: 6, Parent: 1}); conn != 2 {
		t.Errorf("a reader that its accepting loop has started removes %d: %v", conn, o)
	}
}

// TestWhoCalls: WhoCalls also works at the bottom of a deep stack. Goroutine finds the same.
func TestWhoCalls(t *testing.T) {
	here := WhoCalls()
	if here.Goroutine == 0 || here.Parent == 0 {
		t.Fatalf("a test is %+v", here)
	}
	if g := Goroutine(); g != here.Goroutine {
		t.Errorf("%+v is %d", here, g)
	}
	var child, deep, grand Caller
	var wg sync.WaitGroup
	wg.Go(func() {
		child = WhoCalls()
		deep = dive(500)
		done := make(chan bool)
		go func() {
			grand = WhoCalls()
			close(done)
		}()
		<-done
	})
	wg.Wait()
	if child.Parent != here.Goroutine || child.Goroutine == here.Goroutine || deep != child {
		t.Errorf("%+v has started %+v, which is %+v deep down", here, child, deep)
	}
	if grand.Parent != child.Goroutine {
		t.Errorf("%+v has started %+v", child, grand)
	}
}

//go:noinline
func dive(n int) Caller {
	if n == 0 {
		return WhoCalls()
	}
	c := dive(n - 1)
	return c
}

// TestWhoCallsTakesNoMemory: each Del calls it.
func TestWhoCallsTakesNoMemory(t *testing.T) {
	if n := testing.AllocsPerRun(1000, func() { WhoCalls() }); n > 0 {
		t.Errorf("%v allocations a call", n)
	}
}
