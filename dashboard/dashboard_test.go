package dashboard_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/dashboard"
)

// started returns a started pool with the names registered.
func started(t *testing.T, names ...string) *gcpool.Pool {
	t.Helper()
	pool := gcpool.NewPool(gcpool.WithLogger(slog.New(slog.DiscardHandler)))
	for _, name := range names {
		if err := pool.Register(name); err != nil {
			t.Fatal(err)
		}
	}
	pool.Start()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		pool.Shutdown(ctx)
	})
	return pool
}

// connect adds a connection whose peer reads everything.
func connect(t *testing.T, pool *gcpool.Pool, name, id string) {
	t.Helper()
	near, far := net.Pipe()
	t.Cleanup(func() { near.Close() })
	go io.Copy(io.Discard, far)
	if err := pool.GetConn(name).Add(id, near); err != nil {
		t.Fatal(err)
	}
}

func ask(h http.Handler, method, target string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, target, nil))
	return w
}

// figures returns what a reader of the JSON gets, with numbers and text as they are.
func figures(t *testing.T, w *httptest.ResponseRecorder) (all map[string]any, pools []map[string]any) {
	t.Helper()
	if err := json.Unmarshal(w.Body.Bytes(), &all); err != nil {
		t.Fatalf("%v in %s", err, w.Body)
	}
	list, ok := all["pools"].([]any)
	if !ok {
		t.Fatalf("pools is %v", all["pools"])
	}
	for _, p := range list {
		pools = append(pools, p.(map[string]any))
	}
	return all, pools
}

func TestFiguresAreThoseOfRealPushes(t *testing.T) {
	t.Parallel()
	pool := started(t, "users", "devices")
	if err := pool.Register("mail", gcpool.WithOutbox(4096), gcpool.WithMailbox(time.Minute, 100)); err != nil {
		t.Fatal(err)
	}
	h := dashboard.Handler(pool)
	for _, id := range []string{"alice", "bob", "bob"} {
		connect(t, pool, "users", id)
	}
	for range 200 { // of which three or four are timed
		if err := pool.GetStream("users").Deliver(t.Context(), "alice", []byte("12345")); err != nil {
			t.Fatal(err)
		}
	}
	pool.GetConn("users").Del("bob")
	pool.GetStream("users").Deliver(t.Context(), "nobody", nil)
	if err := pool.GetStream("mail").Add("carol", []byte("1234567")); err != nil {
		t.Fatal(err)
	}
	// A writer may count as stalled until shortly after the outcome is known.
	for end := time.Now().Add(20 * time.Second); pool.Stats()[2].Stalled > 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	all, pools := figures(t, ask(h, http.MethodGet, "/data.json"))
	want := []map[string]float64{
		{"connections": 0, "accepted": 0, "outbox_limit": 1 << 20},
		{"waiting": 1, "waiting_bytes": 7, "fullest_outbox": 0, "accepted": 1, "outbox_limit": 4096, "mailbox_bytes": 7, "mailbox_limit": 100},
		{"connections": 1, "accepted": 201, "written": 200, "written_bytes": 1000, "undelivered": 1, "forwarded": 0, "stalled": 0,
			"joins": 2, "leaves": 1, "takeovers": 1, "waiting": 0, "waiting_bytes": 0, "mailbox_bytes": 0, "mailbox_limit": 0},
	}
	for i, name := range []string{"devices", "mail", "users"} {
		if pools[i]["name"] != name {
			t.Errorf("pool %d is %v, want %s", i, pools[i]["name"], name)
		}
		for key, value := range want[i] {
			if pools[i][key] != value {
				t.Errorf("%s of %s is %v, want %v", key, name, pools[i][key], value)
			}
		}
	}
	reasons := pools[2]["reasons"].(map[string]any)
	if len(reasons) != 6 || reasons["not_connected"] != 1.0 || reasons["slow"] != 0.0 {
		t.Errorf("reasons are %v", reasons)
	}
	checkLatency(t, pools[2]["latency"].(map[string]any))
	began, err1 := time.Parse(time.RFC3339Nano, all["started"].(string))
	now, err2 := time.Parse(time.RFC3339Nano, all["now"].(string))
	if uptime := all["uptime"].(float64); err1 != nil || err2 != nil || uptime <= 0 || now.Sub(began).Seconds()-uptime > 1 {
		t.Errorf("started %v, now %v, uptime %v", all["started"], all["now"], uptime)
	}
}

