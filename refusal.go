package gcpool

import (
	"log/slog"
	"net/http"
	"strconv"

	"github.com/nulijiabei/gcpool/internal/report"
)

// A refusal is the reason why an Origin was refused. x/net, gorilla and most applications drop such
// an error, so the reason bypasses them on its way from the check to the response.
type refusal struct {
	err error
	req *http.Request
}

// upgradedKey is the key of a request's upgraded in its context.
type upgradedKey struct{}

// noteRefusal stores the reason why a request under Upgrade is about to be refused.
func noteRefusal(req *http.Request, err error) {
	if u, _ := req.Context().Value(upgradedKey{}).(*upgraded); u != nil {
		u.refused.Store(&refusal{err, req})
	}
}

// explain logs a 403 that follows the refusal of an Origin, and gives it a body if it has none of
// its own. Any other status means that the application has decided differently.
func (u *upgraded) explain() {
	r := u.refused.Load()
	if r == nil || u.status != http.StatusForbidden {
		return
	}
	slog.Default().Info("gcpool: origin refused", "origin", report.Shown(r.req.Header.Get("Origin")),
		"host", report.Shown(r.req.Host), "peer", r.req.RemoteAddr)
	if body := string(u.body); body == "" || body == http.StatusText(http.StatusForbidden)+"\n" {
		u.body = []byte(r.err.Error() + "\n")
		u.sent.Set("Content-Type", "text/plain; charset=utf-8")
		u.sent.Set("X-Content-Type-Options", "nosniff")
	}
}

// hijackWriter is an upgraded after Hijack. It passes on everything that is written, except x/net's
// answer to a refused handshake, which does not give the reason.
type hijackWriter upgraded

func (w *hijackWriter) Write(p []byte) (int, error) {
	const bare = "HTTP/1.1 403 Forbidden\r\n\r\n"
	u := (*upgraded)(w)
	if u.refused.Load() == nil || u.status != 0 || string(p) != bare {
		return u.conn.Write(p)
	}
	u.WriteHeader(http.StatusForbidden)
	u.answer()
	return len(p), nil
}

// quoted quotes and shortens text from a peer, so that it fits into a line of a response.
func quoted(text string) string { return strconv.Quote(report.Shortened(text)) }
