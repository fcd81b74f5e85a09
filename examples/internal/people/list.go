package people

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/nulijiabei/gcpool"
)

const (
	// peoplePause is the least time between two lists of who is connected here, and
	// clusterPause in a cluster, where a list takes questions to the other nodes.
	peoplePause  = 100 * time.Millisecond
	clusterPause = 250 * time.Millisecond
	// look is how often a cluster is asked: nobody tells who comes and goes elsewhere.
	look = time.Second
)

// A Directory knows who is connected.
type Directory interface {
	// People returns who is connected. With an error, it is who could be found.
	People(ctx context.Context) (List, error)
}

// A List is who is connected.
type List struct {
	People []Person // sorted by name
	More   int      // how many are left out, for there are too many
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

// mark has everybody told who is connected, soon.
func (s *Server) mark() {
	select {
	case s.changed <- struct{}{}:
	default: // one list will do for this change as well
	}
}

// announce pushes the list of who is connected to everybody after each change,
// but not more often than the pause allows: many who come at once are one list.
func (s *Server) announce(ctx context.Context) {
	directory, pause := s.config.Directory, clusterPause
	var looks <-chan time.Time
	if directory == nil {
		directory, pause = here{s.conns}, peoplePause
	} else {
		ticker := time.NewTicker(look)
		defer ticker.Stop()
		looks = ticker.C
	}
	for {
		changed := true
		select {
		case <-s.changed:
		case <-looks:
			changed = false
		case <-ctx.Done():
			return
		}
		if s.conns.Len() > 0 { // else there is nobody to tell
			s.announceNow(ctx, directory, changed)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// announceNow pushes one list, unless it is as the last one and nothing has
// changed here, as somebody coming who has no list yet. It is not Broadcast
// because that waits for those who are slow; here they get the next list.
func (s *Server) announceNow(ctx context.Context, directory Directory, changed bool) {
	list := encode(s.list(directory.People(ctx)))
	if !changed && bytes.Equal(list, s.last) {
		return
	}
	s.last = list
	for name := range s.conns.All() {
		soon, cancel := context.WithTimeout(ctx, peoplePause)
		if s.stream.AddContext(soon, name, list) != nil {
			s.mark()
		}
		cancel()
	}
}

// list returns what the page gets.
func (s *Server) list(l List, err error) people {
	p := people{Kind: "people", Names: []string{}, More: l.More, Partial: err != nil, Node: s.config.Node}
	for _, who := range l.People {
		p.Names = append(p.Names, who.Name)
		if s.config.Node != "" {
			p.On = append(p.On, who.Node)
		}
	}
	return p
}
