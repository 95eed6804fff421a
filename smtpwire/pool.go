package smtpwire

import "sync"

// Commands and replies fit into a small block. Message data moves in large
// ones, which hold two TLS records of the greatest size (RFC 8446, 5.1).
const (
	smallBlock = 4 << 10
	largeBlock = 32 << 10
)

var (
	smallBlocks = sync.Pool{New: func() any { return new([smallBlock]byte) }}
	largeBlocks = sync.Pool{New: func() any { return new([largeBlock]byte) }}
)

// borrow gives a block of at least size octets, at most largeBlock.
func borrow(size int) []byte {
	if size <= smallBlock {
		return smallBlocks.Get().(*[smallBlock]byte)[:]
	}
	return largeBlocks.Get().(*[largeBlock]byte)[:]
}

// giveBack returns a block that borrow gave. The caller keeps no slice of it.
func giveBack(b []byte) {
	switch cap(b) {
	case smallBlock:
		smallBlocks.Put((*[smallBlock]byte)(b[:smallBlock]))
	case largeBlock:
		largeBlocks.Put((*[largeBlock]byte)(b[:largeBlock]))
	}
}
