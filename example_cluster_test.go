package gcpool_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/nulijiabei/gcpool"
)

// A pair is the smallest cluster: two pools that know each other. Over a network,
// package github.com/nulijiabei/gcpool/cluster does this with NATS.
type pair struct{ here, there *gcpool.Pool }

// Changed makes the other side close its connection of a user who is now here, and forward the
// messages that it has kept for the user.
func (p pair) Changed(pool, id string) {
	err := p.here.GetConn(pool).Get(id, func(net.Conn) error { return nil })
	if err != nil {
		return // the user has gone
	}
	var old net.Conn
	_ = p.there.GetConn(pool).Get(id, func(conn net.Conn) error { old = conn; return nil })
	gcpool.NewLocal(p.there).Evict(pool, id, old)
	gcpool.NewLocal(p.there).Appeared(pool, id)
}

// Forward sends one message at a time, and waits for its outcome. A better implementation would
// hand over the whole batch.
func (p pair) Forward(pool, id string, batch [][]byte, done func([]error)) {
	outcomes := make([]error, len(batch))
	for i := range batch {
		outcome := make(chan []error, 1)
		taken, err := gcpool.NewLocal(p.there).Receive(pool, id, batch[i:i+1], func(errs []error) { outcome <- errs })
		switch {
		case taken == 1:
			outcomes[i] = (<-outcome)[0]
		case errors.Is(err, gcpool.ErrMoved): // not there either
			outcomes[i] = gcpool.ErrNotConnected
		default:
			outcomes[i] = err
		}
	}
	done(outcomes)
}

// Broadcast sends data to the connections of the other side.
func (p pair) Broadcast(pool string, data []byte) error {
	_, err := gcpool.NewLocal(p.there).Receive(pool, "", [][]byte{data}, nil)
	return err
}

func ExampleCluster() {
	left, right := gcpool.NewPool(), gcpool.NewPool()
	for _, pool := range []*gcpool.Pool{left, right} {
		pool.Register("users")
		pool.Start()
	}
	left.SetCluster(pair{left, right})
	right.SetCluster(pair{right, left})

	server, alice := net.Pipe()
	right.GetConn("users").Add("alice", server)
	read := make(chan string)
	go func() {
		line, _ := bufio.NewReader(alice).ReadString('\n')
		read <- line
	}()
	err := left.GetStream("users").Deliver(context.Background(), "alice", []byte("from the left"))
	fmt.Printf("%q %v\n", <-read, err)
	// Output: "from the left\n" <nil>
}
