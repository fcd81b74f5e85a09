package suite

import (
	"time"

	"github.com/nulijiabei/gcpool/bench/internal/peers"
	"github.com/nulijiabei/gcpool/bench/internal/server"
)

// Account returns the memory that a peer's server holds without connections, and with idle
// connections. If greet is set, each connection has received one message. The server records every
// allocation.
func Account(spec peers.Spec, users int, greet bool) (before, after server.Account, err error) {
	s, err := start(spec, 0, "GODEBUG=memprofilerate=1")
	if err != nil {
		return before, after, err
	}
	defer s.end()
	if err = s.server.call("Account", *nothing, &before); err != nil {
		return before, after, err
	}
	if err = s.connect(users, 0); err != nil {
		return before, after, err
	}
	if greet {
		_, err = s.load(server.Load{Size: 64, Burst: 1, Passes: 1, Producers: producers, Window: time.Minute})
		if err != nil {
			return before, after, err
		}
	}
	time.Sleep(300 * time.Millisecond) // some memory is released only after a while
	err = s.server.call("Account", *nothing, &after)
	return before, after, err
}
