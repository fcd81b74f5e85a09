// Package session stands for the application's own: it knows whose request it is.
package session

import (
	"net/http"
	"strings"
)

// UserOf returns the id of a request's user, "" for a stranger. A real one looks
// the cookie up among the sessions that it has opened.
func UserOf(r *http.Request) string {
	cookie, err := r.Cookie("session")
	if err != nil {
		return ""
	}
	id, _ := strings.CutPrefix(cookie.Value, "session-of-")
	return id
}
