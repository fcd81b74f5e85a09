package e2e

import (
	"bytes"
	"context"
	"image/png"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// pictureMax is the size limit of a picture: the README shows
// several, and the repository keeps every version forever.
const pictureMax = 150 << 10

// picture takes a picture. It writes the file only if asked to, so that a run of the tests
// leaves the tree as it is.
func (b *tab) picture(page string, l look) {
	b.t.Helper()
	b.look(l)
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	data, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Fatal(err)
	}
	name := filepath.Join("screenshots", page+"-"+l.name+".png")
	config, err := png.DecodeConfig(bytes.NewReader(data))
	if err != nil || int64(config.Width) != l.width || int64(config.Height) != l.height {
		b.t.Errorf("%s has %d x %d pixels instead of %d x %d: %v", name, config.Width, config.Height, l.width, l.height, err)
	}
	if len(data) > pictureMax {
		b.t.Errorf("%s has %d KiB", name, len(data)>>10)
	}
	if !*update {
		return
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// pictures takes all pictures of a page.
func (b *tab) pictures(page string, width, height int64) {
	b.t.Helper()
	for _, l := range []look{{"light", width, height, "light"}, {"dark", width, height, "dark"}, phone} {
		b.picture(page, l)
	}
}

func TestScreenshots(t *testing.T) {
	need(t)
	t.Parallel()
	s := newServer(t)
	names := []string{"Bob", "Carol", "Dave", "Erin", "Frank", "Grace"}
	people := newGuests(t, s, names...)
	alice := signedIn(t, s, "Alice")
	alice.awaitText("#count", "People connected: 7")
	d := dashboard(t, s)

	people.send("Bob", "", "The new version goes out at three.")
	alice.awaitMessage("Bob to everyone", "The new version goes out at three.")
	alice.pick("Bob")
	alice.push("Thanks! Shall I watch the dashboard?")
	alice.awaitOutcome("Thanks! Shall I watch the dashboard?", "delivered", "✓ Delivered.")
	people.send("Bob", "Alice", "Please do.\nGrace has the logs.")
	alice.awaitMessage("Bob", "Please do.\nGrace has the logs.")
	people.join("Heidi", true)
	alice.pick("Heidi")
	people.leave("Heidi")
	alice.awaitText(".person[aria-pressed=true]", "away")
	alice.push("Can you take over at five?")
	alice.awaitOutcome("Can you take over at five?", "failed", "✕ Not delivered. Heidi is not connected.")
	alice.pick("Grace")
	alice.do(chromedp.SendKeys(chromedp.CSS("#text"), "Is all well?"))
	alice.pictures("push", 1000, 680)

	// Half a second fills no chart, but runs all the code that does.
	while := 500 * time.Millisecond
	if *update {
		while = 5 * time.Minute
	}
	people.talk(while, names)
	d.await(moves("Messages"))
	if *update {
		d.awaitText("#history", "The last five minutes.")
	}
	d.pictures("dashboard", 1280, 956)
}
