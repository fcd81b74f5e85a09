package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// patience is how long a test waits for anything: a machine may be slow and busy.
const patience = 45 * time.Second

// axeFile is axe-core, as installed by e2e/setup.sh.
const axeFile = "node_modules/axe-core/axe.min.js"

var update = flag.Bool("update", false, "write e2e/screenshots, of five minutes of traffic")

// All tests share the program that they drive, and the browser that they drive it with. They
// share one browser because it takes longer to start than most tests take to run. Each test has
// its own context in it, like a private window.
var (
	program string
	browser context.Context
)

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	flag.Parse()
	dir, err := os.MkdirTemp("", "gcpool-e2e-")
	if err != nil {
		return failed(err)
	}
	defer os.RemoveAll(dir)
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		return m.Run() // need says why there is nothing to do
	}
	if program, err = build(dir); err != nil {
		return failed(err)
	}
	allocator, stop := chromedp.NewExecAllocator(context.Background(),
		chromedp.ExecPath(chromium), chromedp.UserDataDir(filepath.Join(dir, "profile")),
		chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		// Tabs in the background are tested too.
		chromedp.Flag("disable-background-timer-throttling", true),
		chromedp.Flag("disable-backgrounding-occluded-windows", true),
		chromedp.Flag("disable-renderer-backgrounding", true),
		chromedp.WSURLReadTimeout(patience))
	defer stop()
	var cancel context.CancelFunc
	browser, cancel = chromedp.NewContext(allocator)
	defer cancel()
	if err := chromedp.Do(browser); err != nil {
		return failed(fmt.Errorf("chromium: %w", err))
	}
	return m.Run()
}

func failed(err error) int {
	fmt.Fprintln(os.Stderr, "e2e:", err)
	return 1
}

// build builds the example, with the race detector if the tests have it.
func build(dir string) (string, error) {
	program := filepath.Join(dir, "push.exe") // a name that every system can run
	args := []string{"build", "-o", program}
	if raceEnabled {
		args = append(args, "-race")
	}
	command := exec.Command("go", append(args, "github.com/nulijiabei/gcpool/examples/push")...)
	if out, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", command, err, out)
	}
	return program, nil
}

// need skips the test if there is no browser, or if one of the files is missing. If
// GCPOOL_REQUIRE_CLIENTS is 1, it fails instead.
func need(t *testing.T, files ...string) {
	t.Helper()
	uncached()
	missing := ""
	if browser == nil {
		missing = "chromium"
	}
	for _, name := range files {
		if _, err := os.Stat(name); err != nil {
			missing = name
		}
	}
	switch {
	case missing == "":
	case os.Getenv("GCPOOL_REQUIRE_CLIENTS") == "1":
		t.Fatalf("there is no %s here, and GCPOOL_REQUIRE_CLIENTS is 1; e2e/setup.sh installs it", missing)
	default:
		t.Skipf("there is no %s here; e2e/setup.sh installs it", missing)
	}
}

// uncached keeps the go command from reusing the result of an earlier run, because it does not
// know that the program under test, and its page, are inputs. It does rerun a test that has
// opened a very new file of its module, so uncached writes one. In a tree that cannot be
// written to, nothing can have changed.
func uncached() {
	const name = ".ran"
	if os.WriteFile(name, nil, 0o644) == nil {
		later := time.Now().Add(time.Hour)
		os.Chtimes(name, later, later)
	}
}
