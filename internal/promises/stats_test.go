package promises

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestStatsOfConnections: each snapshot of Stats is consistent.
func TestStatsOfConnections(t *testing.T) {
	pool, conns, _ := started(t)
	end := time.Now().Add(300 * time.Millisecond)
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			for time.Now().Before(end) {
				s, c := net.Pipe()
				conns.Add(fmt.Sprint(n), s)
				conns.Del(fmt.Sprint(n))
				c.Close()
			}
		})
	}
	for time.Now().Before(end) {
		if s := pool.Stats()[0]; uint64(s.Connections) != s.Joins-s.Leaves || s.Connections < 0 || s.Connections > 4 {
			t.Fatalf("%d connections, %d joins, %d leaves", s.Connections, s.Joins, s.Leaves)
		}
	}
	wg.Wait()
}

// TestStatsKnowWhatDeliverReturned: Stats counts an outcome before Deliver returns it.
func TestStatsKnowWhatDeliverReturned(t *testing.T) {
	t.Parallel()
	p, c, s := started(t)
	late := 0
	for range 500 {
		pipe(t, c, "a")
		go func() {
			time.Sleep(50 * time.Microsecond)
			c.Del("a")
		}()
		s.Deliver(context.Background(), "a", []byte("x"))
		if st := p.Stats()[0]; st.Waiting != 0 {
			late++
		}
	}
	if late > 0 {
		t.Errorf("%d times Stats still counted a message as waiting after its Deliver had returned", late)
	}
}

// TestLatencyIsThatOfASample: the latency of one write in 64 is measured, from Add to
// the end of the write.
func TestLatencyIsThatOfASample(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, conns, stream := started(t)
		peer := bufio.NewReader(pipe(t, conns, "a"))
		time.Sleep(time.Hour)
		const samples = 5
		for range samples * 64 {
			outcome := make(chan error, 1)
			go func() { outcome <- stream.Deliver(t.Context(), "a", []byte("x")) }()
			time.Sleep(3 * time.Millisecond)
			lines(t, peer, 1)
			if err := <-outcome; err != nil {
				t.Fatal(err)
			}
		}
		s, want := p.Stats()[0], [16]uint64{5: samples} // element 5 is for up to 3.2 ms
		if s.Latency != want || s.LatencySum != samples*3*time.Millisecond {
			t.Errorf("%d samples of each size, %v in all; want %d, of 3 ms", s.Latency, s.LatencySum, samples)
		}
	})
}
