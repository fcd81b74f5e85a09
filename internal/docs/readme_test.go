package docs

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/nulijiabei/gcpool" // so that the go command runs these tests anew when it has changed
)

// readmes are the same page in two languages.
var readmes = []string{"README.md", "README.zh-CN.md"}

// block is a piece of Go code on a page.
var block = regexp.MustCompile("(?ms)^```go\n(.*?)^```$")

// TestTheServerInTheREADMEServesOnlyItsUsers builds and runs the program of each README as
// it is printed, and with what the page says to change for other WebSocket libraries.
func TestTheServerInTheREADMEServesOnlyItsUsers(t *testing.T) {
	for _, file := range readmes {
		for library, source := range servers(t, file) {
			t.Run(file+"/"+library, func(t *testing.T) {
				t.Parallel()
				host := run(t, source)
				bob := connected(t, host, "bob")
				bob.gets("alice: hello bob", push(t, host, "alice", "bob", "hello bob"))
				bob.gets("alice: ouch ?", push(t, host, "alice", "bob", "ouch \xff")) // a browser would close its connection
				strangersAreRefused(t, host)
				if status := post(t, host, "carol", "hi", as("alice")); status != http.StatusServiceUnavailable {
					t.Errorf("a push to a user who is away is answered %d", status)
				}
				newer := connected(t, host, "bob")
				bob.isClosed()
				newer.gets("alice: again", push(t, host, "alice", "bob", "again"))
			})
		}
	}
}

// servers returns the program that a README prints, by the WebSocket library that it uses.
func servers(t *testing.T, file string) map[string]string {
	t.Helper()
	text := page(t, file)
	blocks := block.FindAllStringSubmatch(text, -1)
	if len(blocks) != 3 {
		t.Fatalf("%s has %d blocks of Go, not the program and two for other libraries", file, len(blocks))
	}
	gorilla, coder, xnet := blocks[0][1], blocks[1][1], blocks[2][1]
	paths := regexp.MustCompile("`([a-z.]+/[a-z/]+websocket)`").FindAllStringSubmatch(text, -1)
	if len(paths) != 2 {
		t.Fatalf("%s tells of %d imports", file, len(paths))
	}
	return map[string]string{
		"gorilla": gorilla,
		"coder":   imports(changed(t, gorilla, coder), paths[0][1]),
		"x/net":   imports(replaced(t, gorilla, xnet), paths[1][1]),
	}
}

// imports changes the WebSocket library that a program imports.
func imports(source, path string) string {
	return strings.Replace(source, "github.com/gorilla/websocket", path, 1)
}

// changed replaces single lines of a program: each by the one that begins alike.
func changed(t *testing.T, source, lines string) string {
	t.Helper()
	for line := range strings.Lines(lines) {
		begin := line[:strings.IndexAny(line, ".=")]
		old := regexp.MustCompile("(?m)^" + regexp.QuoteMeta(begin) + ".*\n")
		if n := len(old.FindAllString(source, -1)); n != 1 {
			t.Fatalf("%d lines of the program begin like %q", n, line)
		}
		source = old.ReplaceAllLiteralString(source, line)
	}
	return source
}

// replaced replaces the last function of a program by the one that begins alike.
func replaced(t *testing.T, source, function string) string {
	t.Helper()
	begin, _, _ := strings.Cut(function, "\n")
	at := strings.Index(source, begin)
	if at < 0 {
		t.Fatalf("the program has no %s", begin)
	}
	return source[:at] + function
}

// TestREADMEIsShort keeps each README to what somebody reads, with one command to try and
// one to test, which CI runs.
func TestREADMEIsShort(t *testing.T) {
	commands := regexp.MustCompile(`(?m)^ {4}go (?:run|test) .*$`)
	for _, file := range readmes {
		text := page(t, file)
		if n := strings.Count(text, "\n"); n > 220 {
			t.Errorf("%s has %d lines, more than 220", file, n)
		}
		want := []string{"    go run ./examples/push", "    go test work"}
		if found := commands.FindAllString(text, -1); !slices.Equal(found, want) {
			t.Errorf("%s has the commands %q", file, found)
		}
	}
}

// TestTheClientInTheREADMEObeysTheCloseCodes runs the JavaScript of each README in Node.js.
func TestTheClientInTheREADMEObeysTheCloseCodes(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil && os.Getenv("GCPOOL_REQUIRE_CLIENTS") == "1" {
		t.Fatal(err)
	} else if err != nil {
		t.Skip(err)
	}
	script := regexp.MustCompile("(?ms)^```js\n(.*?)^```$")
	for _, file := range readmes {
		m := script.FindStringSubmatch(page(t, file))
		if m == nil {
			t.Fatalf("%s prints no client", file)
		}
		if _, err := os.Stat("testdata/client.js"); err != nil { // and so the go command knows that it matters
			t.Fatal(err)
		}
		cmd := exec.Command(node, "testdata/client.js")
		cmd.Stdin = strings.NewReader(m[1])
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", file, err, out)
		}
	}
}

