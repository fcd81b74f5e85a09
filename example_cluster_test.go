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

// Changed has the other side let go of a user who is here now, and send what it
// kept for him.
func (p pair) Changed(pool, id string) {
	err := p.here.GetConn(pool).Get(id, func(net.Conn) error { return nil })
	if err != nil {
		return // has gone
	}
	var old net.Conn
	_ = p.there.GetConn(pool).Get(id, func(conn net.Conn) error { old = conn; return nil })
	gcpool.NewLocal(p.there).Evict(pool, id, old)
	gcpool.NewLocal(p.there).Appeared(pool, id)
}

// Forward waits for each outcome. A better one hands over all of the batch.
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

// Broadcast is for the connections of the other side.
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
