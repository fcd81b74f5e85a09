package page

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// local serves only people at this machine. A session is not enough, because anybody can sign in
// here, under any name. The client's address is not enough either: the name of another site may
// resolve to this machine, and a browser here may open a page of that site (DNS rebinding). So
// local checks the Host header, too. Behind a proxy on the same machine, every client counts as
// local: let the proxy refuse /debug/.
func local(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil || !from.Addr().Unmap().IsLoopback() || !namesLoopback(r.Host) {
			http.Error(w, "this page is for this machine only", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// namesLoopback reports whether a Host header means this machine.
func namesLoopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return strings.EqualFold(host, "localhost") || err == nil && addr.Unmap().IsLoopback()
}
