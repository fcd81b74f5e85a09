package closing

import (
	"strings"
	"testing"
)

// TestWithoutUpgrade tries what holds without Upgrade, where x/net's socket is out of reach: one
// close frame, with the right code, if the handler has a Del or a Close, and the socket is closed
// behind the client's answer. Only when the handler returns, x/net closes it at once, so a reset
// may follow; and Del waits no longer than 20 ms for the frame to be out, so on a busy machine a
// few may be lost.
func TestWithoutUpgrade(t *testing.T) {
	for _, r := range rows {
		for _, s := range shapes {
			returns := r.name == "handler returns"
			if len(s) == 0 && (r.name == "client closes" || returns) {
				continue
			}
			const n = 20
			c, right := &closure{row: r, library: plainXNet, shape: s}, 0
			endings := append(c.once(t, openRaw, n/2), c.once(t, openRaw, n/2)...)
			for _, e := range endings {
				once := e.Clean || returns && strings.HasPrefix(e.Why, oneFrame)
				if once && e.Code == c.want.Code && e.Reason == c.want.Reason {
					right++
				}
			}
			if right < n && !returns || right < n*3/4 {
				t.Errorf("%s: right in %d of %d: %+v", c, right, n, endings)
			}
		}
	}
}

// TestBrowsersWithoutUpgrade closes connections of pages that send all the time.
func TestBrowsersWithoutUpgrade(t *testing.T) {
	for name, open := range map[string]client{"Chromium": newChromium(t), "Firefox": newFirefox(t)} {
		for _, r := range rows {
			if r.name == "handler returns" {
				continue
			}
			c := &closure{row: r, library: plainXNet, shape: shape{"Del"}, sends: true}
			for _, e := range c.once(t, open, 10) {
				if e != c.want {
					t.Errorf("%s: %s: %+v, want %+v", name, c, e, c.want)
				}
			}
		}
	}
}
