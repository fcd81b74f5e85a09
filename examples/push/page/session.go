package page

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	cookieName  = "session"
	sessionTTL  = 12 * time.Hour
	nameMax     = 32 // characters
	expirySize  = 8
	headerSize  = sha256.Size + expirySize
	headerLimit = headerSize + nameMax*utf8.UTFMax
)

var errSignedOut = errors.New("not signed in")

// Strict, so that each session has only one spelling.
var encoding = base64.RawURLEncoding.Strict()

// A Session says who a browser is, and until when.
type Session struct {
	Name    string
	Expires time.Time
}

// Session returns the session of a request, or an error if it has none.
func (p *Page) Session(r *http.Request) (Session, error) { return p.sessions.read(r) }

// sessions makes and reads the signed cookies that hold a session.
type sessions struct {
	key []byte
	now func() time.Time
}

// NewKey returns a key for sessions. It is lost when the process ends, so a restart signs
// everybody out.
func NewKey() []byte {
	key := make([]byte, sha256.Size)
	rand.Read(key) // never returns an error
	return key
}

func newSessions(key []byte) *sessions { return &sessions{key: key, now: time.Now} }

// Cookie returns the cookie of a new session for name.
func (p *Page) Cookie(name string) *http.Cookie {
	return p.CookieUntil(name, p.sessions.now().Add(sessionTTL))
}

// CookieUntil returns the cookie of a session that ends at a certain time.
func (p *Page) CookieUntil(name string, end time.Time) *http.Cookie {
	return &http.Cookie{
		Name:     cookieName,
		Value:    p.sessions.seal(name, end),
		Path:     "/",
		MaxAge:   int(sessionTTL / time.Second),
		HttpOnly: true,
		SameSite: http.SameSiteStrictMode,
	}
}

// read returns the session of a request.
func (s *sessions) read(r *http.Request) (Session, error) {
	cookie, err := r.Cookie(cookieName)
	if err != nil {
		return Session{}, errSignedOut
	}
	return s.open(cookie.Value)
}

// seal returns the signature, the expiry and the name as one token. The expiry is inside,
// because a browser may keep a cookie longer.
func (s *sessions) seal(name string, end time.Time) string {
	body := append(binary.BigEndian.AppendUint64(nil, uint64(end.Unix())), name...)
	return encoding.EncodeToString(append(s.sign(body), body...))
}

// open returns the session in a token, if seal made it.
func (s *sessions) open(token string) (Session, error) {
	if len(token) > encoding.EncodedLen(headerLimit) {
		return Session{}, errSignedOut
	}
	value, err := encoding.DecodeString(token)
	if err != nil || len(value) < headerSize {
		return Session{}, errSignedOut
	}
	signature, body := value[:sha256.Size], value[sha256.Size:]
	if !hmac.Equal(signature, s.sign(body)) {
		return Session{}, errSignedOut
	}
	expires := time.Unix(int64(binary.BigEndian.Uint64(body)), 0)
	if !s.now().Before(expires) {
		return Session{}, errSignedOut
	}
	return Session{Name: string(body[expirySize:]), Expires: expires}, nil
}

func (s *sessions) sign(body []byte) []byte {
	mac := hmac.New(sha256.New, s.key)
	mac.Write(body)
	return mac.Sum(nil)
}

// checkName returns the name without spaces around it, or says what is wrong with it.
func checkName(typed string) (name, problem string) {
	name = strings.TrimSpace(typed)
	switch {
	case name == "":
		return "", "Please enter a name."
	case name == Everyone:
		return "", "The name * stands for everyone. Please choose another one."
	case utf8.RuneCountInString(name) > nameMax:
		return "", "That name is too long. It may have up to 32 characters."
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unprintable):
		return "", "That name has characters that cannot be shown. Letters, digits, signs and spaces are fine."
	}
	return name, ""
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }
