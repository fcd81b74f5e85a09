package gcpool_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/nulijiabei/gcpool"
)

// What a server can do with each outcome of a message.
func Example_outcomes() {
	todo := func(err error) string {
		switch {
		case err == nil:
			return "written"
		case errors.Is(err, gcpool.ErrKept):
			return "waits in the mailbox; WithUndelivered reports it if it is not written in time"
		case errors.Is(err, gcpool.ErrNotConnected), errors.Is(err, gcpool.ErrDeleted), errors.Is(err, gcpool.ErrExpired):
			return "the user is away: store it"
		case errors.Is(err, gcpool.ErrSlow):
			return "the user does not read: store it"
		case errors.Is(err, gcpool.ErrClosed):
			return "this server is shutting down: let another one push it"
		case errors.Is(err, gcpool.ErrNotAccepted):
			return "not accepted in time: push it again later"
		case errors.Is(err, context.DeadlineExceeded): // in a cluster, cluster.ErrUncertain, too
			return "not known yet: do not push it again"
		case errors.Is(err, gcpool.ErrTooLarge):
			return "larger than WithOutbox: split it"
		}
		return err.Error()
	}
	pool := gcpool.NewPool(gcpool.WithOutbox(100))
	pool.Register("users")
	pool.Register("inbox", gcpool.WithMailbox(time.Hour, 1000))
	pool.Start()
	ctx, data := context.Background(), []byte("hello")
	fmt.Println(todo(pool.GetStream("users").Deliver(ctx, "bob", data)))
	fmt.Println(todo(pool.GetStream("inbox").Deliver(ctx, "bob", data)))
	fmt.Println(todo(pool.GetStream("users").Deliver(ctx, "bob", make([]byte, 101))))
	late, cancel := context.WithTimeout(ctx, 0)
	fmt.Println(todo(pool.GetStream("users").Deliver(late, "bob", data)))
	cancel()
	pool.Shutdown(ctx)
	fmt.Println(todo(pool.GetStream("users").Deliver(ctx, "bob", data)))
	// Output:
	// the user is away: store it
	// waits in the mailbox; WithUndelivered reports it if it is not written in time
	// larger than WithOutbox: split it
	// not accepted in time: push it again later
	// this server is shutting down: let another one push it
}

// Mistakes that a server must fix in its own code.
func Example_mistakes() {
	pool := gcpool.NewPool()
	pool.Register("users")
	fmt.Println(errors.Is(pool.Register("users"), gcpool.ErrRegistered))
	fmt.Println(errors.Is(pool.GetConn("usres").Add("alice", new(net.TCPConn)), gcpool.ErrNotRegistered))
	fmt.Println(errors.Is(pool.GetConn("users").Add("", new(net.TCPConn)), gcpool.ErrInvalid)) // no id
	// Output:
	// true
	// true
	// true
}

func ExampleOverflow() {
	pool := gcpool.NewPool()
	pool.Register("orders", gcpool.WithOverflow(gcpool.Disconnect)) // every order matters: the client comes back and asks for all
	pool.Register("prices", gcpool.WithOverflow(gcpool.DropOldest)) // only the newest matters
	pool.Register("hints", gcpool.WithOverflow(gcpool.DropNewest))  // no single one matters
	fmt.Println(len(pool.Stats()), "pools")
	// Output: 3 pools
}
