package hello

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"
)

// AlertError is a server's refusal: the alert that it ended the handshake with.
type AlertError struct {
	Alert uint8 // RFC 8446, B.2: 40 is handshake_failure, 70 protocol_version
}

func (e *AlertError) Error() string {
	name := strings.TrimPrefix(tls.AlertError(e.Alert).Error(), "tls: ")
	return fmt.Sprintf("the server refuses with alert %d, %s", e.Alert, name)
}

// ErrClosed is a server that hangs up without an answer, which is how Schannel
// (Windows) and some middleboxes refuse.
var ErrClosed = errors.New("the server closes the connection without an answer")

// errAnswer is an answer that is not a server's first flight of TLS.
var errAnswer = errors.New("the server's answer cannot be understood")

// Refused says that the error of Ask is a server's no to the offer, rather than
// one of the connection, of time, or an answer that makes no sense.
func Refused(err error) bool {
	var alert *AlertError
	return errors.As(err, &alert) || errors.Is(err, ErrClosed)
}

// Ask makes an offer on a connection on which the server waits for a ClientHello,
// and returns what the server chooses. It ends with ctx at the latest and leaves
// conn open and of no further use: the caller closes it.
//
// Errors: *AlertError and ErrClosed (see Refused), the cause of ctx, those of
// conn, an answer that is not TLS or breaks off, and an offer without
// versions or suites.
func Ask(ctx context.Context, conn net.Conn, o Offer) (Answer, error) {
	if len(o.Versions) == 0 || len(o.Suites) == 0 {
		return Answer{}, errors.New("an offer needs at least one version and one suite")
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	a, err := ask(conn, o)
	if err != nil && ctx.Err() != nil {
		return a, context.Cause(ctx)
	}
	return a, err
}

func ask(conn net.Conn, o Offer) (Answer, error) {
	// A server that refuses to read on may have said why.
	if _, err := conn.Write(o.record()); err != nil && !hungUp(err) {
		return Answer{}, fmt.Errorf("send the ClientHello: %w", err)
	}
	return read(conn)
}

// hungUp says that the peer has closed the connection in a way that is an error to
// the operating system.
func hungUp(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