func checkLatency(t *testing.T, latency map[string]any) {
	t.Helper()
	bounds, counts, n := latency["bounds"].([]any), latency["counts"].([]any), 0.0
	for _, count := range counts {
		n += count.(float64)
	}
	if len(bounds) != 15 || len(counts) != 16 || bounds[0] != 0.0001 || bounds[14] != 1.6384 || n < 3 || n > 4 || latency["sum"].(float64) <= 0 {
		t.Errorf("latency of 200 writes is %v", latency)
	}
}

// TestEachAnswerIsGuarded: every answer, whatever it is, has the same headers.
func TestEachAnswerIsGuarded(t *testing.T) {
	t.Parallel()
	h := dashboard.Handler(started(t, "users"))
	for _, target := range []string{"/", "/data.json", "/?format=json", "/?file=dashboard.js", "/?file=dashboard.css", "/nope", "/?file=nope"} {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost} {
			header := ask(h, method, target).Header()
			directives := strings.Split(header.Get("Content-Security-Policy"), "; ")
			for _, want := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"} {
				if !strings.Contains(strings.Join(directives, ";")+";", want+";") {
					t.Errorf("%s %s: the policy is without %s", method, target, want)
				}
			}
			if strings.Contains(header.Get("Content-Security-Policy"), "unsafe") || header.Get("X-Content-Type-Options") != "nosniff" ||
				header.Get("Cache-Control") != "no-store" || header.Get("Content-Type") == "" {
				t.Errorf("%s %s: headers are %v", method, target, header)
			}
		}
	}
}

// TestPageIsWithoutInlineCode, which its own policy would not let run.
func TestPageIsWithoutInlineCode(t *testing.T) {
	t.Parallel()
	h := dashboard.Handler(started(t, "users"))
	page := ask(h, http.MethodGet, "/").Body.String()
	if wrong := regexp.MustCompile(`<script>|<style|\son\w+=|\sstyle=|javascript:|https?:`).FindString(page); wrong != "" {
		t.Errorf("%q is in the page", wrong)
	}
	types := map[string]string{".js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
	linked := regexp.MustCompile(`(?:src|href)="(\?file=[^"]*)"`).FindAllStringSubmatch(page, -1)
	if len(linked) != 4 {
		t.Errorf("files of the page: %v", linked)
	}
	for _, link := range linked {
		w := ask(h, http.MethodGet, "/"+link[1])
		if want := types[link[1][len(link[1])-3:]]; w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), want) || w.Body.Len() == 0 {
			t.Errorf("%s: %d, %s", link[1], w.Code, w.Header().Get("Content-Type"))
		}
	}
}

func TestNameWithMarkupIsText(t *testing.T) {
	t.Parallel()
	const name = `<img src=x onerror="alert(1)">&'</script>`
	h := dashboard.Handler(started(t, name, ""))
	page := ask(h, http.MethodGet, "/").Body.String()
	if strings.Contains(page, "<img") || !strings.Contains(page, "&lt;img src=x onerror=&#34;alert(1)&#34;&gt;&amp;&#39;&lt;/script&gt;") {
		t.Errorf("the page is\n%s", page)
	}
	w := ask(h, http.MethodGet, "/data.json")
	if strings.ContainsAny(w.Body.String(), "<>&") {
		t.Errorf("the JSON could be taken for a page: %s", w.Body)
	}
	if _, pools := figures(t, w); len(pools) != 2 || pools[0]["name"] != "" || pools[1]["name"] != name {
		t.Errorf("pools are %v", pools)
	}
}

func TestNamesThatAreNotUTF8StayApart(t *testing.T) {
	t.Parallel()
	h := dashboard.Handler(started(t, "a\xfe", "a\xff", `"a\xff"`))
	_, pools := figures(t, ask(h, http.MethodGet, "/data.json"))
	if len(pools) != 3 || pools[0]["name"] != `"\"a\\xff\""` || pools[1]["name"] != `"a\xfe"` || pools[2]["name"] != `"a\xff"` {
		t.Errorf("pools are %v", pools)
	}
}

