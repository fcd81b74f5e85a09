package client

import (
	"io"
	"sync"
	"time"
)

// Visit says how many clients come and go, and for how long.
type Visit struct {
	Addr    string
	Clients int
	Window  time.Duration
}

// visitorUsers is how many users each client is, in turn.
const visitorUsers = 1000

// clientClose is a close frame with status 1000. A client masks it; its mask may be 0 (RFC 6455
// section 5.3).
var clientClose = []byte{closeFrame, 0x80 | 2, 0, 0, 0, 0, 1000 >> 8, 1000 & 0xff}

// Visit connects as one user after the other. Each says goodbye at once, and waits until the server
// has closed the connection. Visit returns how many users have come and gone.
func (k *Client) Visit(v Visit, count *int) error {
	var all sync.WaitGroup
	var first error
	end := time.Now().Add(v.Window)
	for i := range v.Clients {
		all.Go(func() {
			for n := 0; time.Now().Before(end); n++ {
				err := visit(v.Addr, i*visitorUsers+n%visitorUsers)
				k.mu.Lock()
				if *count++; err != nil && first == nil {
					first = err
				}
				k.mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	all.Wait()
	return first
}

func visit(addr string, user int) error {
	nc, err := dial(addr, user, false)
	if err != nil {
		return err
	}
	defer nc.Close()
	if err = nc.SetDeadline(time.Now().Add(20 * time.Second)); err == nil {
		_, err = nc.Write(clientClose)
	}
	if err == nil {
		_, err = io.Copy(io.Discard, nc)
	}
	return err
}
