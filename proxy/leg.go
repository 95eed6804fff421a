package proxy

import (
	"crypto/tls"
	"io"

	"postern/smtpwire"
)

// leg is one SMTP connection: its socket, TLS if it has it, and the one reader
// and writer through which all its octets pass.
type leg struct {
	conn *conn
	tls  *tls.Conn // nil in clear
	r    smtpwire.Reader
	w    smtpwire.Writer
}

// over makes the leg speak over stream, the socket itself or TLS on it. What
// the reader held is dropped: nothing crosses (RFC 3207, 4.2).
func (l *leg) over(stream io.ReadWriter) {
	l.r.Reset(stream)
	l.w.Reset(stream)
}

// close closes the leg at once. With TLS, the peer is told that it is the end.
func (l *leg) close() {
	l.r.Release()
	l.w.Reset(nil)
	if l.tls != nil {
		l.tls.Close()
		return
	}
	l.conn.Close()
}