func TestOnlyReading(t *testing.T) {
	t.Parallel()
	h := dashboard.Handler(started(t, "users"))
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get", "X"} {
		for _, target := range []string{"/", "/data.json", "/nope"} {
			if w := ask(h, method, target); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
				t.Errorf("%s %s: %d, Allow %q", method, target, w.Code, w.Header().Get("Allow"))
			}
		}
	}
}

func TestHeadIsGetWithoutTheBody(t *testing.T) {
	t.Parallel()
	h := dashboard.Handler(started(t, "users"))
	for _, target := range []string{"/", "/data.json", "/?format=json", "/?file=charts.js"} {
		get, head := ask(h, http.MethodGet, target), ask(h, http.MethodHead, target)
		if head.Code != http.StatusOK || head.Body.Len() > 0 || head.Header().Get("Content-Type") != get.Header().Get("Content-Type") {
			t.Errorf("%s: HEAD is %d, %v, %q", target, head.Code, head.Header(), head.Body)
		}
		if n, _ := strconv.Atoi(get.Header().Get("Content-Length")); n != get.Body.Len() {
			t.Errorf("%s: Content-Length %d of %d bytes", target, n, get.Body.Len())
		}
	}
}

func TestPoolThatIsRegisteredLaterAppears(t *testing.T) {
	t.Parallel()
	pool := started(t)
	h := dashboard.Handler(pool)
	if page := ask(h, http.MethodGet, "/").Body.String(); !strings.Contains(page, "No pool is registered yet.") {
		t.Error("the page without pools does not say so")
	}
	if _, pools := figures(t, ask(h, http.MethodGet, "/data.json")); len(pools) != 0 {
		t.Errorf("pools are %v", pools)
	}
	if err := pool.Register("late"); err != nil {
		t.Fatal(err)
	}
	if _, pools := figures(t, ask(h, http.MethodGet, "/data.json")); len(pools) != 1 || pools[0]["name"] != "late" {
		t.Errorf("pools are %v", pools)
	}
	if _, pools := figures(t, ask(dashboard.Handler(nil), http.MethodGet, "/data.json")); len(pools) != 0 {
		t.Errorf("a nil pool has pools: %v", pools)
	}
}

// TestNothingRunsWhileNobodyLooks: a request leaves no goroutine behind.
func TestNothingRunsWhileNobodyLooks(t *testing.T) {
	pool := started(t, "users")
	before := runtime.NumGoroutine()
	for range 100 {
		h := dashboard.Handler(pool)
		ask(h, http.MethodGet, "/")
		ask(h, http.MethodGet, "/data.json")
	}
	if after := runtime.NumGoroutine(); after > before {
		t.Errorf("%d goroutines, %d before", after, before)
	}
}

// TestBytesAreWrittenWithoutExponent: the server formats them as the script does.
func TestBytesAreWrittenWithoutExponent(t *testing.T) {
	t.Parallel()
	for bytes, want := range map[int]string{
		999: "999 B", 1000: "0.977 KiB", 12_345: "12.1 KiB", 1_023_300: "999 KiB", 1_023_600: "1000 KiB", 1_024_000: "0.977 MiB",
	} {
		pool := gcpool.NewPool(gcpool.WithMailbox(time.Minute, 1<<21))
		if err := pool.Register("mail"); err != nil {
			t.Fatal(err)
		}
		if err := pool.GetStream("mail").Add("carol", make([]byte, bytes)); err != nil { // waits for Start
			t.Fatal(err)
		}
		page := ask(dashboard.Handler(pool), http.MethodGet, "/").Body.String()
		if !strings.Contains(page, "<td>"+want+"</td>") {
			t.Errorf("%d bytes are not written as %s in %s", bytes, want, regexp.MustCompile(`<td>.* \w*B</td>`).FindString(page))
		}
		pool.Shutdown(t.Context())
	}
}
