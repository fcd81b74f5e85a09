// Package session stands in for the application's own sessions: it knows the user of a request.
package session

import (
	"net/http"
	"strings"
)

// UserOf returns the id of a request's user, or "" for a stranger. A real application looks the
// cookie up among the sessions that it has opened.
func UserOf(r *http.Request) string {
	cookie, err := r.Cookie("session")
	if err != nil {
		return ""
	}
	id, _ := strings.CutPrefix(cookie.Value, "session-of-")
	return id
}
