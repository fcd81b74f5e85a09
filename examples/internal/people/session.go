package people

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
	nameMax     = 32  // characters
	everyone    = "*" // as a recipient
	expirySize  = 8
	headerSize  = sha256.Size + expirySize
	headerLimit = headerSize + nameMax*utf8.UTFMax
)

var errSignedOut = errors.New("not signed in")

// Strict, so that each session has one spelling only.
var encoding = base64.RawURLEncoding.Strict()

// A session says who a browser is, and until when.
type session struct {
	name    string
	expires time.Time
}

// sessions makes and reads the signed cookies that hold a session.
type sessions struct {
	key []byte
	now func() time.Time
}

// NewKey returns a key for sessions. It lives as long as the process: a restart
// signs everybody out.
func NewKey() []byte {
	key := make([]byte, sha256.Size)
	rand.Read(key) // never returns an error
	return key
}

func newSessions(key []byte) *sessions { return &sessions{key: key, now: time.Now} }

// cookie returns the cookie of a new session for name.
func (s *sessions) cookie(name string) *http.Cookie {
	return &http.Cookie{
		Name:     cookieName,
		Value:    s.seal(name),
		Path:     "/",
		MaxAge:   int(sessionTTL / time.Second),
		HttpOnly: true,
		SameSite: http.SameSiteStrictMode,
	}
}

// read returns the session of a request.
func (s *sessions) read(r *http.Request) (session, error) {
	cookie, err := r.Cookie(cookieName)
	if err != nil {
		return session{}, errSignedOut
	}
	return s.open(cookie.Value)
}

// seal returns the signature, the expiry and the name as one token. The expiry
// is inside, for a browser may keep a cookie for as long as it likes.
func (s *sessions) seal(name string) string {
	expires := s.now().Add(sessionTTL).Unix()
	body := append(binary.BigEndian.AppendUint64(nil, uint64(expires)), name...)
	return encoding.EncodeToString(append(s.sign(body), body...))
}

// open returns what is in a token that seal has made, and nothing else's.
func (s *sessions) open(token string) (session, error) {
	if len(token) > encoding.EncodedLen(headerLimit) {
		return session{}, errSignedOut
	}
	value, err := encoding.DecodeString(token)
	if err != nil || len(value) < headerSize {
		return session{}, errSignedOut
	}
	signature, body := value[:sha256.Size], value[sha256.Size:]
	if !hmac.Equal(signature, s.sign(body)) {
		return session{}, errSignedOut
	}
	expires := time.Unix(int64(binary.BigEndian.Uint64(body)), 0)
	if !s.now().Before(expires) {
		return session{}, errSignedOut
	}
	return session{name: string(body[expirySize:]), expires: expires}, nil
}

func (s *sessions) sign(body []byte) []byte {
	mac := hmac.New(sha256.New, s.key)
	mac.Write(body)
	return mac.Sum(nil)
}

// checkName returns name as it is used, or tells the person who typed it what
// is wrong with it.
func checkName(typed string) (name, problem string) {
	name = strings.TrimSpace(typed)
	switch {
	case name == "":
		return "", "Please enter a name."
	case name == everyone:
		return "", "The name * stands for everyone. Please choose another one."
	case utf8.RuneCountInString(name) > nameMax:
		return "", "That name is too long. It may have up to 32 characters."
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unprintable):
		return "", "That name has characters that cannot be shown. Letters, digits, signs and spaces are fine."
	}
	return name, ""
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }
