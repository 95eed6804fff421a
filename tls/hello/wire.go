package hello

import "encoding/binary"

// vector8 appends what fill appends, with its length in one octet in front
// (RFC 8446, 3.4). It is for contents that cannot be longer.
func vector8(b []byte, fill func([]byte) []byte) []byte { return vector(b, 1, fill) }

// vector16 is vector8 with a length of two octets.
func vector16(b []byte, fill func([]byte) []byte) []byte { return vector(b, 2, fill) }

func vector(b []byte, size int, fill func([]byte) []byte) []byte {
	start := len(b) + size
	b = fill(append(b, make([]byte, size)...))
	for n, i := len(b)-start, start-1; i >= start-size; i, n = i-1, n>>8 {
		b[i] = byte(n)
	}
	return b
}

// numbers returns a fill that appends each of the list as two octets.
func numbers[N ~uint16](list []N) func([]byte) []byte {
	return func(b []byte) []byte {
		for _, n := range list {
			b = binary.BigEndian.AppendUint16(b, uint16(n))
		}
		return b
	}
}

// octets returns a fill that appends s.
func octets(s ...byte) func([]byte) []byte {
	return func(b []byte) []byte { return append(b, s...) }
}

// cursor reads from the front of a message. Each method says false, and leaves
// its results alone, when the message is too short for what it asks.
type cursor []byte

func (c *cursor) bytes(n int, out *cursor) bool {
	if n > len(*c) {
		return false
	}
	*out, *c = (*c)[:n], (*c)[n:]
	return true
}

func (c *cursor) skip(n int) bool {
	var ignored cursor
	return c.bytes(n, &ignored)
}

// number reads an unsigned number of size octets, at most 3.
func (c *cursor) number(size int, out *int) bool {
	var raw cursor
	if !c.bytes(size, &raw) {
		return false
	}
	*out = 0
	for _, o := range raw {
		*out = *out<<8 | int(o)
	}
	return true
}

func (c *cursor) uint8(out *uint8) bool {
	var n int
	if !c.number(1, &n) {
		return false
	}
	*out = uint8(n)
	return true
}

func (c *cursor) uint16(out *uint16) bool {
	var n int
	if !c.number(2, &n) {
		return false
	}
	*out = uint16(n)
	return true
}

// vector reads a length of size octets and that much behind it.
func (c *cursor) vector(size int, out *cursor) bool {
	var n int
	return c.number(size, &n) && c.bytes(n, out)
}
