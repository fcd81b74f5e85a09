package gcpool_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

// asked returns a request to a host, from a page of an origin.
func asked(host, origin string) *http.Request {
	req := httptest.NewRequest(http.MethodGet, "/", nil)
	req.Host = host
	if origin != "" {
		req.Header.Set("Origin", origin)
	}
	return req
}

// origins has the expected verdicts on pages of other hosts; the request is always to example.com.
var origins = []struct {
	hosts  string // the arguments of AllowOrigins
	origin string
	ok     bool
}{
	{"", "https://example.com", true}, // the host itself
	{"", "https://app.example.net", false},
	{"app.example.net", "https://example.com", true},
	{"app.example.net", "https://app.example.net", true},
	{"app.example.net", "http://app.example.net", true}, // TLS may end in front
	{"APP.example.net", "https://app.EXAMPLE.net", true},
	{"app.example.net", "https://app.example.net:8443", false},
	{"app.example.net", "https://example.net", false},
	{"app.example.net", "https://app.example.net.evil.example", false},
	{"app.example.net", "https://app.example.net@evil.example", false},
	{"app.example.net", "https://my-app.example.net", false},
	{"app.example.net:8443", "https://app.example.net:8443", true},
	{"app.example.net:8443", "https://app.example.net", false},
	{"app.example.net:443", "https://app.example.net", true},
	{"app.example.net:443", "http://app.example.net", false},
	{"app.example.net:80", "http://app.example.net", true},
	{"*.example.net", "https://app.example.net", true},
	{"*.example.net", "https://a.b.example.net", true},
	{"*.example.net", "https://example.net", false},
	{"*.example.net", "https://evilexample.net", false},
	{"*.example.net", "https://app.example.net:8443", false},
	{"*.example.net", "https://example.net.evil.example", false},
	{"*.example.net:8443", "https://app.example.net:8443", true},
	{"*.example.net:8443", "https://app.example.net", false},
	{"localhost:5173", "http://localhost:5173", true},
	{"192.0.2.1", "http://192.0.2.1", true},
	{"192.0.2.1", "http://192.0.2.11", false},
	{"[::1]:8080", "http://[::1]:8080", true},
	{"[::1]:8080", "http://[::1]", false},
	{"[2001:DB8:0::1]", "https://[2001:db8::1]", true}, // as browsers write it
	{"[2001:db8::1]", "https://[2001:db8::2]", false},
	{"xn--bcher-kva.example", "https://xn--bcher-kva.example", true},
	{"a.example b.example", "https://b.example", true},
	{"a.example b.example", "https://c.example", false},
	{"app.example.net", "null", false},
	{"app.example.net", "ftp://app.example.net", false},
	{"app.example.net", "app.example.net", false},
}

func TestAllowOrigins(t *testing.T) {
	for _, test := range origins {
		o := gcpool.AllowOrigins(strings.Fields(test.hosts)...)
		config := &websocket.Config{Protocol: []string{"offered"}}
		err := o.Handshake(config, asked("example.com", test.origin))
		if (err == nil) != test.ok || (config.Origin != nil) != test.ok || test.ok && config.Protocol != nil {
			t.Errorf("%s: origin %q: %v, and config %+v", test.hosts, test.origin, err, config)
		}
		if ok := o.Check(asked("example.com", test.origin)); ok != test.ok {
			t.Errorf("%s: Check of origin %q: %v", test.hosts, test.origin, ok)
		}
	}
	if o := gcpool.AllowOrigins(); o.Handshake(nil, nil) == nil || o.Check(nil) {
		t.Error("a nil handshake was accepted")
	}
}

// TestBelowIsNotNothing: the * of *.example.net stands for at least one character.
func TestBelowIsNotNothing(t *testing.T) {
	if gcpool.AllowOrigins("*.example.net").Check(asked("example.com", "https://.example.net")) {
		t.Error("a host without a name below example.net is let in")
	}
}

// TestPatternsAllowWhatTheirOriginsDo, as coder/websocket matches them.
func TestPatternsAllowWhatTheirOriginsDo(t *testing.T) {
	for _, test := range origins {
		scheme, host, _ := strings.Cut(strings.ToLower(test.origin), "://")
		if _, name, ok := strings.Cut(host, "@"); ok {
			host = name
		}
		ok := host == "example.com" || slices.ContainsFunc(gcpool.AllowOrigins(strings.Fields(test.hosts)...).Patterns(), func(p string) bool {
			target := host
			if strings.Contains(p, "://") {
				target = scheme + "://" + host
			}
			ok, err := path.Match(p, target)
			if err != nil {
				t.Errorf("%s: pattern %q: %v", test.hosts, p, err)
			}
			return ok
		})
		if ok != test.ok && scheme != "ftp" { // no page has this scheme, and coder does not check it
			t.Errorf("%s: the patterns say %v of %q", test.hosts, ok, test.origin)
		}
	}
}

// TestAllowOriginsOfWhatIsNoHost: such Origins let in no page, not even a page of the server's own
// host, and say why.
func TestAllowOriginsOfWhatIsNoHost(t *testing.T) {
	for _, host := range []string{"", " ", "*", "*.", ".", "*:80", "https://example.com", "example.com/", "example.com:", "example.com:0", "example.com:0443",
		"example.com:http", "example.com:65536", "example.com:-1", "a b", "a,b", "*example.com", "api*.example.com", ".example.com",
		"**.example.com", "*.*.example.com", "user@example.com", "::1", "[::1", "[example.com]", "*.[::1]", "*[::1]", "bücher.example",
		"example.com?x", "example.com#x", "exam%70le.com"} {
		for _, origin := range []string{"http://example.com", "http://other.example"} {
			err := gcpool.AllowOrigins("example.com", host).Handshake(new(websocket.Config), asked("example.com", origin))
			if !errors.Is(err, gcpool.ErrInvalid) || !strings.Contains(err.Error(), strconv.Quote(host)) {
				t.Errorf("AllowOrigins(%q), a page of %s: %v", host, origin, err)
			}
		}
		for _, p := range gcpool.AllowOrigins("example.net", host).Patterns() {
			for _, target := range []string{"example.net", "https://example.net"} {
				if _, err := path.Match(strings.ToLower(p), target); err == nil || !strings.Contains(p, strconv.Quote(host)) {
					t.Errorf("AllowOrigins(%q) has a pattern that coder does not refuse with this name: %q", host, p)
				}
			}
		}
	}
	if gcpool.AllowOrigins("null").Check(asked("example.com", "null")) {
		t.Error(`the origin "null" was let in`)
	}
}

func TestMissingOriginIsRefusedUnlessAllowed(t *testing.T) {
	o := gcpool.AllowOrigins("app.example.net")
	if o.Check(asked("example.com", "")) {
		t.Error("a missing Origin was let in")
	}
	config := new(websocket.Config)
	if err := o.AllowMissing().Handshake(config, asked("example.com", "")); err != nil || config.Origin == nil {
		t.Errorf("with AllowMissing: %v, and config.Origin is %v", err, config.Origin)
	}
	if o.Check(asked("example.com", "")) {
		t.Error("AllowMissing has changed what it was called on")
	}
	if o.AllowMissing().Check(asked("example.com", "https://evil.example")) {
		t.Error("AllowMissing lets in a foreign Origin")
	}
}
