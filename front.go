package gcpool

import (
	"context"
	"errors"
	"net"
	"net/http"
	"runtime"
)

// hijack returns the connection, and the bytes that the server has read after the request.
func hijack(w http.ResponseWriter) (conn net.Conn, early []byte, err error) {
	conn, buf, err := http.NewResponseController(w).Hijack()
	if err == nil && buf == nil {
		conn.Close()
		err = errors.New("Hijack returned no buffers, so the server keeps reading from the connection")
	}
	if err != nil {
		return nil, nil, err
	}
	early, _ = buf.Reader.Peek(buf.Reader.Buffered()) // never fails: these bytes are in the buffer
	return conn, early, nil
}

// notFromFront are the headers that make sense only if the middleware in front of Upgrade sees the
// body or owns the connection. The answer bypasses that middleware, so it leaves these headers out.
var notFromFront = []string{"Connection", "Content-Encoding", "Content-Length", "Transfer-Encoding"}

// calledByServer reports whether net/http's server has called the caller directly. If net/http
// renames these functions one day, calledByServer returns false, which costs only memory.
func calledByServer() bool {
	pcs := make([]uintptr, 16)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)]) // from the caller's caller on
	for frame, more := frames.Next(); more; frame, more = frames.Next() {
		switch frame.Function {
		case "net/http.serverHandler.ServeHTTP":
			return true
		case "net/http.HandlerFunc.ServeHTTP", "net/http.(*ServeMux).ServeHTTP": // which do nothing afterwards
		default:
			return false
		}
	}
	return false
}

// withoutEnd returns a context that never ends, with the values of ctx. If the application has
// added no values, the context keeps only net/http's server.
func withoutEnd(ctx context.Context) context.Context {
	srv, _ := ctx.Value(http.ServerContextKey).(*http.Server)
	if srv == nil || srv.BaseContext != nil || srv.ConnContext != nil {
		return context.WithoutCancel(ctx)
	}
	return context.WithValue(context.Background(), http.ServerContextKey, srv)
}
