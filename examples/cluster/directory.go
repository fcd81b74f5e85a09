package main

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/cluster"
	"github.com/nulijiabei/gcpool/examples/push/page"
)

const (
	most   = 100         // people in a list: each one on another node costs a question
	asking = 8           // questions at once
	answer = time.Second // how long a list may take
)

var errAway = errors.New("NATS is unreachable")

// A directory asks all nodes who is connected.
type directory struct {
	member *cluster.Node
	pool   *gcpool.Pool
	nc     *nats.Conn
}

// People implements [page.Directory].
func (d *directory) People(ctx context.Context) (page.List, error) {
	ctx, cancel := context.WithTimeout(ctx, answer)
	defer cancel()
	names, err := d.names(ctx)
	all := make([]page.Person, 0, len(names))
	for name := range names {
		all = append(all, page.Person{Name: name})
	}
	page.Sort(all)
	l := page.List{People: all[:min(len(all), most)], More: max(0, len(all)-most)}
	found, e := d.find(ctx, l.People)
	l.People = found
	return l, errors.Join(err, e)
}

// names returns who is connected.
func (d *directory) names(ctx context.Context) (map[string]bool, error) {
	names := map[string]bool{}
	if !d.nc.IsConnected() { // no node would answer
		for name := range d.pool.GetConn(page.Pool).All() {
			names[name] = true
		}
		return names, errAway
	}
	var errs []error
	for name, err := range d.member.Online(ctx, page.Pool) {
		if err != nil {
			errs = append(errs, err)
		} else {
			names[name] = true
		}
	}
	return names, errors.Join(errs...)
}

// find returns all people with their nodes, except those who have left meanwhile.
func (d *directory) find(ctx context.Context, all []page.Person) ([]page.Person, error) {
	errs := make([]error, len(all))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(asking, len(all)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(all); i = int(next.Add(1)) - 1 {
				all[i].Node, errs[i] = d.member.Where(ctx, page.Pool, all[i].Name)
			}
		})
	}
	wg.Wait()
	found := all[:0]
	for i, who := range all {
		if errors.Is(errs[i], gcpool.ErrNotConnected) && d.nc.IsConnected() {
			errs[i] = nil
			continue
		}
		found = append(found, who)
	}
	return found, errors.Join(errs...)
}
