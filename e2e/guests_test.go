package e2e

import (
	"encoding/json"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/websocket"
)

// guests are people without a browser, so that a picture can show
// more people than a machine has room for browsers.
type guests struct {
	t       *testing.T
	s       *server
	readers sync.WaitGroup
	conns   map[string]*websocket.Conn
}

func newGuests(t *testing.T, s *server, names ...string) *guests {
	t.Helper()
	c := &guests{t: t, s: s, conns: make(map[string]*websocket.Conn)}
	t.Cleanup(func() {
		for name := range c.conns {
			c.leave(name)
		}
		c.readers.Wait()
	})
	for _, name := range names {
		c.join(name, true)
	}
	return c
}

// join signs a person in. A person who does not read is a slow peer.
func (c *guests) join(name string, reads bool) {
	c.t.Helper()
	// The answer redirects to a page that shows the person's name;
	// the cookie comes with the redirect.
	client := http.Client{Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.PostForm(c.s.url+"/signin", url.Values{"name": {name}})
	if err != nil {
		c.t.Fatal(err)
	}
	answer.Body.Close()
	config, err := websocket.NewConfig(strings.Replace(c.s.url, "http", "ws", 1)+"/ws", c.s.url)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, cookie := range answer.Cookies() {
		config.Header.Add("Cookie", cookie.Name+"="+cookie.Value)
	}
	ws, err := websocket.DialConfig(config)
	if err != nil {
		c.t.Fatalf("%s: %v", name, err)
	}
	c.conns[name] = ws
	if reads {
		c.readers.Go(func() { io.Copy(io.Discard, ws) })
	}
}

func (c *guests) leave(name string) {
	c.conns[name].Close()
	delete(c.conns, name)
}

// send pushes a message from a person who is there.
func (c *guests) send(from, to, text string) {
	if ws := c.conns[from]; ws != nil {
		write(ws, to, text)
	}
}

func write(ws *websocket.Conn, to, text string) error {
	line, err := json.Marshal(map[string]any{"to": to, "text": text, "ref": 1})
	if err == nil {
		ws.SetWriteDeadline(time.Now().Add(patience))
		_, err = ws.Write(append(line, '\n'))
	}
	return err
}

// flood pushes more to a slow peer than the system's buffers take.
// The caller has to wait, and delays only itself.
func (c *guests) flood(from, to string) {
	c.t.Helper()
	c.join(to, false)
	c.join(from, true)
	ws := c.conns[from]
	c.readers.Go(func() {
		for range 160 {
			if write(ws, to, strings.Repeat("much ", 12_000)) != nil {
				return // the connection has ended
			}
		}
	})
}

// talk makes the guests talk for a while, sometimes more and sometimes less. People come and
// go, and in the middle one of them stops reading while much is pushed to her.
func (c *guests) talk(d time.Duration, names []string) {
	random := rand.New(rand.NewPCG(6, 455))
	who := func() string { return names[random.IntN(len(names))] }
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	began, away, stalled := time.Now(), "", false
	for now := began; now.Sub(began) < d; now = <-ticker.C {
		seconds := now.Sub(began).Seconds()
		for range int(6 + 4*math.Sin(seconds/15) + 3*random.Float64()) {
			c.send(who(), who(), strings.Repeat("word ", 5+random.IntN(40)))
		}
		switch {
		case random.IntN(60) == 0:
			c.send(who(), "", "To all of you")
		case away == "" && random.IntN(120) == 0:
			away = who()
			c.leave(away)
		case away != "" && random.IntN(40) == 0:
			c.join(away, true)
			away = ""
		}
		if middle := now.Sub(began) > d/2; middle && !stalled {
			stalled = true
			c.flood("Trent", "Tess")
		}
	}
	if away != "" {
		c.join(away, true)
	}
}
