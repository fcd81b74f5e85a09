package libraries

import (
	"flag"
	"net"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain lets all libraries run a test at once, because most tests mostly wait.
func TestMain(m *testing.M) {
	flag.Parse()
	flag.Set("test.parallel", strconv.Itoa(len(libraries)))
	goleak.VerifyTestMain(m)
}

const patience = 30 * time.Second // for everything that should happen at once

// eventually polls until ok returns true, when there is no event to wait for.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// grace is how long the pool waits for the client at the end of a connection: for room for the
// close frame, and for its answer. No option sets it.
const grace = time.Second

// attempts repeats an attempt that failed and took so long that the machine may have held up
// the client beyond grace. A faster failure fails the test, and so do three failures.
func attempts(t *testing.T, attempt func() error) {
	t.Helper()
	for n := 1; ; n++ {
		start := time.Now()
		err := attempt()
		if err == nil {
			return
		}
		if took := time.Since(start); took < grace*9/10 || n == 3 {
			t.Fatalf("after %v, attempt %d: %v", took, n, err)
		}
	}
}

// each runs a test for each library.
func each(t *testing.T, test func(t *testing.T, lib library)) {
	t.Helper()
	for _, lib := range libraries {
		t.Run(lib.name, func(t *testing.T) { test(t, lib) })
	}
}

// listenOnce makes the runtime open the descriptors that come with the first socket.
func listenOnce(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}
