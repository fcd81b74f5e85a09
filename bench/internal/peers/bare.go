package peers

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// bare is a limit, not a library. It writes the handshake by hand. Then the producer
// calls conn.Write for each frame, or for each batch of frames. It has no registry and
// no lock, and never closes a client that does not read. Only the goroutine that pushes
// to a user, and Flush after it, touch that user's frames.
type bare struct {
	batch  int // bytes to gather for one write
	users  [MaxUsers]atomic.Pointer[bareUser]
	frames [MaxUsers][]byte // gathered for each user
	count  atomic.Int64
	flush  sync.Mutex
}

type bareUser struct{ net.Conn }

func newBare(batch int) *bare { return &bare{batch: batch} }

func (b *bare) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, err := strconv.Atoi(strings.TrimPrefix(r.FormValue("id"), "user-"))
		if err != nil || user < 0 || user >= MaxUsers {
			http.Error(w, "no such user", http.StatusBadRequest)
			return
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		_, err = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
			"Sec-WebSocket-Accept: "+base64.StdEncoding.EncodeToString(sum[:])+"\r\n\r\n")
		if err != nil {
			return
		}
		b.users[user].Store(&bareUser{conn})
		b.count.Add(1)
		go func() {
			var in [64]byte
			for err == nil {
				_, err = conn.Read(in[:])
			}
			_ = conn.Close()
			b.count.Add(-1)
		}()
	})
}

func (b *bare) Push(user int, payload []byte) error {
	b.frames[user] = appendFrame(b.frames[user], payload)
	if len(b.frames[user])+len(payload) > b.batch {
		return b.write(user)
	}
	return nil
}

// Flush writes the gathered frames.
func (b *bare) Flush() error {
	b.flush.Lock()
	defer b.flush.Unlock()
	for user := range b.frames {
		if len(b.frames[user]) > 0 {
			if err := b.write(user); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *bare) write(user int) error {
	u := b.users[user].Load()
	if u == nil {
		return errGone
	}
	_, err := u.Write(b.frames[user])
	b.frames[user] = b.frames[user][:0]
	return err
}

func (b *bare) Broadcast(payload []byte) error {
	frame := appendFrame(nil, payload)
	for i := range b.Len() {
		if _, err := b.users[i].Load().Write(frame); err != nil {
			return err
		}
	}
	return nil
}

func (b *bare) Len() int { return int(b.count.Load()) }

func (b *bare) Close() {
	for i := range b.users {
		if u := b.users[i].Load(); u != nil {
			_ = u.Close()
		}
	}
}

// appendFrame appends payload as one text frame of a server (RFC 6455 section 5.2).
func appendFrame(to, payload []byte) []byte {
	switch n := len(payload); {
	case n < 126:
		to = append(to, 0x81, byte(n))
	case n < 1<<16:
		to = binary.BigEndian.AppendUint16(append(to, 0x81, 126), uint16(n))
	default:
		to = binary.BigEndian.AppendUint64(append(to, 0x81, 127), uint64(n))
	}
	return append(to, payload...)
}
