package gcpool

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/websocket"
)

// SameOrigin is for [websocket.Server].Handshake. It lets a browser in only if its page is on the
// host that the request is for, so that no other site can open a connection with the cookies of its
// visitors (RFC 6455 section 10.2). It compares the host and port of the Origin header with the
// Host header, and ignores the scheme, because TLS may end in front of the server.
//
// SameOrigin refuses a missing Origin, and "null", as [websocket.Handler] does. For clients other
// than browsers, and for pages on other hosts, see [AllowOrigins]. Under [Upgrade], the client and
// the log get the reason for a refusal; otherwise x/net answers a bare 403. x/net drops every other
// error of a Handshake function: log such an error there, or check the session in a handler around
// the server.
//
// On success, SameOrigin sets config.Origin and empties config.Protocol, so that the server agrees
// to no subprotocol. Otherwise x/net would agree to any subprotocol that the client offers, and
// answer 400 to several. To choose one, use [Subprotocols], or set config.Protocol after the call.
// SameOrigin does not block.
func SameOrigin(config *websocket.Config, req *http.Request) error {
	return Origins{}.Handshake(config, req)
}

// Origins says which pages may open a WebSocket: pages of the host that the request is for, and
// pages of the hosts that [AllowOrigins] names. The zero Origins lets in the same requests as
// [SameOrigin]. Origins never changes, so it is safe for concurrent use. No method blocks.
type Origins struct {
	patterns []string // for path.Match, of name, name:port or scheme://name
	missing  bool     // a client without Origin is let in
	err      error    // why AllowOrigins could not read a host; then no request is let in
}

// AllowOrigins returns Origins that let in pages of the given hosts, and pages of the host that the
// request is for:
//
//	websocket.Server{Handshake: gcpool.AllowOrigins("app.example.com").Handshake, …}
//
// Any page of these hosts can act with the cookies of its visitors (RFC 6455 section 10.2), so name
// only hosts that are yours. Each host is one of
//
//	example.com         with the default port of the scheme
//	example.com:8443    with this port
//	*.example.com       every host below example.com, at any depth, but not example.com
//	[2001:db8::1]:8080  an IP address, with or without a port
//
// Case does not matter, and neither does the page's scheme, http or https. Write names that are not
// ASCII as browsers send them, beginning with xn--. No pattern matches every host: a server that is
// open to every site needs its own Handshake function. If AllowOrigins cannot read a host, for
// example because it is a URL, the Origins let in no request, and Handshake returns an error that
// wraps [ErrInvalid] and names the host.
func AllowOrigins(hosts ...string) Origins {
	var o Origins
	for _, text := range hosts {
		p, ok := pattern(text)
		if !ok {
			o.err = fmt.Errorf("%w: AllowOrigins: %q is not a host such as example.com, example.com:8443 or *.example.com", ErrInvalid, text)
			return o
		}
		o.patterns = append(o.patterns, p)
		for scheme, port := range impliedPorts { // which browsers leave out
			if name, ok := strings.CutSuffix(p, ":"+port); ok {
				o.patterns = append(o.patterns, scheme+"://"+name)
			}
		}
	}
	return o
}

// AllowMissing returns Origins that also let in clients without an Origin header. Such clients are
// not browsers, which always send the header (RFC 6455 section 4.1), so they have no visitor's
// cookies to misuse. Handshake gives them an empty config.Origin, not a nil one.
func (o Origins) AllowMissing() Origins {
	o.missing = true
	return o
}

// Handshake is for [websocket.Server].Handshake. It works like [SameOrigin], but for every request
// that o lets in.
func (o Origins) Handshake(config *websocket.Config, req *http.Request) error {
	if config == nil || req == nil {
		return fmt.Errorf("%w: nil Config or Request", ErrInvalid)
	}
	origin, err := o.check(req)
	if err != nil {
		noteRefusal(req, err)
		return err
	}
	config.Origin, config.Protocol = origin, nil
	return nil
}

// Check reports whether o lets the request in. It is for CheckOrigin of gorilla's Upgrader, and for
// any other library that takes such a function of the request. It returns false for a nil request.
func (o Origins) Check(req *http.Request) bool {
	return req != nil && o.Handshake(new(websocket.Config), req) == nil
}

// Patterns returns the hosts of o for OriginPatterns of coder's AcceptOptions. coder always lets in
// pages of the host of the request, and requests without an Origin. If AllowOrigins could not read
// a host, coder lets in no other page, and its log names the host.
func (o Origins) Patterns() []string {
	if o.err != nil {
		return []string{o.err.Error() + "["} // malformed, which coder logs
	}
	return slices.Clone(o.patterns)
}

// check returns the Origin of a request that o lets in, or an error that says why o refuses the
// request.
func (o Origins) check(req *http.Request) (*url.URL, error) {
	if o.err != nil {
		return nil, o.err
	}
	text := req.Header.Get("Origin")
	if text == "" {
		if o.missing {
			return new(url.URL), nil // not nil: x/net's RemoteAddr().String() would panic
		}
		return nil, errors.New("gcpool: the request has no Origin header, which browsers send")
	}
	origin, err := url.Parse(text)
	if err != nil || origin.Host == "" || impliedPorts[origin.Scheme] == "" {
		return nil, fmt.Errorf("gcpool: origin %s is not the origin of a web page", quoted(text))
	}
	implied := impliedPorts[origin.Scheme]
	page, host := canonical(origin.Host, implied), canonical(req.Host, implied)
	matches := func(pattern string) bool {
		named, _ := path.Match(pattern, page) // no pattern is malformed
		schemed, _ := path.Match(pattern, origin.Scheme+"://"+page)
		return (named || schemed) && !strings.HasPrefix(page, ".") // a * also matches nothing
	}
	if page != host && !slices.ContainsFunc(o.patterns, matches) {
		return nil, fmt.Errorf("gcpool: origin %s is neither this host, %s, nor an allowed host; a proxy in front must pass on the Host header",
			quoted(text), quoted(req.Host))
	}
	return origin, nil
}

// impliedPorts are the ports that the schemes of web pages imply.
var impliedPorts = map[string]string{"http": "80", "https": "443"}

// canonical returns host, or host:port, as browsers write it: the name in lower case, an IP address
// in its usual form, and no port if it is the implied one.
func canonical(text, implied string) (host string) {
	u := url.URL{Host: text}
	host = strings.ToLower(u.Hostname())
	if ip, err := netip.ParseAddr(host); err == nil {
		if host = ip.String(); ip.Is6() {
			host = "[" + host + "]"
		}
	}
	if port := u.Port(); port != "" && port != implied {
		host += ":" + port
	}
	return host
}

// pattern returns a host of AllowOrigins as a pattern for [path.Match], for which it escapes
// brackets.
func pattern(text string) (p string, ok bool) {
	rest, below := strings.CutPrefix(text, "*")
	u, err := url.Parse("//" + rest)
	if err != nil || u.Host != rest || strings.HasSuffix(rest, ":") {
		return "", false
	}
	if _, err := strconv.ParseUint(cmp.Or(u.Port(), "80"), 10, 16); err != nil || strings.HasPrefix(u.Port(), "0") {
		return "", false
	}
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789-_."
	name, dot := strings.CutPrefix(strings.ToLower(u.Hostname()), ".")
	if name == "" || dot != below || rest[0] != '[' && strings.Trim(name, letters) != "" {
		return "", false
	}
	return strings.NewReplacer("[", `\[`, "]", `\]`).Replace(canonical(text, "")), true
}
