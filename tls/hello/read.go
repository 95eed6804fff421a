package hello

import (
	"errors"
	"fmt"
	"io"
)

// Record and message types (RFC 8446, B.1 and B.3).
const (
	recordChange    = 20
	recordAlert     = 21
	recordHandshake = 22

	clientHello        = 1
	serverHello        = 2
	certificate        = 11
	serverKeyExchange  = 12
	serverHelloDone    = 14
	certificateStatus  = 22
	alertLevelWarning  = 1
	alertCloseNotify   = 0
	maxRecord          = 1 << 14   // RFC 8446, 5.1: octets in clear
	maxFlight          = 256 << 10 // octets read of one server, several times the longest chain in use
	messageHeaderBytes = 4
)

// messages reads handshake messages, which may share a record or be
// spread over several (RFC 8446, 5.1).
type messages struct {
	r    io.Reader
	buf  cursor
	read int // octets in all
}

// next returns the type and the body of the next message. Errors: *AlertError,
// ErrClosed, and those of the connection.
func (m *messages) next() (kind uint8, body cursor, err error) {
	for {
		c := m.buf
		if c.uint8(&kind) && c.vector(3, &body) {
			m.buf = c
			return kind, body, nil
		}
		if err := m.record(); err != nil {
			return 0, nil, err
		}
	}
}

// record reads one record and appends it to what is there.
func (m *messages) record() error {
	kind, body, err := m.recordBody()
	if err != nil {
		return err
	}
	switch kind {
	case recordHandshake:
		m.buf = append(m.buf, body...)
		return nil
	case recordChange: // RFC 8446, D.4: follows a HelloRetryRequest, says nothing
		return nil
	case recordAlert:
		return alert(body)
	default:
		return fmt.Errorf("%w: a record of type %d in a handshake", errAnswer, kind)
	}
}

func (m *messages) recordBody() (kind uint8, body cursor, err error) {
	head := make(cursor, 5)
	if _, err := io.ReadFull(m.r, head); err != nil {
		return 0, nil, m.ended(err)
	}
	m.read += len(head)
	first := string(head)
	var major uint8
	var size int
	if !head.uint8(&kind) || !head.uint8(&major) || !head.skip(1) || !head.number(2, &size) || major != 3 {
		return 0, nil, fmt.Errorf("%w: it is not TLS and starts with %q", errAnswer, first)
	}
	if size == 0 || size > maxRecord || m.read+size > maxFlight {
		return 0, nil, fmt.Errorf("%w: a record of %d octets, after %d in all", errAnswer, size, m.read)
	}
	body = make(cursor, size)
	if _, err := io.ReadFull(m.r, body); err != nil {
		return 0, nil, m.ended(err)
	}
	m.read += size
	return kind, body, nil
}

// ended says what an error of reading means.
func (m *messages) ended(err error) error {
	closed := err == io.EOF || hungUp(err)
	switch {
	case closed && m.read == 0:
		return ErrClosed
	case closed || errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: it ends after %d octets", errAnswer, m.read)
	default:
		return fmt.Errorf("read the server's answer: %w", err)
	}
}

// alert returns nil for a warning that the handshake goes on after, such as
// unrecognized_name (RFC 6066, 3).
func alert(body cursor) error {
	if len(body) < 2 {
		return fmt.Errorf("%w: an alert of %d octets", errAnswer, len(body))
	}
	if level, code := body[0], body[1]; level != alertLevelWarning || code == alertCloseNotify {
		return &AlertError{Alert: code}
	}
	return nil
}
