package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What a reader copies to reach NATS: a connection, and a server in the same process.
var natsEnd = regexp.MustCompile(`nats\.Connect\(|server\.Options\{`)

// TestConnectionsToNATSThatReadersCopySetPingInterval: with nats.go's own interval of 2 minutes, a
// server whose machine has vanished is missed only after minutes.
func TestConnectionsToNATSThatReadersCopySetPingInterval(t *testing.T) {
	found := 0
	for _, file := range append(markdown(t), filesWith(t, ".go")...) {
		if !copied(file) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		found += len(natsEnd.FindAll(text, -1))
		for _, call := range withoutPingInterval(string(text)) {
			t.Errorf("%s: no PingInterval in\n\t%s", file, call)
		}
	}
	if found == 0 {
		t.Error("found none, though README.md has one")
	}
}

// copied tells whether a file is one that readers copy from. The benchmark connects on
// one machine, and of the tests only Examples are shown.
func copied(file string) bool {
	name := filepath.Base(file)
	return !strings.HasPrefix(filepath.ToSlash(file), "bench/") &&
		(!strings.HasSuffix(name, "_test.go") || strings.HasPrefix(name, "example"))
}

// withoutPingInterval returns the calls and literals of natsEnd that do not set
// PingInterval. A call that takes a slice of options may have it set above, in the same
// function.
func withoutPingInterval(text string) []string {
	var all []string
	for _, at := range natsEnd.FindAllStringIndex(text, -1) {
		call := text[at[0] : at[1]+closing(text[at[1]:])]
		where, name := call, "nats.PingInterval("
		if strings.HasSuffix(call, "...)") {
			where = text[strings.LastIndex(text[:at[0]], "\nfunc ")+1 : at[1]]
		} else if strings.HasSuffix(call, "}") {
			name = "PingInterval:"
		}
		if !strings.Contains(where, name) {
			all = append(all, call)
		}
	}
	return all
}

// closing returns the end of the bracket that is open where a text begins.
func closing(text string) int {
	depth := 1
	for i, r := range text {
		switch r {
		case '(', '{', '[':
			depth++
		case ')', '}', ']':
			depth--
		}
		if depth == 0 {
			return i + 1
		}
	}
	return len(text)
}

func TestConnectionsWithoutPingIntervalAreFound(t *testing.T) {
	for text, ok := range map[string]bool{
		"nats.Connect(url, nats.PingInterval(2*time.Second))":                                      true,
		"nats.Connect(url(),\n\tnats.MaxReconnects(-1),\n\tnats.PingInterval(time.Second))":        true,
		"//\tnats.Connect(url, nats.PingInterval(2*time.Second))":                                  true,
		"\nfunc f() {\n\to := []nats.Option{nats.PingInterval(d)}\n\tnats.Connect(url, o...)\n}\n": true,
		"server.NewServer(&server.Options{NoSigs: true, PingInterval: 2 * time.Second})":           true,
		"nats.Connect(url)": false,
		"//\tnc, err := nats.Connect(url)\n// See nats.PingInterval(d).":                            false,
		"nats.Connect(url, nats.MaxReconnects(-1))\nnats.Connect(u, nats.PingInterval(d))":          false,
		"nats.Connect(u, nats.PingInterval(d))\nnats.Connect(url())":                                false,
		"\nfunc f() {\n\tnats.PingInterval(d)\n}\n\nfunc g() {\n\tnats.Connect(url, o...)\n}\n":     false,
		"nats.Connect(url, nats.MaxReconnects(-1)":                                                  false,
		"server.NewServer(&server.Options{NoSigs: true})\nnats.Connect(u, nats.PingInterval(d))":    false,
		"server.NewServer(&server.Options{}, nats.PingInterval(d))":                                 false,
		"nats.Connect(url, nats.PingInterval(d))\nserver.NewServer(&server.Options{Host: f(\"\")})": false,
	} {
		if found := withoutPingInterval(text); ok != (len(found) == 0) {
			t.Errorf("%q: found %q", text, found)
		}
	}
	for file, want := range map[string]bool{
		"README.md": true, "cluster/node.go": true, "cluster/example_test.go": true, "examples/cluster/bus.go": true,
		"cluster/rig_test.go": false, "bench/internal/server/cluster.go": false,
	} {
		if copied(file) != want {
			t.Errorf("%s: %v", file, !want)
		}
	}
}
