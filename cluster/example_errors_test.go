package cluster_test

import (
	"errors"
	"fmt"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/cluster"
)

// What a sender can do about the outcome from Deliver, AddFunc or WithUndelivered.
func Example_outcomes() {
	for _, err := range []error{nil, gcpool.ErrNotConnected, cluster.ErrUncertain} {
		switch {
		case err == nil:
			fmt.Println("written, here or on another node")
		case errors.Is(err, cluster.ErrUncertain):
			fmt.Println("maybe written: send it again only if the client drops what it has")
		default:
			fmt.Println("not written: send it again later")
		}
	}
	// Output:
	// written, here or on another node
	// not written: send it again later
	// maybe written: send it again only if the client drops what it has
}
