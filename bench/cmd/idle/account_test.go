package main

import (
	"os"
	"testing"

	"github.com/nulijiabei/gcpool/bench/internal/peers"
	"github.com/nulijiabei/gcpool/bench/internal/suite"
)

func TestMain(m *testing.M) {
	if suite.Child(os.Args) {
		return
	}
	os.Exit(m.Run())
}

func TestTheAccountKnowsNearlyEveryByte(t *testing.T) {
	const users = 500
	for _, name := range []string{"gcpool", "gws+gcpool", "coder"} {
		t.Run(name, func(t *testing.T) {
			spec, err := peers.Find(name)
			if err != nil {
				t.Fatal(err)
			}
			before, after, err := suite.Account(spec, users, true)
			if err != nil {
				t.Fatal(err)
			}
			a := newAccount(name, users, before, after)
			if a.sum < 4<<10 {
				t.Errorf("a connection takes %.0f B, less than its socket and its stack", a.sum)
			}
			if other := a.bytes[rest]; other > a.sum/20 || other < -a.sum/20 {
				t.Errorf("%.0f B of %.0f B are in no group", other, a.sum)
			}
		})
	}
}

func TestAnAllocationBelongsToTheInnermostFunctionWithARule(t *testing.T) {
	for whose, frames := range map[string][]string{
		"library": {"runtime.newobject:1", "net/url.parse:443", "golang.org/x/net/websocket.Origin:548", root + ".(*upgraded).serve:223"},
		"Upgrade": {"bufio.NewReaderSize:57", root + ".(*upgraded).Hijack:308", "golang.org/x/net/websocket.Server.serveWebSocket:74"},
		"pool":    {root + "/internal/delivery.NewRecipient:48", root + ".(*ConnPool).Add:83", root + "/bench/internal/peers.join:41"},
		"handler": {"runtime.makeslice:117", root + "/bench/internal/peers.scanLines:71", root + ".(*upgraded).serve:223"},
		"":        {"somebody.Else:1"},
	} {
		if g, ok := groupOf(frames); !ok || g.whose != whose {
			t.Errorf("%v is %q's", frames, g.whose)
		}
	}
	if _, ok := groupOf([]string{"encoding/gob.(*encBuffer).WriteString:60", root + "/bench/internal/suite.serve:1"}); ok {
		t.Error("what the account takes to be sent counts")
	}
}
