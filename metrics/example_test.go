package metrics_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/metrics"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// A server shows its pools to Prometheus at /metrics.
func Example() {
	pool := gcpool.NewPool()
	if err := pool.Register("users"); err != nil {
		panic(err)
	}
	pool.Start()

	registry := prometheus.NewRegistry()
	registry.MustRegister(metrics.NewCollector(pool))
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))

	scrape := httptest.NewRecorder()
	mux.ServeHTTP(scrape, httptest.NewRequest("GET", "/metrics", nil))
	fmt.Println(strings.Contains(scrape.Body.String(), `gcpool_connections{pool="users"} 0`))
	// Output: true
}

func ExampleNewCollector() {
	pool := gcpool.NewPool()
	pool.Register("users")
	pool.Start()
	defer pool.Shutdown(context.Background())
	server, peer := net.Pipe()
	defer peer.Close()
	pool.GetConn("users").Add("alice", server)
	defer pool.GetConn("users").Del("alice")

	fmt.Println(testutil.CollectAndCompare(metrics.NewCollector(pool), strings.NewReader(`
# HELP gcpool_connections Connected ids.
# TYPE gcpool_connections gauge
gcpool_connections{pool="users"} 1
`), "gcpool_connections"))
	// Output: <nil>
}
