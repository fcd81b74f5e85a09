package closing

import (
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestBehindNginx uses the nginx location of examples/recipes/README.md.
func TestBehindNginx(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../examples/recipes/README.md")
	if err != nil {
		t.Fatal(err)
	}
	location := regexp.MustCompile(`(?s)    location /ws \{.*?\n    \}\n`).FindString(string(readme))
	location = strings.NewReplacer("/ws", `~ ^/(\d+)(/.*)$`, "127.0.0.1:8080", "127.0.0.1:$1$2").Replace(location)
	addr := startProxy(t, `
daemon off;
pid DIR/pid;
events {}
http {
	access_log off;
	client_body_temp_path DIR/body;
	proxy_temp_path DIR/proxy;
	fastcgi_temp_path DIR/fastcgi;
	uwsgi_temp_path DIR/uwsgi;
	scgi_temp_path DIR/scgi;
	server {
		listen ADDR;
`+location+"}}\n", "/usr/sbin/nginx", "-p", "DIR", "-e", "stderr", "-c", "FILE")
	closeAll(t, through(addr, openRaw), round{few: 1})
	closeAll(t, through(addr, newChromium(t)), round{few: 1, takes: notifies})
	closeAll(t, through(addr, newFirefox(t)), round{few: 1, takes: notifies})
}

func TestBehindHAProxy(t *testing.T) {
	t.Parallel()
	addr := startProxy(t, `
defaults
	mode http
	timeout connect 5s
	timeout client 30s
	timeout server 30s
listen all
	bind fd@3
	http-request set-var(txn.port) path,field(2,/)
	http-request set-dst str(127.0.0.1)
	http-request set-dst-port var(txn.port)
	http-request replace-path /[0-9]+(/.*) \1
	server all 0.0.0.0:0
`, "/usr/sbin/haproxy", "-db", "-f", "FILE")
	closeAll(t, through(addr, openRaw), round{few: 1})
}

// TestBehindReverseProxy uses net/http/httputil, which Caddy and Traefik use too.
func TestBehindReverseProxy(t *testing.T) {
	t.Parallel()
	l := listen(t, false)
	server := &http.Server{Handler: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		port, path, _ := strings.Cut(strings.TrimPrefix(r.In.URL.Path, "/"), "/")
		r.Out.URL.Scheme, r.Out.URL.Host, r.Out.URL.Path = "http", "127.0.0.1:"+port, "/"+path
	}}}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	closeAll(t, through(l.Addr().String(), openRaw), round{few: 1})
}

// through returns a client whose connections go through the proxy at addr. The proxy passes a
// request for /PORT/PATH on to PATH at PORT of this machine.
func through(addr string, open client) client {
	return func(t *testing.T, url string, n int, sends bool) []ending {
		_, port, _ := net.SplitHostPort(strings.TrimPrefix(url, "ws://"))
		return open(t, "ws://"+addr+"/"+port, n, sends)
	}
}

// startProxy runs a command with a configuration, and returns the address of the proxy. The
// command inherits the listening socket as descriptor 3, because a free port could be taken
// before the proxy listens on it.
func startProxy(t *testing.T, config, name string, args ...string) (addr string) {
	t.Helper()
	need(t, name)
	l := listen(t, false)
	defer l.Close()
	addr = l.Addr().String()
	socket, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	dir := t.TempDir()
	file := filepath.Join(dir, "config")
	fill := strings.NewReplacer("ADDR", addr, "DIR", dir, "FILE", file)
	if err := os.WriteFile(file, []byte(fill.Replace(config)), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, arg := range args {
		args[i] = fill.Replace(arg)
	}
	command := exec.Command(name, args...)
	command.ExtraFiles = []*os.File{socket}
	command.Env = append(os.Environ(), "NGINX=3;") // the way nginx hands its sockets to its successor
	command.Stdout, command.Stderr = t.Output(), t.Output()
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		command.Process.Signal(os.Interrupt)
		command.Wait()
	})
	return addr
}
