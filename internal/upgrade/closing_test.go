package upgrade

import (
	"errors"
	"net"
	"testing"

	"github.com/nulijiabei/gcpool/internal/frame"
)

// TestClosing walks the table of lives and the table of who has sent a close frame.
func TestClosing(t *testing.T) {
	say := func(by writer) func(*closing) {
		return func(c *closing) { _, _ = c.say([]byte(close1000), by) }
	}
	goodbye, answer := say(pool), say(library)
	closes := func(c *closing) { goodbye(c); c.ask(true) } // as End does
	mute := func(c *closing) { c.ask(false) }
	over := func(c *closing) { c.hears(silent) }
	peer := func(c *closing) { c.hears(began) }
	out := func(c *closing) { c.leaves(true) }
	untold := func(c *closing) { c.leaves(false) }
	late := func(c *closing) { c.hears(overdue) }
	shut := func(c *closing) { c.shut(false, true) }
	early := func(c *closing) { c.shut(false, false) }
	fails := func(c *closing) { c.shut(true, true) }
	cut := func(c *closing) { c.cut = errors.New("cut") }
	gone := func(c *closing) { c.fails(errors.New("gone"), true) }
	unread := func(c *closing) { c.abandoned = true }
	kill := func(c *closing) { c.life = ended }
	type moves []struct {
		event func(*closing)
		life  life
		said  writer
	}
	for what, walk := range map[string]moves{
		"closed, and the peer answers":          {{closes, ending, pool}, {out, answering, pool}, {peer, shutting, pool}, {shut, ended, pool}},
		"closed, and the peer only closes":      {{closes, ending, pool}, {out, answering, pool}, {over, shutting, pool}, {shut, ended, pool}},
		"closed, and the peer is late":          {{closes, ending, pool}, {out, answering, pool}, {late, shutting, pool}, {shut, lingering, pool}, {over, ended, pool}},
		"closed, and our frame is late":         {{closes, ending, pool}, {late, ending, pool}, {out, shutting, pool}, {early, lingering, pool}, {peer, ended, pool}},
		"closed, and the library answers":       {{closes, ending, pool}, {answer, ending, pool}, {out, answering, pool}},
		"closed twice":                          {{closes, ending, pool}, {closes, ending, pool}, {out, answering, pool}, {mute, answering, pool}},
		"closed before the handshake is over":   {{closes, ending, pool}, {untold, shutting, pool}, {shut, lingering, pool}},
		"the peer has closed before":            {{over, alive, nobody}, {closes, ending, pool}, {out, shutting, pool}, {shut, ended, pool}},
		"the peer closes before our frame":      {{closes, ending, pool}, {over, ending, pool}, {out, shutting, pool}, {shut, ended, pool}},
		"our side cannot be shut":               {{closes, ending, pool}, {out, answering, pool}, {late, shutting, pool}, {fails, ended, pool}},
		"shut after the end":                    {{kill, ended, nobody}, {out, ended, nobody}, {shut, ended, nobody}, {closes, ended, nobody}},
		"nothing was said, nor is to be":        {{mute, ended, nobody}},
		"a frame was cut":                       {{cut, alive, nobody}, {closes, ended, nobody}},
		"a frame is cut before the close frame": {{closes, ending, pool}, {cut, ending, pool}, {out, shutting, pool}, {shut, ended, pool}},
		"the library closes first":              {{answer, alive, library}, {over, ending, library}, {out, shutting, library}, {shut, ended, library}},
		"the peer closes, the library answers":  {{over, alive, nobody}, {answer, ending, library}},
		"goodbye, and the peer and it answer":   {{goodbye, alive, pool}, {over, alive, pool}, {answer, ending, library}},
		"goodbye, and it answers before":        {{goodbye, alive, pool}, {answer, alive, library}, {over, ending, library}},
		"goodbye, and nobody answers":           {{goodbye, alive, pool}, {mute, ending, pool}, {out, shutting, pool}, {shut, ended, pool}},
		"goodbye after the library's":           {{answer, alive, library}, {goodbye, alive, library}},
		"the library closes, the pool does not": {{answer, alive, library}, {mute, ending, library}, {out, answering, library}, {late, shutting, library}, {shut, lingering, library}},
		"the peer begins, and has all":          {{peer, alive, nobody}, {answer, ending, library}, {out, shutting, library}, {shut, ended, library}},
		"the peer begins, and has not all yet":  {{peer, alive, nobody}, {answer, ending, library}, {out, shutting, library}, {early, lingering, library}, {over, ended, library}},
		"the peer begins, the pool answers":     {{peer, alive, nobody}, {closes, ending, pool}, {out, shutting, pool}, {early, lingering, pool}, {over, ended, pool}},
		"the peer goes":                         {{gone, parted, nobody}, {closes, parted, nobody}, {peer, parted, nobody}, {over, ended, nobody}},
		"the peer goes behind our frame":        {{closes, ending, pool}, {gone, ending, pool}, {out, shutting, pool}, {shut, ended, pool}},
		"the peer goes, and the library closes": {{gone, parted, nobody}, {closes, parted, nobody}, {unread, ended, nobody}},
		"the peer goes, and nobody reads":       {{unread, alive, nobody}, {gone, ended, nobody}},
		"killed":                                {{kill, ended, nobody}, {over, ended, nobody}, {answer, ended, nobody}},
	} {
		var c closing
		for i, step := range walk {
			step.event(&c)
			if life := c.move(); life != step.life || c.said != step.said {
				t.Errorf("%s: after %d events its life is %d, said by %d; want %d, %d", what, i+1, life, c.said, step.life, step.said)
			}
		}
	}
}

