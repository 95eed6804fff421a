// Package store is a small key-value engine for what postern must still know
// tomorrow: texts under keys, each with the time at which it expires. It knows
// nothing of what it keeps.
//
// Two engines do the same: Memory, which ends with the process, and Bolt, one
// file that survives it. Bolt stands on bbolt, whose transactions are copied
// pages and one switch of the root: a process may be killed between any two
// instructions, and a disk may be full at any write, and the file holds
// exactly the transactions that were acknowledged. What bbolt does not do is
// done here: a file that is not ours, or is damaged, is told from one that is,
// before a single octet of it is changed, and its faults become errors; the
// size is bounded, for each class of keys by itself; entries expire.
//
// The threat is less an attacker, who would need the file's owner's rights,
// than the ordinary: two processes on one file, a path that was mistyped and
// names another program's database, a disk that ran full, a crash, a bad
// sector. None of them may cost what was remembered without a word, and none
// may keep mail from flowing: an error at open says what to do, an error later
// leaves the store as it was. What strangers can have written, by whatever they
// publish, is a class of its own, or is not Pinned, and so displaces nothing but
// its like.
//
// Not done here: entries are not encrypted, and what is deleted stays in free
// pages of the file until they are used again. The file never shrinks.
package store

import (
	"errors"
	"time"
)

// The errors that callers tell apart. What is returned wraps them in words
// that say what to do.
var (
	// ErrNotFound says that there is no entry under this key, or that it has
	// expired.
	ErrNotFound = errors.New("not found")
	// ErrInUse says that another process, or another part of this one, has
	// the file open.
	ErrInUse = errors.New("in use")
	// ErrForeign says that a file is no store of ours, one of a later format,
	// or a damaged one. It is left exactly as it is.
	ErrForeign = errors.New("not a store of postern, or damaged")
	// ErrFull says that all room is taken by entries that never expire.
	ErrFull = errors.New("full")
	// ErrClosed says that the store has been closed.
	ErrClosed = errors.New("closed")
)

// A Store keeps values under keys. Its methods may be called from any number
// of goroutines. A key has 1 to 32768 octets.
type Store interface {
	// Get returns a copy of the value under key, or ErrNotFound.
	Get(key string) ([]byte, error)
	// Write makes all changes or none, in their order. Once it returns nil
	// they are there to stay, whatever happens to the process.
	Write(changes ...Change) error
	// Scan calls f for every entry whose key starts with prefix, in the order
	// of keys, without expired ones, until f returns an error, which it then
	// returns. The value is f's to keep. It is no snapshot: f may call the
	// store, and a change made meanwhile may be seen or not.
	Scan(prefix string, f func(key string, value []byte) error) error
	// Sweep removes the entries that have expired and says how many. Until
	// then they take room but are not found.
	Sweep() (int, error)
	// Close ends the use of the store. Every later call is ErrClosed.
	Close() error
}

// A Change sets or deletes one entry.
type Change struct {
	Key   string
	Value []byte // nil deletes the entry, if there is one
	// Expires is when the entry is to be forgotten; zero is never. It is also
	// the order in which entries must go when their class is full.
	Expires time.Time
	// Pinned says that the entry is not to make room for others, whenever they
	// expire. It holds for as much as three quarters of the class: what is pinned
	// first stays, and what comes later is kept like any other.
	Pinned bool
}

// cost is what an entry counts towards MaxBytes: the key twice, as it stands
// in the index of expiry too, and what the engines need beside.
func cost(key string, value []byte) int64 {
	return int64(2*len(key)+len(value)) + 64
}

// scanned is how many entries Scan and Sweep take at a time, so that neither
// holds up a writer for long.
const scanned = 512

type pair struct {
	key   string
	value []byte
}
