package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/metrics"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
)

// registered returns a started pool, and a registry with its collector. The registry is
// pedantic: it checks what a usual registry does not.
func registered(t testing.TB, names ...string) (*gcpool.Pool, *prometheus.Registry) {
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
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(metrics.NewCollector(pool))
	return pool, registry
}

// connect adds a connection whose peer reads everything.
func connect(t testing.TB, conns *gcpool.ConnPool, id string) {
	t.Helper()
	near, far := net.Pipe()
	t.Cleanup(func() { near.Close() })
	go io.Copy(io.Discard, far)
	if err := conns.Add(id, near); err != nil {
		t.Fatal(err)
	}
}

// gather returns the values of a scrape. The key is the name and the labels for counters and
// gauges, and only the name for histograms.
func gather(t testing.TB, from prometheus.Gatherer) (values map[string]float64, histograms map[string]*dto.Histogram) {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values, histograms = map[string]float64{}, map[string]*dto.Histogram{}
	for _, family := range families {
		for _, m := range family.Metric {
			name := family.GetName()
			for _, l := range m.Label {
				name += fmt.Sprintf(" %s=%s", l.GetName(), l.GetValue())
			}
			switch {
			case m.Histogram != nil:
				histograms[name] = m.Histogram
			case m.Counter != nil:
				values[name] = m.Counter.GetValue()
			default:
				values[name] = m.Gauge.GetValue()
			}
		}
	}
	return values, histograms
}

func TestFiguresAreThoseOfRealPushes(t *testing.T) {
	pool, registry := registered(t)
	if err := pool.Register("users", gcpool.WithOutbox(5000), gcpool.WithMailbox(time.Minute, 10)); err != nil {
		t.Fatal(err)
	}
	conns, stream := pool.GetConn("users"), pool.GetStream("users")
	for _, id := range []string{"alice", "bob", "bob", "carol"} {
		connect(t, conns, id)
	}
	for range 200 { // more than one sample
		if err := stream.Deliver(t.Context(), "alice", []byte("12345")); err != nil {
			t.Fatal(err)
		}
	}
	conns.Del("carol")
	for range 3 { // the mailbox has room for two, and drops the oldest
		if err := stream.Add("carol", []byte("12345")); err != nil {
			t.Fatal(err)
		}
	}
	const labels = " pool=users"
	want := map[string]float64{
		"gcpool_connections" + labels:              2,
		"gcpool_waiting_messages" + labels:         2,
		"gcpool_waiting_bytes" + labels:            10,
		"gcpool_outbox_limit_bytes" + labels:       5000,
		"gcpool_fullest_outbox_bytes" + labels:     0,
		"gcpool_mailbox_bytes" + labels:            10,
		"gcpool_mailbox_limit_bytes" + labels:      10,
		"gcpool_stalled_writers" + labels:          0,
		"gcpool_accepted_messages_total" + labels:  203,
		"gcpool_written_messages_total" + labels:   200,
		"gcpool_written_bytes_total" + labels:      1000,
		"gcpool_forwarded_messages_total" + labels: 0,
		"gcpool_joins_total" + labels:              3,
		"gcpool_leaves_total" + labels:             1,
		"gcpool_takeovers_total" + labels:          1,
	}
	for _, reason := range []string{"not_connected", "slow", "deleted", "expired", "closed", "other"} {
		want["gcpool_undelivered_messages_total"+labels+" reason="+reason] = 0
	}
	want["gcpool_undelivered_messages_total"+labels+" reason=expired"] = 1
	values, histograms := gather(t, registry)
	// Of a busy machine, the heartbeat may have seen a push, and a writer may not have noted its end.
	for end := time.Now().Add(20 * time.Second); !maps.Equal(values, want) && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
		values, histograms = gather(t, registry)
	}
	if !maps.Equal(values, want) {
		t.Errorf("got  %v\nwant %v", values, want)
	}
	h := histograms["gcpool_delivery_duration_seconds"+labels]
	if n := h.GetSampleCount(); len(histograms) != 1 || n < 3 || n > 4 || h.GetSampleSum() <= 0 {
		t.Errorf("histogram of 200 writes is %v", h)
	}
}

