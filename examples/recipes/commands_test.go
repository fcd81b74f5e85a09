// Package recipes has nothing but a test: the commands at the top of each recipe do what
// they are there for.
package recipes

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// patience is how long anything here may take.
const patience = 30 * time.Second

// answers are what the curl lines of a recipe print, in order.
var answers = map[string][]string{
	"chat":     {`200 OK`},
	"deploy":   {`200 OK(.|\s)*ready`},
	"devices":  {`200 OK`},
	"notify":   {`202 Accepted(.|\s)*"delivered"`, `202 Accepted(.|\s)*"kept"`},
	"ocpp":     {`200 OK(.|\s)*"Accepted"`},
	"pools":    {`202 Accepted`, `202 Accepted`, `"Name":"messages"(.|\s)*"Name":"prices"`},
	"presence": {`\["alice","bob"\]`},
	"resume":   {`202 Accepted(.|\s)*{"n":1}`},
	"tabs":     {`delivered to 2 of 2 tabs`},
}

var runs = regexp.MustCompile(`go run \./examples/recipes/(\w+)`)

func TestTheCommandsAtTheTopOfEachRecipe(t *testing.T) {
	for _, tool := range []string{"sh", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(err)
		}
	}
	files, err := filepath.Glob("*/main.go")
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", bin, "./...").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	tried := 0
	for _, file := range files {
		name := filepath.Dir(file)
		if name == "connect" { // the others run it
			continue
		}
		tried++
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			try(t, bin, commands(t, file), answers[name])
		})
	}
	if tried != len(answers) {
		t.Errorf("%d recipes, but answers of %d", tried, len(answers))
	}
}

// commands returns the commands at the top of a recipe.
func commands(t *testing.T, file string) (all []string) {
	t.Helper()
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(source)) {
		if line == "package main\n" {
			break
		}
		if command, ok := strings.CutPrefix(line, "//\t"); ok && regexp.MustCompile(`^([A-Z_]+=\w+ )?(go|curl|nc) `).MatchString(command) {
			all = append(all, strings.TrimSpace(command))
		}
	}
	return all
}

// try runs the server, which is the first command, then each other one.
func try(t *testing.T, bin string, commands, answers []string) {
	const anyPort = " 127.0.0.1:0"
	server, devices := commands[0]+" -addr"+anyPort, ""
	raw := strings.Contains(server, "recipes/devices")
	if raw {
		server += " -devices" + anyPort
	}
	lines := start(t, bin, server, "")
	addr := address(t, lines)
	if raw {
		devices = address(t, lines)
	}
	local := strings.NewReplacer("localhost:8080", addr)
	for _, command := range commands[1:] {
		command = local.Replace(command)
		switch {
		case strings.HasPrefix(command, "nc "):
			conn, err := net.Dial("tcp", devices)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			_, line, _ := strings.Cut(command, "then type: ")
			fmt.Fprintln(conn, line)
		case strings.HasPrefix(command, "curl "):
			if len(answers) == 0 {
				t.Fatalf("no answer is known for %s", command)
			}
			curl(t, command, answers[0])
			answers = answers[1:]
		default:
			start(t, bin, command, reply)
		}
	}
	if len(answers) > 0 {
		t.Errorf("no command for the answers %q", answers)
	}
}

// reply is a filter for what connect prints: it answers a call of ocpp.
const reply = `while read -r line; do echo "$line" | sed -n 's/^\[2,\("[A-Z0-9]*"\),.*/[3,\1,{"status":"Accepted"}]/p'; done`

// start runs a command until the test ends. What it prints goes through the filter to its
// input, which stays open. Without a filter, start returns the lines.
func start(t *testing.T, bin, command, filter string) <-chan string {
	t.Helper()
	command = runs.ReplaceAllString(command, bin+"/$1")
	var words []string
	for _, word := range strings.Fields(command) {
		words = append(words, strings.Trim(word, "'"))
	}
	var env []string
	for strings.Contains(words[0], "=") {
		env, words = append(env, words[0]), words[1:]
	}
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Env = append(os.Environ(), env...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 100)
	if filter == "" {
		go read(out, lines)
	} else {
		close(lines)
		answering := exec.Command("sh", "-c", filter)
		answering.Stdin, answering.Stdout = out, in
		if err := answering.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { answering.Wait() })
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		for range lines { // Wait must come after the last read
		}
		cmd.Wait()
	})
	return lines
}

// read hands over the lines of a command's output.
func read(out io.Reader, lines chan<- string) {
	defer close(lines)
	for l := bufio.NewScanner(out); l.Scan(); {
		lines <- l.Text()
	}
}

// address returns where a server says that it listens, in the last word of its next line.
func address(t *testing.T, lines <-chan string) string {
	t.Helper()
	select {
	case line := <-lines:
		if words := strings.Fields(line); len(words) > 0 {
			return strings.TrimPrefix(words[len(words)-1], "http://")
		}
		t.Fatal("the server has ended")
	case <-time.After(patience):
		t.Fatal("the server does not listen")
	}
	return ""
}

// curl runs a command again and again until it prints what it should: users are in the pool
// a moment after they have connected.
func curl(t *testing.T, command, answer string) {
	t.Helper()
	want := regexp.MustCompile(answer)
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		out, _ := exec.Command("sh", "-c", command).Output()
		if want.Match(out) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s prints %q instead of %s", command, out, answer)
		}
	}
}
