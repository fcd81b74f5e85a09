package stripes

import (
	"sync"
	"testing"
	"unsafe"
)

// TestLinesAreNotShared: each stripe has a cache line of its own.
func TestLinesAreNotShared(t *testing.T) {
	if a, b := unsafe.Sizeof(RWMutex{}), unsafe.Sizeof(Tally{}); a != number*lineSize || b != number*lineSize {
		t.Errorf("%d and %d bytes", a, b)
	}
}

// TestGoroutinesHaveStripes: many goroutines use all stripes.
func TestGoroutinesHaveStripes(t *testing.T) {
	var mu sync.Mutex
	var counts [number]int
	var counted, all sync.WaitGroup
	hold := make(chan struct{}) // keeps all stacks in use at the same time
	counted.Add(64 * number)
	for range 64 * number {
		all.Go(func() {
			stripe := mine()
			mu.Lock()
			counts[stripe]++
			mu.Unlock()
			counted.Done()
			<-hold
		})
	}
	counted.Wait()
	close(hold)
	all.Wait()
	for i, n := range counts {
		if n == 0 || n > 4*64 {
			t.Errorf("stripe %d has %d goroutines of %d", i, n, 64*number)
		}
	}
}

// TestRWMutexExcludes: no reader and no other writer may see a half-finished change.
func TestRWMutexExcludes(t *testing.T) {
	var mu RWMutex
	var a, b int
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 2000 {
				mu.Lock()
				a++
				b++
				mu.Unlock()
			}
		})
		all.Go(func() {
			for range 20_000 {
				reading := mu.RLock()
				if a != b {
					t.Errorf("%d and %d", a, b)
				}
				reading.RUnlock()
			}
		})
	}
	all.Wait()
	if a != 8000 || b != 8000 {
		t.Errorf("%d and %d, want 8000", a, b)
	}
}

// TestTallyCountsAll: concurrent counts of many goroutines add up.
func TestTallyCountsAll(t *testing.T) {
	var tally Tally
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			for range 100 {
				tally.Add(2, 30)
			}
		})
	}
	all.Wait()
	if messages, bytes := tally.Read(); messages != 20_000 || bytes != 300_000 {
		t.Errorf("%d messages of %d bytes", messages, bytes)
	}
}
