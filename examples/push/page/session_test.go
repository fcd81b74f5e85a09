package page

import (
	"strings"
	"testing"
	"time"
)

func TestSessionSurvivesItsCookie(t *testing.T) {
	t.Parallel()
	s := newSessions(NewKey())
	for _, name := range []string{"a", "Zoë with a space", strings.Repeat("𝄞", nameMax)} {
		if who, err := s.open(s.seal(name, s.now().Add(sessionTTL))); err != nil || who.Name != name {
			t.Errorf("open(seal(%q)) = %+v, %v", name, who, err)
		}
	}
}

func TestChangedSessionIsRefused(t *testing.T) {
	t.Parallel()
	s := newSessions(NewKey())
	token := s.seal("alice", s.now().Add(sessionTTL))
	for i := range token {
		for _, c := range []byte("A_") {
			changed := token[:i] + string(c) + token[i+1:]
			if _, err := s.open(changed); err == nil && changed != token {
				t.Errorf("byte %d as %q is accepted", i, c)
			}
		}
	}
	for _, changed := range []string{"", token[:len(token)-2], token + "AAAA", token[:8], strings.Repeat(token, 4)} {
		if _, err := s.open(changed); err == nil {
			t.Errorf("%q is accepted", changed)
		}
	}
	if _, err := newSessions(NewKey()).open(token); err == nil {
		t.Error("another process's session is accepted")
	}
}

func TestSessionExpires(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	s := newSessions(NewKey())
	s.now = func() time.Time { return now }
	token := s.seal("alice", s.now().Add(sessionTTL))
	now = now.Add(sessionTTL - time.Second)
	if _, err := s.open(token); err != nil {
		t.Errorf("a second before: %v", err)
	}
	now = now.Add(time.Second)
	if _, err := s.open(token); err == nil {
		t.Error("accepted when it has expired")
	}
}

func TestCheckName(t *testing.T) {
	t.Parallel()
	for typed, want := range map[string]string{
		"alice": "alice", " \tbob\n": "bob", "Zoë 1": "Zoë 1", "名前": "名前",
		strings.Repeat("ä", nameMax): strings.Repeat("ä", nameMax),
	} {
		if name, problem := checkName(typed); name != want || problem != "" {
			t.Errorf("checkName(%q) = %q, %q", typed, name, problem)
		}
	}
	for typed, want := range map[string]string{
		"": "enter a name", " \u00a0 ": "enter a name", " * ": "everyone", strings.Repeat("ä", nameMax+1): "too long",
		"a\x00b": "cannot be shown", "a\u202eb": "cannot be shown", "a\xffb": "cannot be shown", "a\nb": "cannot be shown",
	} {
		if name, problem := checkName(typed); name != "" || !strings.Contains(problem, want) {
			t.Errorf("checkName(%q) = %q, %q", typed, name, problem)
		}
	}
}
