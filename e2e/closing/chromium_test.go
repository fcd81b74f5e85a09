package closing

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/chromedp/chromedp"
)

func TestChromium(t *testing.T) { closeAll(t, newChromium(t), round{few: 2}) }

func TestChromiumUnderTLS(t *testing.T) {
	closeAll(t, newChromium(t), round{few: 1, tls: true, takes: notifies})
}

// newChromium starts a browser, and returns a client that is a page in it.
func newChromium(t *testing.T) client {
	t.Helper()
	need(t, "chromium")
	source, err := os.ReadFile("closes.js")
	if err != nil {
		t.Fatal(err)
	}
	path, _ := exec.LookPath("chromium")
	allocator, stop := chromedp.NewExecAllocator(context.Background(),
		chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()),
		chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-background-timer-throttling", true),
		chromedp.Flag("disable-renderer-backgrounding", true),
		chromedp.Flag("ignore-certificate-errors", true), // httptest's is nobody's
		chromedp.WSURLReadTimeout(patience))
	t.Cleanup(stop)
	page, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	if err := chromedp.Do(page); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Run(page, chromedp.Evaluate[bool](string(source)+"; true")); err != nil {
		t.Fatal(err)
	}
	return func(t *testing.T, url string, n int, sends bool) []ending {
		ctx, cancel := context.WithTimeout(page, patience)
		defer cancel()
		call := fmt.Sprintf("closeAll(WebSocket, %q, %d, %t)", url, n, sends)
		endings, err := chromedp.Run(ctx, chromedp.Evaluate[[]ending](call, chromedp.EvalAwaitPromise))
		if err != nil {
			t.Errorf("chromium: %v", err)
		}
		return endings
	}
}
