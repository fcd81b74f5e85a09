package gcpool

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/websocket"
)

// SameOrigin is for [websocket.Server].Handshake. It lets in browsers only from pages of the
// host that the request is for, so that no other site can open a connection with the cookies of
// its visitors (RFC 6455 section 10.2). It compares the host and port of the Origin header with
// the Host header, and ignores the scheme, because TLS may end in front of the server.
//
// It refuses a missing Origin, and "null", as [websocket.Handler] does. For clients other than
// browsers, and for pages on other hosts, see [AllowOrigins]. Under [Upgrade] the client and the
// log get the reason; otherwise x/net answers a bare 403.
//
// On success it sets config.Origin, and empties config.Protocol, so that the server agrees to no
// subprotocol. x/net would agree to any subprotocol that the client offers, and answer 400 to
// several. To choose one, use [Subprotocols], or set config.Protocol after the call. SameOrigin
// does not block.
func SameOrigin(config *websocket.Config, req *http.Request) error {
	return Origins{}.Handshake(config, req)
}

// Origins says which pages may open a WebSocket: pages of the host that the request is for, and
// pages of the hosts that [AllowOrigins] names. The zero Origins let in what [SameOrigin] lets in.
// Origins do not change, so any number of goroutines may use them at once. No method blocks.
type Origins struct {
	hosts   []host
	missing bool  // a client without Origin is let in
	err     error // what of AllowOrigins is no host; then nobody is let in
}

// AllowOrigins returns Origins that let in pages of hosts, and pages of the host that the request
// is for:
//
//	websocket.Server{Handshake: gcpool.AllowOrigins("app.example.com").Handshake, …}
//
// Any page of these hosts can act with the cookies of its visitors (RFC 6455 section 10.2), so name
// only hosts that are yours. A host is one of
//
//	example.com         with the default port of the scheme
//	example.com:8443    with this port
//	*.example.com       every host below example.com, at any depth, but not example.com
//	[2001:db8::1]:8080  an IP address, with or without a port
//
// Case does not matter, nor does it matter whether the page came by http or https. Write names that
// are not ASCII as browsers send them, beginning with xn--. No pattern matches every host: a server
// for everybody needs a Handshake function of its own. If AllowOrigins cannot read a host, for
// example because it is a URL, the Origins let in nobody, and Handshake returns an error that wraps
// [ErrInvalid] and names the host.
func AllowOrigins(hosts ...string) Origins {
	var o Origins
	for _, text := range hosts {
		h, ok := parseHost(text)
		if !ok {
			o.err = fmt.Errorf("%w: AllowOrigins: %q is not a host such as example.com, example.com:8443 or *.example.com", ErrInvalid, text)
			return o
		}
		o.hosts = append(o.hosts, h)
	}
	return o
}

// AllowMissing returns Origins that also let in clients without an Origin header. These are not
// browsers, which always send one (RFC 6455 section 4.1), so they have no visitor's cookies to
// misuse. Handshake gives them an empty config.Origin, not a nil one.
func (o Origins) AllowMissing() Origins {
	o.missing = true
	return o
}

// Handshake is for [websocket.Server].Handshake. It is [SameOrigin] for everything that o lets in.
func (o Origins) Handshake(config *websocket.Config, req *http.Request) error {
	if config == nil || req == nil {
		return fmt.Errorf("%w: nil handshake", ErrInvalid)
	}
	origin, err := o.check(req)
	if err != nil {
		noteRefusal(req, err)
		return err
	}
	config.Origin, config.Protocol = origin, nil
	return nil
}

// Check reports whether o lets the request in. It is for the CheckOrigin of gorilla's Upgrader, and
// for any other library that asks for a function of the request. It is false for a nil request.
func (o Origins) Check(req *http.Request) bool {
	return req != nil && o.Handshake(new(websocket.Config), req) == nil
}

// Patterns returns the hosts of o for the OriginPatterns of coder's AcceptOptions. That library
// also lets in the host of the request and a missing Origin, without being asked.
func (o Origins) Patterns() []string {
	var all []string
	for _, h := range o.hosts {
		all = append(all, h.pattern())
	}
	return all
}

var errNoOrigin = errors.New("gcpool: the request has no Origin header, which browsers send")

// check returns the Origin of a request that is let in.
func (o Origins) check(req *http.Request) (*url.URL, error) {
	if o.err != nil {
		return nil, o.err
	}
	text := req.Header.Get("Origin")
	if text == "" {
		if o.missing {
			return new(url.URL), nil // x/net's RemoteAddr does not stand nil
		}
		return nil, errNoOrigin
	}
	origin, err := url.Parse(text)
	if err != nil || origin.Host == "" || origin.Scheme != "http" && origin.Scheme != "https" {
		return nil, fmt.Errorf("gcpool: origin %s is not a web page", quoted(text))
	}
	page, implied := splitHost(origin.Host), "80"
	if origin.Scheme == "https" {
		implied = "443"
	}
	page.port = cmp.Or(page.port, implied)
	matches := func(h host) bool { return h.matches(page, implied) }
	if !matches(splitHost(req.Host)) && !slices.ContainsFunc(o.hosts, matches) {
		return nil, fmt.Errorf("gcpool: origin %s is not this host, %s", quoted(text), quoted(req.Host)+o.others())
	}
	return origin, nil
}

// others is what an error says of the hosts beside the request's.
func (o Origins) others() string {
	if len(o.hosts) == 0 {
		return ""
	}
	return ", nor an allowed host"
}

// A host is the authority of a URL, or a pattern for some.
type host struct {
	name  string // in lower case, an IP address in its usual form; below: with the dot in front
	port  string // "" is the one that the scheme implies
	below bool   // for all below name
}

// splitHost returns host, or host:port, as a host.
func splitHost(text string) host {
	u := url.URL{Host: text}
	h := host{name: strings.ToLower(u.Hostname()), port: u.Port()}
	if ip, err := netip.ParseAddr(h.name); err == nil {
		h.name = ip.String()
	}
	return h
}

// parseHost is splitHost for a pattern of AllowOrigins.
func parseHost(text string) (h host, ok bool) {
	rest, below := strings.CutPrefix(text, "*")
	if _, err := url.Parse("//" + rest); err != nil || strings.HasSuffix(rest, ":") {
		return host{}, false
	}
	h = splitHost(rest)
	h.below = below
	if port, err := strconv.ParseUint(cmp.Or(h.port, "80"), 10, 16); err != nil || port == 0 {
		return host{}, false
	}
	if _, err := netip.ParseAddr(h.name); err == nil {
		return h, !below
	}
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789-_."
	name, dot := strings.CutPrefix(h.name, ".")
	return h, name != "" && dot == below && strings.Trim(h.name, letters) == ""
}

// matches reports whether h is, or is a pattern for, a page's host.
func (h host) matches(page host, implied string) bool {
	if page.port != cmp.Or(h.port, implied) {
		return false
	}
	if h.below {
		return len(page.name) > len(h.name) && strings.HasSuffix(page.name, h.name)
	}
	return page.name == h.name
}

// pattern returns h for [path.Match], to which a bracket means something. A browser
// leaves out a port that its scheme implies.
func (h host) pattern() string {
	name := h.name
	if strings.Contains(name, ":") {
		name = `\[` + name + `\]`
	}
	if h.below {
		name = "*" + name
	}
	switch h.port {
	case "":
		return name
	case "80":
		return "http://" + name
	case "443":
		return "https://" + name
	}
	return name + ":" + h.port
}
