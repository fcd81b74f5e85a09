// Package before is a server as in the README of the original gcpool.
package before

// begin server
import (
	"bufio"
	"io"
	"log"
	"net/http"

	gcpool "github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

var GO_CONN_POOL *gcpool.Pool

func Start() {
	GO_CONN_POOL = gcpool.NewPool()
	GO_CONN_POOL.Register("default")
	GO_CONN_POOL.Start()
	http.Handle("/hello", websocket.Handler(HelloHandler))
}

func HelloHandler(ws *websocket.Conn) {
	id := ws.Request().FormValue("id")
	GO_CONN_POOL.GetConn("default").Add(id, ws)
	defer GO_CONN_POOL.GetConn("default").Del(id)
	r := bufio.NewReader(ws)
	for {
		data, err := r.ReadBytes('\n')
		if err != nil {
			if err != io.EOF {
				log.Println(err)
			}
			break
		}
		GO_CONN_POOL.GetStream("default").Add(id, data)
	}
}

// end server
