// Connect is a terminal as a WebSocket client, to try the recipes with: it prints
// what the server pushes, and sends each line that is typed.
//
//	go run ./examples/recipes/connect -session demo-alice ws://localhost:8080/ws
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/net/websocket"
)

func main() {
	session := flag.String("session", "", "the session's `cookie`")
	flag.Parse()
	if err := connect(flag.Arg(0), *session, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "connect:", err)
		os.Exit(1)
	}
}

// connect ends with the connection; in may end before.
func connect(url, session string, in io.Reader, out io.Writer) error {
	config, err := websocket.NewConfig(url, "http"+strings.TrimPrefix(url, "ws"))
	if err != nil {
		return err
	}
	config.Header.Set("Cookie", "session="+session)
	ws, err := websocket.DialConfig(config)
	if err != nil {
		return err
	}
	defer ws.Close()
	go func() {
		for lines := bufio.NewScanner(in); lines.Scan(); {
			if websocket.Message.Send(ws, lines.Text()+"\n") != nil {
				return
			}
		}
	}()
	for {
		var message string
		if err := websocket.Message.Receive(ws, &message); err != nil {
			return fmt.Errorf("the connection has ended: %w", err)
		}
		fmt.Fprintln(out, strings.TrimSuffix(message, "\n"))
	}
}
