package del

import (
	"flag"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain runs many tests at once, for they wait more than they work.
func TestMain(m *testing.M) {
	flag.Parse()
	flag.Set("test.parallel", "16")
	goleak.VerifyTestMain(m)
}

const patience = 30 * time.Second // of a test for what should come at once

// await waits until what is awaited has happened.
func await(t *testing.T, what string, happened <-chan struct{}) {
	t.Helper()
	select {
	case <-happened:
	case <-time.After(patience):
		t.Errorf("never: %s", what)
	}
}

// eventually polls until ok, for what nothing tells of.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Errorf("never: %s", what)
			return
		}
	}
}
