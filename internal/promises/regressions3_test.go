package promises

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"
)

// TestStatsKnowWhatDeliverReturned: the outcome is counted first.
func TestStatsKnowWhatDeliverReturned(t *testing.T) {
	p, c, s := started(t)
	late := 0
	for range 500 {
		pipe(t, c, "a")
		go func() {
			time.Sleep(50 * time.Microsecond)
			c.Del("a")
		}()
		s.Deliver(context.Background(), "a", []byte("x"))
		if st := p.Stats()[0]; st.Waiting != 0 {
			late++
		}
	}
	if late > 0 {
		t.Errorf("%d times Deliver had returned and Stats said waiting", late)
	}
}

// TestInterimStatusIsNotTheFinalOne: nor is it sent.
func TestInterimStatusIsNotTheFinalOne(t *testing.T) {
	both(t, func(t *testing.T, wrap wrapper) {
		addr := serve(t, wrap, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", "</x>; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusForbidden)
			io.WriteString(w, "<html>no")
		}))
		req, _ := http.NewRequest("GET", "http://"+addr, nil)
		req.Header.Set("Connection", "Upgrade")
		req.Header.Set("Upgrade", "websocket")
		req.Header.Set("Sec-WebSocket-Version", "13")
		req.Header.Set("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==")
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		resp, err := http.DefaultClient.Do(req.WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		t.Log(resp.Status, resp.Header, string(b))
		if resp.StatusCode != 403 {
			t.Error(resp.Status)
		}
	})
}

var _ = errors.Is
