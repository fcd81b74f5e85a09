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

// SameOrigin is for [websocket.Server].Handshake: it accepts a browser only
// from a page of this very host, so that no other site can open a connection
// with the cookies of its visitors (RFC 6455 section 10.2). It compares the
// host of the Origin header with that of the request, its port included,
// whatever the scheme, since TLS may end in front of the server.
//
// A missing Origin, and "null", are refused, as [websocket.Handler] does; see
// [AllowOrigins] for clients that are not browsers and for pages of other hosts.
// Under [Upgrade] the client and the log are told the reason; without, x/net
// answers a bare 403.
//
// On success config.Origin is set, and config.Protocol is empty: no subprotocol is
// agreed to. x/net would agree to whatever the client offers, and answer 400 if that
// is more than one. To choose one, see [Subprotocols], or set config.Protocol after
// the call. It does not block.
func SameOrigin(config *websocket.Config, req *http.Request) error {
	return Origins{}.Handshake(config, req)
}

// Origins are the pages that may open a WebSocket: those of the host that the
// request is for, and those of the hosts that [AllowOrigins] names. The zero Origins
// are those of [SameOrigin]. Origins do not change, so any number of goroutines may
// use them at once; no method blocks.
type Origins struct {
	hosts   []host
	missing bool  // a client without Origin is let in
	err     error // what of AllowOrigins is no host; then nobody is let in
}

// AllowOrigins returns Origins that let in pages of hosts, beside those of the host
// that the request is for:
//
//	websocket.Server{Handshake: gcpool.AllowOrigins("app.example.com").Handshake, …}
//
// A page of any host there can act with the cookies of its visitors (RFC 6455 section
// 10.2), so name none that is not yours. A host is one of
//
//	example.com         with the port that the scheme implies
//	example.com:8443    with that port
//	*.example.com       all below example.com, at any depth, but not itself
//	[2001:db8::1]:8080  an address, with a port or without
//
// Case does not matter, nor whether the page came by http or https. Names that are not
// ASCII are written as browsers send them, beginning with xn--. There is no pattern for
// every host: a server that is for everybody has a Handshake function of its own.
// If AllowOrigins cannot read a host, as it cannot read a URL, the Origins let in nobody,
// and Handshake returns an error that wraps [ErrInvalid] and names the host.
func AllowOrigins(hosts ...string) Origins {
	var o Origins
	for _, text := range hosts {
		h, ok := parseHost(text)
		if !ok {
			o.err = fmt.Errorf("%w: AllowOrigins: %q is no host such as example.com, example.com:8443 or *.example.com", ErrInvalid, text)
			return o
		}
		o.hosts = append(o.hosts, h)
	}
	return o
}

// AllowMissing returns o, but with clients let in that send no Origin header. They are
// no browsers, which always send one (RFC 6455 section 4.1), so they have no visitor's
// cookies to misuse. config.Origin is empty for them, and not nil.
func (o Origins) AllowMissing() Origins {
	o.missing = true
	return o
}

// Handshake is for [websocket.Server].Handshake. It does what [SameOrigin] does, for
// all that o lets in.
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

// Check reports whether o lets the request in, for the CheckOrigin of gorilla's
// Upgrader, or wherever else a function of the request is asked for. It is false for
// a nil request.
func (o Origins) Check(req *http.Request) bool {
	return req != nil && o.Handshake(new(websocket.Config), req) == nil
}

// Patterns returns the hosts of o as patterns for the OriginPatterns of coder's
// AcceptOptions. That library lets in the request's own host and a missing Origin
// by itself.
func (o Origins) Patterns() []string {
	var all []string
	for _, h := range o.hosts {
		all = append(all, h.pattern())
	}
	return all
}

var errNoOrigin = errors.New("gcpool: the request has no Origin, which browsers send")

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
		return nil, fmt.Errorf("gcpool: origin %s is not a web page's", quoted(text))
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
	return ", nor one that is allowed"
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
