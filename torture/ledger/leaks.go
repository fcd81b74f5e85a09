package ledger

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
	"weak"
)

// Resources are the resources that a process holds at one moment.
type Resources struct {
	Goroutines  int
	Descriptors int // -1 where the system does not report it
	Heap        uint64
}

// Measure returns what the process holds now. If collect is true, it
// first collects garbage three times, so that memory that others
// allocate between a collection and the measurement does not count.
func Measure(collect bool) Resources {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	heap := m.HeapAlloc
	for i := 0; collect && i < 3; i++ {
		runtime.GC()
		runtime.ReadMemStats(&m)
		heap = min(heap, m.HeapAlloc)
	}
	r := Resources{Goroutines: runtime.NumGoroutine(), Descriptors: -1, Heap: heap}
	if all, err := os.ReadDir("/proc/self/fd"); err == nil {
		r.Descriptors = len(all) - 1 // the directory itself
	}
	return r
}

// Left returns nil once no goroutine of the library is running and there are no more
// descriptors than before. If that takes longer than d, it returns an error that says what is
// left. For a timer that is left, see [Forgotten].
func Left(before Resources, d time.Duration) error {
	for end := time.Now().Add(d); ; time.Sleep(5 * time.Millisecond) {
		running := Running()
		now := Measure(false).Descriptors
		switch {
		case len(running) == 0 && now <= before.Descriptors:
			return nil
		case time.Now().Before(end):
		case len(running) > 0:
			return fmt.Errorf("ledger: %d goroutines of the library are left:\n%s", len(running), strings.Join(running, "\n\n"))
		default:
			return fmt.Errorf("ledger: %d descriptors are left of %d", now, before.Descriptors)
		}
	}
}

// Running returns the stacks of the goroutines that are inside the library.
func Running() (inside []string) {
	buf := make([]byte, 1<<20)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	for _, stack := range strings.Split(string(buf), "\n\n") {
		if strings.Contains(stack, "nulijiabei/gcpool.") || strings.Contains(stack, "nulijiabei/gcpool/internal/") {
			inside = append(inside, stack)
		}
	}
	return inside
}

// Forgotten returns a function that returns nil once the garbage collector has found v
// unreachable, or an error if that takes longer than d. A timer that has not been stopped keeps
// whatever it refers to, so a pool that is not forgotten after Shutdown has left a timer.
func Forgotten[T any](v *T) func(d time.Duration) error {
	w := weak.Make(v)
	return func(d time.Duration) error {
		for end := time.Now().Add(d); ; time.Sleep(10 * time.Millisecond) {
			if runtime.GC(); w.Value() == nil {
				return nil
			}
			if time.Now().After(end) {
				return fmt.Errorf("ledger: a %T is still referred to", (*T)(nil))
			}
		}
	}
}
