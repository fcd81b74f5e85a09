package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/nulijiabei/gcpool"
)

// TestSentinelsShowTheirText: the doc comment of each error quotes the text that a log line shows.
func TestSentinelsShowTheirText(t *testing.T) {
	source, err := os.ReadFile(filepath.Join(root, "pool.go"))
	if err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile(`(?s)// (Err\w+), "([^"]+)",`).FindAllStringSubmatch(string(source), -1)
	want := map[string]error{
		"ErrNotRegistered": gcpool.ErrNotRegistered, "ErrRegistered": gcpool.ErrRegistered, "ErrInvalid": gcpool.ErrInvalid,
		"ErrTooLarge": gcpool.ErrTooLarge, "ErrNotConnected": gcpool.ErrNotConnected, "ErrSlow": gcpool.ErrSlow,
		"ErrDeleted": gcpool.ErrDeleted, "ErrExpired": gcpool.ErrExpired, "ErrKept": gcpool.ErrKept, "ErrNotAccepted": gcpool.ErrNotAccepted, "ErrClosed": gcpool.ErrClosed,
	}
	for _, s := range shown {
		if want[s[1]] == nil || want[s[1]].Error() != s[2] {
			t.Errorf("%s is %v, and its comment says %q", s[1], want[s[1]], s[2])
		}
		delete(want, s[1])
	}
	for name := range want {
		t.Errorf("the comment of %s does not show its text", name)
	}
}
