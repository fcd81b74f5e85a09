package server

import (
	"runtime"
	"strconv"
)

// Account is the memory that the process holds after a garbage collection.
type Account struct {
	Sites      []Site
	Heap       int64          // bytes of all objects
	Stacks     int64          // bytes
	Goroutines map[string]int // by the function that they began with
}

// Site is a call stack that allocated memory which is still in use.
type Site struct {
	Frames         []string // functions with their lines, the innermost first
	Bytes, Objects int64
}

// Account accounts for the memory in use. Start the process with
// GODEBUG=memprofilerate=1; otherwise Sites is only a sample.
func (s *Server) Account(_ struct{}, r *Account) error {
	live()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	r.Heap, r.Stacks = int64(m.HeapAlloc), int64(m.StackInuse)
	records := make([]runtime.MemProfileRecord, 100_000)
	n, _ := runtime.MemProfile(records, false)
	for _, rec := range records[:n] {
		r.Sites = append(r.Sites, Site{frames(rec.Stack()), rec.InUseBytes(), rec.InUseObjects()})
	}
	r.Goroutines = make(map[string]int)
	goroutines := make([]runtime.StackRecord, 100_000)
	n, _ = runtime.GoroutineProfile(goroutines)
	for _, g := range goroutines[:n] {
		all := runtime.CallersFrames(g.Stack())
		for first, more := "", true; ; {
			var f runtime.Frame
			if f, more = all.Next(); f.Function != "runtime.goexit" {
				first = f.Function
			}
			if !more {
				r.Goroutines[first]++
				break
			}
		}
	}
	return nil
}

func frames(stack []uintptr) (names []string) {
	all := runtime.CallersFrames(stack)
	for {
		f, more := all.Next()
		names = append(names, f.Function+":"+strconv.Itoa(f.Line))
		if !more {
			return names
		}
	}
}
