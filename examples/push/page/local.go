package page

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// local serves only who sits at this machine. The session would not do: anybody
// may sign in here, under any name. Nor does the address alone, for a page of
// another site may have its name resolve to this machine and be opened by a
// browser on it (DNS rebinding), hence the look at the host. Behind a proxy on
// the same machine everybody is local: let the proxy keep /debug/ to itself.
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
