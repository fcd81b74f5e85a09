package closing

import (
	"crypto/tls"
	"encoding/binary"
	"net"
)

// A records is a connection under TLS that knows the last record that arrived. Between two
// records, crypto/tls reports io.EOF even without close_notify.
type records struct {
	net.Conn
	head []byte
	rest int // bytes left of the record's payload
}

const alert = 21 // a record type, which TLS 1.2 does not encrypt

// clientTLS returns the client's end, for a server with a self-signed certificate.
func clientTLS(conn net.Conn) (*tls.Conn, *records) {
	r := &records{Conn: conn}
	return tls.Client(r, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}), r
}

func (r *records) Read(p []byte) (n int, err error) {
	n, err = r.Conn.Read(p)
	for p := p[:n]; len(p) > 0; {
		took := 0
		if len(r.head) == 5 && r.rest == 0 {
			r.head = r.head[:0]
		}
		if len(r.head) < 5 {
			took = min(5-len(r.head), len(p))
			if r.head = append(r.head, p[:took]...); len(r.head) == 5 {
				r.rest = int(binary.BigEndian.Uint16(r.head[3:]))
			}
		} else {
			took = min(r.rest, len(p))
			r.rest -= took
		}
		p = p[took:]
	}
	return n, err
}

// notified reports whether the last record was an alert, which after a handshake is
// close_notify or an error of crypto/tls's Read.
func (r *records) notified() bool { return len(r.head) == 5 && r.rest == 0 && r.head[0] == alert }
