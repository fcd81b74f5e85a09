package metrics_test

import (
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool/metrics"
	"github.com/prometheus/client_golang/prometheus"
)

// BenchmarkCollect measures a scrape without the encoding.
func BenchmarkCollect(b *testing.B) {
	for _, pools := range []int{1, 100} {
		b.Run(fmt.Sprint("pools=", pools), func(b *testing.B) {
			names := make([]string, pools)
			for i := range names {
				names[i] = strconv.Itoa(i)
			}
			pool, _ := registered(b, names...)
			collector := metrics.NewCollector(pool)
			to := make(chan prometheus.Metric, 100)
			var wg sync.WaitGroup
			wg.Go(func() {
				for range to {
				}
			})
			b.ReportAllocs()
			for b.Loop() {
				collector.Collect(to)
			}
			close(to)
			wg.Wait()
		})
	}
}

// sink takes everything at once.
type sink struct{ net.Conn }

func (sink) Write(p []byte) (int, error) { return len(p), nil }

// BenchmarkAdd measures a push of 64 B, without scrapes and with a scrape at each interval.
// In production, an interval of 15 s is usual.
func BenchmarkAdd(b *testing.B) {
	for _, pause := range []time.Duration{0, time.Second, 100 * time.Millisecond, 10 * time.Millisecond} {
		name := fmt.Sprint("scraped=every-", pause)
		if pause == 0 {
			name = "scraped=never"
		}
		b.Run(name, func(b *testing.B) { benchmarkAdd(b, pause) })
	}
}

func benchmarkAdd(b *testing.B, pause time.Duration) {
	pool, registry := registered(b, "users")
	ids := make([]string, 1000)
	for i := range ids {
		ids[i] = strconv.Itoa(i)
		near, far := net.Pipe()
		b.Cleanup(func() { near.Close() })
		go io.Copy(io.Discard, far)
		if err := pool.GetConn("users").Add(ids[i], sink{near}); err != nil {
			b.Fatal(err)
		}
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	if pause > 0 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				case <-time.After(pause):
				}
				if _, err := registry.Gather(); err != nil {
					b.Error(err)
				}
			}
		})
	}
	stream, data := pool.GetStream("users"), make([]byte, 64)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := stream.Add(ids[i%len(ids)], data); err != nil {
			b.Fatal(err)
		}
	}
	close(done)
	wg.Wait()
}