// TestREADMEsSayTheSame compares what does not depend on the language: code, links, options
// and close codes.
func TestREADMEsSayTheSame(t *testing.T) {
	comment := regexp.MustCompile(`(?m)[ \t]*//[^"\n]*$`)
	fence := regexp.MustCompile("(?ms)^```(?:go|js)\n(.*?)^```$|^ {4}(.*?)$")
	parts := map[string]func(text string) []string{
		"code": func(text string) []string {
			var all []string
			for _, m := range fence.FindAllStringSubmatch(text, -1) {
				all = append(all, comment.ReplaceAllString(m[1]+m[2], ""))
			}
			return all
		},
		"links": func(text string) []string {
			var all []string
			for _, line := range prose(text) {
				for _, target := range targets(line) {
					if !strings.HasPrefix(target, "README") && !strings.HasPrefix(target, "#") {
						all = append(all, target)
					}
				}
			}
			slices.Sort(all)
			return all
		},
		"names": func(text string) []string {
			all := regexp.MustCompile("`[A-Z]\\w+[`(]").FindAllString(text, -1)
			slices.Sort(all)
			return slices.Compact(all)
		},
		"codes": func(text string) []string {
			all := regexp.MustCompile(`\b[14]\d{3}\b`).FindAllString(text, -1)
			slices.Sort(all)
			return slices.Compact(all)
		},
	}
	english, chinese := page(t, readmes[0]), page(t, readmes[1])
	for name, part := range parts {
		for _, line := range differences(part(english), part(chinese)) {
			t.Errorf("%s, in README.md (-) or README.zh-CN.md (+) only: %s", name, line)
		}
	}
}

// page returns the text of a Markdown file.
func page(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), "\r\n", "\n")
}

// run builds a program, runs it until the test ends, and returns its host and port once it
// listens.
func run(t *testing.T, source string) (host string) {
	t.Helper()
	free := unused(t)
	defer free.Close()
	// It is printed with port 8080, which may be taken. Nothing but the address is changed.
	host = free.Addr().String()
	if n := strings.Count(source, `"localhost:8080"`); n != 1 {
		t.Fatalf("the program names its address %d times", n)
	}
	binary := build(t, strings.Replace(source, `"localhost:8080"`, `"`+host+`"`, 1))
	free.Close() // no sooner, for building takes seconds, in which others look for a port
	await(t, host, binary)
	return host
}

// unused listens on a port below those that systems give to clients. One of theirs may be taken
// once it is free again, even by await: a dial to it can come from the same port, and connects to itself.
// e2e, whose servers leave their ports for a while, looks above these.
func unused(t *testing.T) net.Listener {
	t.Helper()
	for range 100 {
		if l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", 10_000+rand.IntN(10_000))); err == nil {
			return l
		}
	}
	t.Fatal("no port is free")
	return nil
}

// strangersAreRefused tries what only users may do as nobody, and as a user from a page of
// another site.
func strangersAreRefused(t *testing.T, host string) {
	t.Helper()
	for name, dial := range map[string]error{
		"a stranger":             dialError(host, "", "http://"+host),
		"a forged session":       dialError(host, "alice", "http://"+host),
		"a page of another site": dialError(host, "demo-alice", "http://elsewhere.example"),
	} {
		if !refused(dial) {
			t.Errorf("%s: the handshake ends with %v", name, dial)
		}
	}
	for name, header := range map[string]http.Header{
		"a stranger":             {},
		"a forged session":       {"Cookie": {"session=alice"}},
		"a page of another site": {"Cookie": {"session=demo-alice"}, "Sec-Fetch-Site": {"cross-site"}},
	} {
		if status := post(t, host, "bob", "from a stranger", header); status != 401 && status != 403 {
			t.Errorf("%s: a push is answered %d", name, status)
		}
	}
}

// as is the header of a user's requests.
func as(user string) http.Header { return http.Header{"Cookie": {"session=demo-" + user}} }

// push posts a message as a user, once the recipient, who has just connected, is in the pool.
func push(t *testing.T, host, from, to, text string) (status int) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		status = post(t, host, to, text, as(from))
		if status == http.StatusOK || time.Now().After(end) {
			return status
		}
	}
}

func post(t *testing.T, host, to, text string, header http.Header) (status int) {
	t.Helper()
	r, err := http.NewRequest("POST", "http://"+host+"/push/"+to, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = header
	client := http.Client{Timeout: patience}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	return answer.StatusCode
}