func TestEachReasonHasItsSeries(t *testing.T) {
	pool, registry := registered(t, "users")
	stream := pool.GetStream("users")
	// net.Pipe takes only bytes that its peer reads, so the second message waits.
	near, far := net.Pipe()
	defer far.Close()
	if err := pool.GetConn("users").Add("bob", near); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := stream.Add("bob", []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	pool.GetConn("users").Del("bob")
	if err := stream.Deliver(t.Context(), "nobody", nil); !errors.Is(err, gcpool.ErrNotConnected) {
		t.Error(err)
	}
	if err := pool.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	values, _ := gather(t, registry)
	for reason, want := range map[string]float64{"deleted": 2, "not_connected": 1, "slow": 0} {
		if got := values["gcpool_undelivered_messages_total pool=users reason="+reason]; got != want {
			t.Errorf("%s: %v, want %v", reason, got, want)
		}
	}
}

func TestHistogramIsCumulative(t *testing.T) {
	pool, registry := registered(t, "users")
	connect(t, pool.GetConn("users"), "alice")
	for range 1000 {
		if err := pool.GetStream("users").Deliver(t.Context(), "alice", nil); err != nil {
			t.Fatal(err)
		}
	}
	_, histograms := gather(t, registry)
	h := histograms["gcpool_delivery_duration_seconds pool=users"]
	bounds := []float64{.0001, .0002, .0004, .0008, .0016, .0032, .0064, .0128, .0256, .0512, .1024, .2048, .4096, .8192, 1.6384}
	if len(h.Bucket) != len(bounds) || h.GetSampleCount() < 15 {
		t.Fatalf("histogram of 1,000 writes is %v", h)
	}
	count, latency := uint64(0), pool.Stats()[0].Latency
	for i, b := range h.Bucket {
		if count += latency[i]; b.GetUpperBound() != bounds[i] || b.GetCumulativeCount() != count {
			t.Errorf("bucket is %v; want the bound %v and the count %d", b, bounds[i], count)
		}
	}
	if h.GetSampleCount() != count+latency[15] {
		t.Errorf("histogram is %v, of %v", h, latency)
	}
}

// TestMetricsFollowTheRules: promlint accepts the names, units and help texts.
func TestMetricsFollowTheRules(t *testing.T) {
	_, registry := registered(t, "users")
	problems, err := testutil.GatherAndLint(registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}

func TestPoolThatIsRegisteredLaterAppears(t *testing.T) {
	pool, registry := registered(t)
	if values, _ := gather(t, registry); len(values) != 0 {
		t.Errorf("without pools: %v", values)
	}
	for i, name := range []string{"first", "second"} {
		if err := pool.Register(name); err != nil {
			t.Fatal(err)
		}
		values, _ := gather(t, registry)
		if _, ok := values["gcpool_connections pool="+name]; !ok || len(values) != 21*(i+1) {
			t.Errorf("after %s: %v", name, values)
		}
	}
}

func TestNamesOfAnyKindCanBeScraped(t *testing.T) {
	names := []string{"", "users", `<b>"&\`, "用户", "a\nb", "a\xff", `"a\xff"`, "a\ufffd"}
	_, registry := registered(t, names...)
	values, _ := gather(t, registry)
	if len(values) != 21*len(names) {
		t.Errorf("%d pools have %d figures", len(names), len(values))
	}
	if _, ok := values[`gcpool_connections pool=用户`]; !ok {
		t.Errorf("a name was changed: %v", slices.Sorted(maps.Keys(values)))
	}
}

func TestIDsAreNoLabels(t *testing.T) {
	pool, registry := registered(t, "users")
	connect(t, pool.GetConn("users"), "alice")
	for _, id := range []string{"alice", "bob"} {
		pool.GetStream("users").Deliver(t.Context(), id, nil)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if text := family.String(); strings.Contains(text, "alice") || strings.Contains(text, "bob") {
			t.Errorf("an id is in %s", text)
		}
	}
}

// TestCountersNeverFall: counters never fall, and accepted = written + forwarded + undelivered
// + waiting, however scrapes and pushes overlap.
func TestCountersNeverFall(t *testing.T) {
	pool, registry := registered(t, "users")
	done := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 2 {
		id := fmt.Sprint(i)
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				connect(t, pool.GetConn("users"), id)
				pool.GetStream("users").Add(id, []byte("x"))
				pool.GetStream("users").Add("nobody", []byte("x"))
				pool.GetConn("users").Del(id)
			}
		})
	}
	before := map[string]float64{}
	for range 300 {
		values, _ := gather(t, registry)
		sum := values["gcpool_waiting_messages pool=users"]
		for name, value := range values {
			if counted := strings.Contains(name, "_total "); value < 0 || counted && value < before[name] {
				t.Errorf("%s fell from %v to %v", name, before[name], value)
			}
			for _, outcome := range []string{"written", "forwarded", "undelivered"} {
				if strings.HasPrefix(name, "gcpool_"+outcome+"_messages_total") {
					sum += value
				}
			}
		}
		if accepted := values["gcpool_accepted_messages_total pool=users"]; sum != accepted {
			t.Errorf("%v accepted, but %v have an outcome or wait", accepted, sum)
		}
		before = values
	}
	close(done)
	wg.Wait()
}

func TestTwoPoolsInOneProcess(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	for _, server := range []string{"a", "b"} {
		pool := gcpool.NewPool()
		if err := pool.Register("users"); err != nil {
			t.Fatal(err)
		}
		prometheus.WrapRegistererWith(prometheus.Labels{"server": server}, registry).MustRegister(metrics.NewCollector(pool))
	}
	if values, _ := gather(t, registry); len(values) != 2*21 {
		t.Errorf("%d figures", len(values))
	}
	if err := registry.Register(metrics.NewCollector(nil)); err == nil {
		t.Error("a third without a label of its own was registered")
	}
}

func TestNilPoolHasNoPools(t *testing.T) {
	if n := testutil.CollectAndCount(metrics.NewCollector(nil)); n != 0 {
		t.Errorf("%d figures", n)
	}
}
