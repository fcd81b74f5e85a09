package del

import (
	"flag"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain runs many tests at once, because they mostly wait.
func TestMain(m *testing.M) {
	flag.Parse()
	flag.Set("test.parallel", "16")
	goleak.VerifyTestMain(m)
}

const patience = 30 * time.Second // for everything that should happen at once

// await waits until happened is closed.
func await(t *testing.T, what string, happened <-chan struct{}) {
	t.Helper()
	select {
	case <-happened:
	case <-time.After(patience):
		t.Errorf("never: %s", what)
	}
}

// eventually polls until ok returns true, when there is no event to wait for.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Errorf("never: %s", what)
			return
		}
	}
}
