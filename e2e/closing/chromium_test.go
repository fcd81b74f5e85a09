package closing

import (
	"context"
	_ "embed"
	"fmt"
	"os/exec"
	"testing"

	"github.com/chromedp/chromedp"
)

func TestChromium(t *testing.T) { closeAll(t, newChromium(t), round{few: 2}) }

func TestChromiumUnderTLS(t *testing.T) {
	closeAll(t, newChromium(t), round{few: 1, tls: true, takes: notifies})
}

// newChromium starts a browser, and returns a client that uses a page in it.
func newChromium(t *testing.T) client {
	t.Helper()
	need(t, "chromium")
	path, _ := exec.LookPath("chromium")
	allocator, stop := chromedp.NewExecAllocator(context.Background(),
		chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()),
		chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-background-timer-throttling", true),
		chromedp.Flag("disable-renderer-backgrounding", true),
		chromedp.Flag("ignore-certificate-errors", true), // httptest's certificate is self-signed
		chromedp.WSURLReadTimeout(patience))
	t.Cleanup(stop)
	page, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	if err := chromedp.Do(page); err != nil {
		t.Fatal(err)
	}
	return func(t *testing.T, url string, n int, sends bool) []ending {
		ctx, cancel := context.WithTimeout(page, patience)
		defer cancel()
		endings, err := chromedp.Run(ctx, chromedp.Evaluate[[]ending](closingScript(url, n, sends), chromedp.EvalAwaitPromise))
		if err != nil {
			t.Errorf("chromium: %v", err)
		}
		return endings
	}
}

//go:embed closes.js
var closesJS string

// closingScript returns a script for a page, which yields a promise of the endings.
func closingScript(url string, n int, sends bool) string {
	return closesJS + fmt.Sprintf("closeAll(WebSocket, %q, %d, %t)", url, n, sends)
}
