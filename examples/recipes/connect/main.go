// Connect is a WebSocket client for the terminal, for trying the recipes. It prints what the
// server pushes, sends each line that you type, and at the end prints the server's close code.
// It stays connected when its input ends.
//
//	go run ./examples/recipes/connect -session demo-alice ws://localhost:8080/ws
package main

import (
	"bufio"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"golang.org/x/net/websocket"
)

func main() {
	session := flag.String("session", "", "the session's `cookie`")
	basic := flag.String("basic", "", "the `user:password` of basic authentication")
	protocol := flag.String("protocol", "", "the `subprotocol` to offer")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: connect [flags] ws://host/path, where -h lists the flags")
		os.Exit(2)
	}
	config, err := websocket.NewConfig(flag.Arg(0), "http"+strings.TrimPrefix(flag.Arg(0), "ws"))
	if err == nil {
		if *basic != "" {
			config.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(*basic)))
		}
		if *protocol != "" {
			config.Protocol = []string{*protocol}
		}
		config.Header.Set("Cookie", "session="+*session)
		err = connect(config, os.Stdin, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "connect:", err)
		os.Exit(1)
	}
}

// connect returns when the connection ends, even if in has ended earlier.
func connect(config *websocket.Config, in io.Reader, out io.Writer) error {
	ws, err := websocket.DialConfig(config)
	if failed, ok := err.(*websocket.DialError); ok && failed.Err == websocket.ErrBadStatus {
		return refusal(config, err)
	} else if err != nil {
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
		message, err := receive(ws)
		if err != nil {
			return err
		}
		fmt.Fprintln(out, strings.TrimSuffix(message, "\n"))
	}
}

// refusal repeats the handshake to find out why the server refuses it, because x/net drops the
// answer. It returns err if it does not find out.
func refusal(config *websocket.Config, err error) error {
	req := &http.Request{URL: config.Location.JoinPath(), Header: config.Header.Clone()}
	req.URL.Scheme = "http" + strings.TrimPrefix(req.URL.Scheme, "ws")
	for name, value := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Origin": config.Origin.String(),
		"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": base64.StdEncoding.EncodeToString(make([]byte, 16)),
	} {
		req.Header.Set(name, value)
	}
	resp, again := http.DefaultTransport.RoundTrip(req)
	if again != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return err
	}
	why, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
	return fmt.Errorf("the server has refused the connection with %s\n%s", resp.Status, why)
}

// receive does by hand what websocket.Message.Receive does, because Receive hides the close code.
func receive(ws *websocket.Conn) (string, error) {
	for {
		frame, err := ws.NewFrameReader()
		if err != nil {
			return "", fmt.Errorf("the connection was lost: %w", err)
		}
		if frame.PayloadType() == websocket.CloseFrame {
			body, _ := io.ReadAll(frame)
			if len(body) < 2 {
				return "", errors.New("the server has closed the connection, without a code")
			}
			return "", fmt.Errorf("the server has closed the connection with code %d: %q", binary.BigEndian.Uint16(body), body[2:])
		}
		if frame, err = ws.HandleFrame(frame); err != nil { // it answers pings
			return "", err
		} else if frame != nil {
			message, err := io.ReadAll(frame)
			return string(message), err
		}
	}
}
