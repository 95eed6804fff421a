package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// headLen is the length of the two lines that head writes.
const headLen = len("X-Bench-Id: 0123456789abcdef\r\nX-Bench-Sha256: ") + 64 + 2

// message is one prepared message. All that follows its X-Bench-Sha256 line is
// the same each time it is sent, so it is hashed once.
type message struct {
	hash    string
	rest    []byte // what follows the head
	stuffed []byte // the same for DATA: dots stuffed, without the end
}

// newMessage makes a message of size bytes, its head included, but of no less
// than its header lines need. Some lines begin with dots.
func newMessage(size int) *message {
	var b bytes.Buffer
	b.WriteString("From: <a@bench.test>\r\nTo: <b@bench.test>\r\nSubject: bench\r\n" +
		"Date: Mon, 01 Jan 2024 00:00:00 +0000\r\nMessage-ID: <1@bench.test>\r\n\r\n")
	line := []byte("abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ+/abcdefghijkl\r\n")
	for i := 0; b.Len()+headLen < size; i++ {
		switch i % 97 {
		case 13:
			b.WriteString(".leading dot\r\n")
		case 55:
			b.WriteString("..\r\n.\t\r\n")
		default:
			b.Write(line)
		}
	}
	rest := cut(b.Bytes(), size-headLen)
	h := sha256.Sum256(rest)
	return &message{
		hash:    hex.EncodeToString(h[:]),
		rest:    rest,
		stuffed: bytes.ReplaceAll(rest, []byte("\r\n."), []byte("\r\n..")),
	}
}

// cut shortens the body b to want bytes that end in CRLF, without leaving a
// bare CR or LF or a lone dot where the cut was made.
func cut(b []byte, want int) []byte {
	if len(b) <= want || want <= 300 {
		return b
	}
	b = append(b[:want-2:want-2], '\r', '\n')
	if i := len(b) - 3; b[i] == '\r' || b[i] == '\n' || b[i] == '.' {
		b[i] = 'x'
	}
	if i := len(b) - 4; b[i] == '\r' {
		b[i] = 'x'
	}
	return b
}

// head appends the two lines that the sink verifies by (see package sink).
func (m *message) head(b []byte, id uint64) []byte {
	return fmt.Appendf(b, "X-Bench-Id: %016x\r\nX-Bench-Sha256: %s\r\n", id, m.hash)
}