// TestOneCloseFrameIsSent: one close frame is sent, and nothing after it.
func TestOneCloseFrameIsSent(t *testing.T) {
	ping := frame.Append(nil, frame.Ping, nil, false)
	for _, first := range []writer{pool, library} {
		var c closing
		for i, f := range [][]byte{ping, frame.StatusNormal.Frame(), ping, frame.StatusGoingAway.Frame()} {
			for _, by := range []writer{first, pool + library - first} {
				send, err := c.say(f, by)
				if want := i == 0 || i == 1 && by == first; send != want || err != nil {
					t.Errorf("frame %d, said by %d, is sent: %v, %v", i, by, send, err)
				}
			}
		}
	}
}

func TestRefusals(t *testing.T) {
	broken := errors.New("broken")
	for _, test := range []struct {
		what          string
		now           closing
		speech        string // written by the library
		phase         phase
		library, pool error
	}{
		{"alive", closing{}, "", response, nil, nil},
		{"cut for good", closing{cut: broken}, "", frames, broken, broken},
		{"ended", closing{life: ended}, "", frames, net.ErrClosed, net.ErrClosed},
		{"ending before the response", closing{life: ending, said: pool}, "", response, net.ErrClosed, net.ErrClosed},
		{"after the library's close frame", closing{said: library}, "", frames, errCloseSent, errCloseSent},
		{"after the pool's", closing{said: pool}, "", frames, errCloseSent, errCloseSent},
		{"after the pool's, inside the library's frame", closing{said: pool}, "\x81\x03ab", frames, nil, errCloseSent},
		{"after the pool's, before the response", closing{said: pool}, "", response, nil, errCloseSent},
	} {
		s := speech{phase: test.phase}
		s.wrote([]byte(test.speech))
		if l, p := test.now.refusal(library, &s), test.now.refusal(pool, &s); l != test.library || p != test.pool {
			t.Errorf("%s: the library gets %v, the pool gets %v", test.what, l, p)
		}
	}
}

// TestWhatComesIsDropped: incoming bytes are dropped once the close
// has begun, unless the library waits for them.
func TestWhatComesIsDropped(t *testing.T) {
	for _, test := range []struct {
		what  string
		now   closing
		drops bool
	}{
		{"alive", closing{}, false},
		{"alive, and the handler has returned", closing{abandoned: true}, false},
		{"goodbye", closing{said: pool}, false},
		{"the pool closes", closing{life: ending, said: pool}, true},
		{"the library closes", closing{life: ending, said: library}, false},
		{"the library closes, its handler has returned", closing{life: ending, said: library, abandoned: true}, true},
		{"ended", closing{life: ended, said: pool, abandoned: true}, false},
	} {
		if drops := test.now.drops(); drops != test.drops {
			t.Errorf("%s: dropped is %v", test.what, drops)
		}
	}
}
