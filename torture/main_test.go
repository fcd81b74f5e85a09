package torture

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// seeds runs a test in simulated time, once for each seed.
func seeds(t *testing.T, test func(t *testing.T, r *rand.Rand)) {
	t.Helper()
	base, n := setting("TORTURE_BASE", 0), setting("TORTURE_SEEDS", 1000)
	if testing.Short() {
		n = min(n, 50)
	}
	for seed := base; seed < base+n; seed++ {
		ok := t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, rand.New(rand.NewPCG(uint64(seed), 0))) })
		})
		if !ok {
			t.Fatalf("seed %d fails; replay: go test -run '%s/seed=%d$'", seed, t.Name(), seed)
		}
	}
}

func setting(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

// within fails the test if more than d has passed since start. Simulated time is exact; in real
// time, d must be generous.
func within(t *testing.T, what string, start time.Time, d time.Duration) {
	t.Helper()
	if took := time.Since(start); took > d {
		t.Errorf("%s after %v, want %v", what, took, d)
	}
}

// eventually polls in real time until ok returns true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			buf := make([]byte, 1<<20)
			t.Fatalf("never: %s\n%s", what, buf[:runtime.Stack(buf, true)])
		}
	}
}
