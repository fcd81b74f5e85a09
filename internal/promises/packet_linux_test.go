package promises

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
)

// TestUnixPacketsKeepTheirBoundaries: on a Unix socket that does not stream, each message is
// one packet, however many have gathered and however long it is.
func TestUnixPacketsKeepTheirBoundaries(t *testing.T) {
	for network, connect := range map[string]func(t *testing.T) (ours, peer net.Conn){
		"unixpacket": unixpacket,
		"unixgram":   unixgram,
	} {
		t.Run(network, func(t *testing.T) {
			p := gcpool.NewPool(gcpool.WithNewline(false))
			p.Register(name)
			ours, peer := connect(t)
			if err := p.GetConn(name).Add("a", ours); err != nil {
				t.Fatal(err)
			}
			want := []string{"one", "two", strings.Repeat("3", 20_000), "four"}
			for _, data := range want { // the messages gather until Start
				add(t, p.GetStream(name), "a", data)
			}
			p.Start()
			peer.SetReadDeadline(time.Now().Add(20 * time.Second))
			var got []string
			for buf := make([]byte, 1<<16); len(got) < len(want); {
				n, err := peer.Read(buf)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, string(buf[:n]))
			}
			equal(t, "packets", got, want)
			if err := shutdown(p, 20*time.Second); err != nil {
				t.Error(err)
			}
		})
	}
}

func unixpacket(t *testing.T) (ours, peer net.Conn) {
	l, err := net.Listen("unixpacket", filepath.Join(t.TempDir(), "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if peer, err = net.Dial("unixpacket", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	if ours, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return ours, peer
}

func unixgram(t *testing.T) (ours, peer net.Conn) {
	at := &net.UnixAddr{Name: filepath.Join(t.TempDir(), "socket"), Net: "unixgram"}
	peer, err := net.ListenUnixgram("unixgram", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	if ours, err = net.DialUnix("unixgram", nil, at); err != nil {
		t.Fatal(err)
	}
	return ours, peer
}
