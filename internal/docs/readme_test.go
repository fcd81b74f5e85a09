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

	_ "github.com/nulijiabei/gcpool" // so that the go command reruns these tests when it changes
)

// readmes are the same page in two languages.
var readmes = []string{"README.md", "README.zh-CN.md"}

// block is a piece of Go code on a page.
var block = regexp.MustCompile("(?ms)^```go\n(.*?)^```$")

// TestTheServerInTheREADMEServesOnlyItsUsers builds and runs the program of each README, as
// printed and with the changes that the page gives for other WebSocket libraries.
func TestTheServerInTheREADMEServesOnlyItsUsers(t *testing.T) {
	for _, file := range readmes {
		for library, source := range servers(t, file) {
			t.Run(file+"/"+library, func(t *testing.T) {
				t.Parallel()
				host := run(t, source)
				bob := connected(t, host, "bob")
				bob.gets("alice: hello bob", push(t, host, "alice", "bob", "hello bob"))
				bob.gets("alice: ouch ?", push(t, host, "alice", "bob", "ouch \xff")) // a browser would close
				strangersAreRefused(t, host)
				if status := post(t, host, "carol", "hi", as("alice")); status != http.StatusServiceUnavailable {
					t.Errorf("a push to a user who is away got status %d", status)
				}
				newer := connected(t, host, "bob")
				bob.isClosed()
				newer.gets("alice: again", push(t, host, "alice", "bob", "again"))
			})
		}
	}
}

// servers returns the variants of the program that a README prints, by their WebSocket library.
func servers(t *testing.T, file string) map[string]string {
	t.Helper()
	text := page(t, file)
	blocks := block.FindAllStringSubmatch(text, -1)
	if len(blocks) != 3 {
		t.Fatalf("%s has %d Go blocks; want the program and two for other libraries", file, len(blocks))
	}
	gorilla, coder, xnet := blocks[0][1], blocks[1][1], blocks[2][1]
	paths := regexp.MustCompile("`([a-z.]+/[a-z/]+websocket)`").FindAllStringSubmatch(text, -1)
	if len(paths) != 2 {
		t.Fatalf("%s names %d imports for other libraries", file, len(paths))
	}
	return map[string]string{
		"gorilla": gorilla,
		"coder":   imports(changed(t, gorilla, coder), paths[0][1]),
		"x/net":   imports(replaced(t, gorilla, xnet), paths[1][1]),
	}
}

// imports changes the import of the WebSocket library in a program.
func imports(source, path string) string {
	return strings.Replace(source, "github.com/gorilla/websocket", path, 1)
}

// changed replaces single lines of a program, each by the given line that begins the same way.
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

// replaced replaces the last function of a program, which must begin the same way as the given one.
func replaced(t *testing.T, source, function string) string {
	t.Helper()
	begin, _, _ := strings.Cut(function, "\n")
	at := strings.Index(source, begin)
	if at < 0 {
		t.Fatalf("the program has no %s", begin)
	}
	return source[:at] + function
}

// TestREADMEIsShort keeps each README short enough to read, with one command to try gcpool and
// one to test it, both of which CI runs.
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
		if _, err := os.Stat("testdata/client.js"); err != nil { // lets the go command track the file
			t.Fatal(err)
		}
		cmd := exec.Command(node, "testdata/client.js")
		cmd.Stdin = strings.NewReader(m[1])
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", file, err, out)
		}
	}
}

// TestREADMEsSayTheSame compares the parts that do not depend on the
// language: code, links, options and close codes.
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

// run builds a program and runs it until the test ends. It returns
// the program's host and port once it listens.
func run(t *testing.T, source string) (host string) {
	t.Helper()
	free := unused(t)
	defer free.Close()
	// The README's port 8080 may be taken, so the address is changed, and nothing else.
	host = free.Addr().String()
	if n := strings.Count(source, `"localhost:8080"`); n != 1 {
		t.Fatalf("the program names its address %d times", n)
	}
	binary := build(t, strings.Replace(source, `"localhost:8080"`, `"`+host+`"`, 1))
	free.Close() // as late as possible, because other programs look for ports during a build of several seconds
	await(t, host, binary)
	return host
}

// unused listens on a port below the range that systems give to clients. A port
// from that range could be taken again as soon as it is free, even by await: a
// dial to it can come from the same port, and so connect to itself. e2e uses
// ports above these, because its servers give up their ports for a while.
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

// strangersAreRefused tries to connect and to push without a session, with a forged session,
// and as a user from a page of another site. Each must be refused.
func strangersAreRefused(t *testing.T, host string) {
	t.Helper()
	for name, dial := range map[string]error{
		"a stranger":             dialError(host, "", "http://"+host),
		"a forged session":       dialError(host, "alice", "http://"+host),
		"a page of another site": dialError(host, "demo-alice", "http://elsewhere.example"),
	} {
		if !refused(dial) {
			t.Errorf("%s: the handshake returned %v", name, dial)
		}
	}
	for name, header := range map[string]http.Header{
		"a stranger":             {},
		"a forged session":       {"Cookie": {"session=alice"}},
		"a page of another site": {"Cookie": {"session=demo-alice"}, "Sec-Fetch-Site": {"cross-site"}},
	} {
		if status := post(t, host, "bob", "from a stranger", header); status != 401 && status != 403 {
			t.Errorf("%s: a push got status %d", name, status)
		}
	}
}

// as returns the header of a user's requests.
func as(user string) http.Header { return http.Header{"Cookie": {"session=demo-" + user}} }

// push posts a message as a user. The recipient has just connected,
// so push retries until the pool has it.
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
