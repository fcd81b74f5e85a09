package page

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/nulijiabei/gcpool"
)

const (
	// peoplePause is the shortest time between two lists of who is connected here.
	// clusterPause is that time in a cluster, where a list asks the other nodes.
	peoplePause  = 100 * time.Millisecond
	clusterPause = 250 * time.Millisecond
	// look is how often a cluster is asked, because there are no events for people who come and go
	// on other nodes.
	look = time.Second
)

// A Directory knows who is connected.
type Directory interface {
	// People returns who is connected. With an error, some people may be missing.
	People(ctx context.Context) (List, error)
}

// A List is who is connected.
type List struct {
	People []Person // sorted by name
	More   int      // how many are left out, because there are too many
}

// A Person is somebody who is connected.
type Person struct {
	Name string
	Node string // "" for a server alone, or if it is not known
}

// Sort sorts people by name.
func Sort(people []Person) {
	slices.SortFunc(people, func(a, b Person) int { return cmp.Compare(a.Name, b.Name) })
}

// here is the Directory of a server alone.
type here struct{ conns *gcpool.ConnPool }

func (h here) People(context.Context) (List, error) {
	var l List
	for name := range h.conns.All() {
		l.People = append(l.People, Person{Name: name})
	}
	Sort(l.People)
	return l, nil
}

// Changed asks for a new list. It does not wait.
func (p *Page) Changed() {
	select {
	case p.changed <- struct{}{}:
	default: // the next list includes this change
	}
}

// Announce pushes the list of who is connected to everybody after each change, until ctx ends. It
// pauses between two lists, so that many people who come at once cause one list.
func (p *Page) Announce(ctx context.Context, conns *gcpool.ConnPool, stream *gcpool.StreamPool) {
	pause := peoplePause
	var looks <-chan time.Time
	if p.config.Directory != nil {
		ticker := time.NewTicker(look)
		defer ticker.Stop()
		looks, pause = ticker.C, clusterPause
	}
	for {
		changed := true
		select {
		case <-p.changed:
		case <-looks:
			changed = false
		case <-ctx.Done():
			return
		}
		if conns.Len() > 0 { // otherwise there is nobody to tell
			p.announce(ctx, conns, stream, changed)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// announce pushes one list, unless it is the same as the last one and nothing has changed
// here: somebody who has just come has no list yet. It does not use Broadcast, which waits
// for slow people; here they get the next list.
func (p *Page) announce(ctx context.Context, conns *gcpool.ConnPool, stream *gcpool.StreamPool, changed bool) {
	list := encode(p.list(p.directory(conns).People(ctx)))
	if !changed && bytes.Equal(list, p.last) {
		return
	}
	p.last = list
	for name := range conns.All() {
		soon, cancel := context.WithTimeout(ctx, peoplePause)
		if stream.AddContext(soon, name, list) != nil {
			p.Changed()
		}
		cancel()
	}
}

// list returns the line that a browser gets.
func (p *Page) list(l List, err error) people {
	all := people{Kind: "people", Names: []string{}, More: l.More, Partial: err != nil, Node: p.config.Node}
	for _, who := range l.People {
		all.Names = append(all.Names, who.Name)
		if p.config.Node != "" {
			all.On = append(all.On, who.Node)
		}
	}
	return all
}
