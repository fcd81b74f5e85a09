package promises

import (
	"bufio"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
)

func TestMailboxKeepsForItsTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reports
		p, conns, stream := started(t, gcpool.WithMailbox(time.Minute, 1000), gcpool.WithUndelivered(r.hook))
		add(t, stream, "a", "1")
		time.Sleep(20 * time.Second)
		add(t, stream, "a", "2")
		add(t, stream, "b", "3")
		time.Sleep(40*time.Second - 1)
		synctest.Wait()
		equal(t, "too early", r.take(t, nil), nil)
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		equal(t, "expired", r.take(t, gcpool.ErrExpired), []string{"a 1"})
		equal(t, "delivered", lines(t, bufio.NewReader(pipe(t, conns, "a")), 1), []string{"2"})
		time.Sleep(time.Minute)
		synctest.Wait()
		equal(t, "expired", r.take(t, gcpool.ErrExpired), []string{"b 3"})
		settled(t, p)
	})
}

func TestMailboxGivesUpTheOldestForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reports
		p, conns, stream := started(t, gcpool.WithMailbox(time.Hour, 30), gcpool.WithUndelivered(r.hook))
		for i := range 5 {
			add(t, stream, fmt.Sprint("id", i%2), fmt.Sprintf("message %02d", i))
		}
		synctest.Wait()
		equal(t, "gave way", r.take(t, gcpool.ErrExpired), []string{"id0 message 00", "id1 message 01"})
		add(t, stream, "id0", strings.Repeat("x", 31))
		synctest.Wait()
		equal(t, "never fits", r.take(t, gcpool.ErrNotConnected), []string{"id0 " + strings.Repeat("x", 31)})
		if s := p.Stats()[0]; s.WaitingBytes != 30 || s.Waiting != 3 {
			t.Errorf("the mailbox holds too much or too little: %+v", s)
		}
		equal(t, "delivered", lines(t, bufio.NewReader(pipe(t, conns, "id0")), 2), []string{"message 02", "message 04"})
	})
}

func TestMailboxTakesWhatALostConnectionLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reports
		_, conns, stream := started(t, gcpool.WithMailbox(time.Minute, 1<<20), gcpool.WithUndelivered(r.hook))
		peer := pipe(t, conns, "a")
		for i := range 10 {
			add(t, stream, "a", fmt.Sprint(i))
			synctest.Wait()
		}
		peer.Close() // "0" is on its way and has not been started
		synctest.Wait()
		add(t, stream, "a", "10")
		got := lines(t, bufio.NewReader(pipe(t, conns, "a")), 11)
		equal(t, "the next connection", got, strings.Fields("0 1 2 3 4 5 6 7 8 9 10"))
		equal(t, "undelivered", r.take(t, nil), nil)
	})
}

// What a write leaves over goes to the connection that has come meanwhile, before
// what waits behind it, or waits for one.
func TestMailboxPassesOnWhatAWriteLeaves(t *testing.T) {
	for _, later := range []time.Duration{5 * time.Millisecond, time.Second} { // the write is over, or not
		synctest.Test(t, func(t *testing.T) {
			var r reports
			p, conns, stream := started(t, gcpool.WithMailbox(time.Minute, 1<<20), gcpool.WithUndelivered(r.hook))
			pipe(t, conns, "a") // takes nothing
			for i := range 3 {
				add(t, stream, "a", fmt.Sprint(i))
				synctest.Wait()
			}
			conns.Del("a")
			time.Sleep(later)
			peer := bufio.NewReader(pipe(t, conns, "a"))
			equal(t, "received", lines(t, peer, 3), []string{"0", "1", "2"})
			synctest.Wait()
			equal(t, "undelivered", r.take(t, nil), nil)
			settled(t, p)
		})
	}
}
