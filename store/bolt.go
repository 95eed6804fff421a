package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// Bolt is a Store in one file, for one process at a time.
type Bolt struct {
	db     *bbolt.DB
	path   string
	now    func() time.Time
	broken atomic.Pointer[error] // set for good when a page turned out damaged

	writing sync.Mutex // held from the begin of a writing transaction until room says what it did
	room    room
}

// The buckets of the file.
var (
	headerBucket = []byte("postern") // formatKey
	entryBucket  = []byte("entries") // key → time of expiry (8 octets), value
	expiryBucket = []byte("expiry")  // time of expiry (8 octets), key → nothing: the index for Sweep and eviction
	pinnedBucket = []byte("pinned")  // key → one octet: those that make no room

	formatKey = []byte("format") // decimal; see format
)

// format is the version of the layout above. A file of another one is not
// touched.
const format = "1"

// stamp is how a time of expiry is written: nanoseconds since 1970, in the
// order of octets; zero for never.
type stamp [8]byte

func stampOf(t time.Time) (s stamp) {
	if t.IsZero() {
		return s
	}
	n := t.UnixNano()
	if t.Year() > 2261 { // beyond what nanoseconds can say
		n = math.MaxInt64
	}
	binary.BigEndian.PutUint64(s[:], uint64(max(n, 1)))
	return s
}

// time is the inverse of stampOf.
func (s stamp) time() time.Time {
	if s.never() {
		return time.Time{}
	}
	return time.Unix(0, int64(binary.BigEndian.Uint64(s[:])))
}

func (s stamp) never() bool { return s == stamp{} }

func (s stamp) expired(now time.Time) bool {
	at := stampOf(now)
	return !s.never() && bytes.Compare(s[:], at[:]) <= 0
}

// split takes a value of the entry bucket apart. One that is too short is no
// entry of ours.
func split(raw []byte) (stamp, []byte, bool) {
	if len(raw) < len(stamp{}) {
		return stamp{}, nil, false
	}
	return stamp(raw[:8]), raw[8:], true
}

// Get implements Store.
func (b *Bolt) Get(key string) (value []byte, err error) {
	err = b.view(func(tx *bbolt.Tx) error {
		expires, v, ok := split(tx.Bucket(entryBucket).Get([]byte(key)))
		if !ok || expires.expired(b.now()) {
			return ErrNotFound
		}
		value = bytes.Clone(v)
		return nil
	})
	return value, err
}

// Write implements Store. An entry whose room is needed goes before its time:
// of those of its class that are not pinned, the one that expires soonest, which
// may be one that was just written. When only such are left as never expire,
// nothing is written and the error is ErrFull. When the disk is full, nothing is
// written either, and the store stays as usable as it was.
func (b *Bolt) Write(changes ...Change) error {
	for _, c := range changes {
		if err := c.valid(); err != nil {
			return err
		}
	}
	var done *table
	err := b.change(func(t *table) error {
		done = t
		for _, c := range changes {
			if err := t.set(c); err != nil {
				return err
			}
		}
		return t.evict()
	})
	if err == nil {
		done.room.tell(done.crowded)
	}
	return err
}

// change runs a writing transaction, and takes note of what room it has left.
func (b *Bolt) change(f func(t *table) error) error {
	b.writing.Lock()
	defer b.writing.Unlock()
	var t *table
	err := b.update(func(tx *bbolt.Tx) error {
		t = open(tx, b.room.clone())
		return f(t)
	})
	if err == nil {
		b.room = t.room
	}
	return err
}

func (c Change) valid() error {
	if c.Key == "" || len(c.Key) > bbolt.MaxKeySize-len(stamp{}) {
		return fmt.Errorf("a key of %d octets: it must have 1 to %d", len(c.Key), bbolt.MaxKeySize-len(stamp{}))
	}
	return nil
}

// Scan implements Store.
func (b *Bolt) Scan(prefix string, f func(key string, value []byte) error) error {
	for from := []byte(prefix); from != nil; {
		page, next, err := b.page(prefix, from)
		if err != nil {
			return err
		}
		for _, p := range page {
			if err := f(p.key, p.value); err != nil {
				return err
			}
		}
		from = next
	}
	return nil
}

// page returns some entries with the prefix, and the key from which to go on,
// or nil after the last.
func (b *Bolt) page(prefix string, from []byte) (page []pair, next []byte, err error) {
	now := b.now()
	err = b.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket(entryBucket).Cursor()
		n := 0
		for k, raw := c.Seek(from); k != nil && bytes.HasPrefix(k, []byte(prefix)); k, raw = c.Next() {
			if n++; n > scanned {
				next = bytes.Clone(k)
				return nil
			}
			if expires, v, ok := split(raw); ok && !expires.expired(now) {
				page = append(page, pair{string(k), bytes.Clone(v)})
			}
		}
		return nil
	})
	return page, next, err
}

// dump implements dumper.
func (b *Bolt) dump(f func(Change)) error {
	return b.view(func(tx *bbolt.Tx) error {
		return tx.Bucket(entryBucket).ForEach(func(k, raw []byte) error {
			if expires, v, ok := split(raw); ok {
				f(Change{Key: string(k), Value: bytes.Clone(v), Expires: expires.time(), Pinned: tx.Bucket(pinnedBucket).Get(k) != nil})
			}
			return nil
		})
	})
}

// Sweep implements Store, in transactions of bounded length.
func (b *Bolt) Sweep() (n int, err error) {
	for {
		removed, err := b.sweep()
		n += removed
		if err != nil || removed < scanned {
			return n, err
		}
	}
}

func (b *Bolt) sweep() (n int, err error) {
	now := b.now()
	err = b.change(func(t *table) error {
		for n = 0; n < scanned; n++ {
			first, _ := t.expiry.Cursor().First()
			if first == nil || !stamp(first[:8]).expired(now) {
				break
			}
			if err := t.drop(first); err != nil {
				return err
			}
		}
		if n == 0 {
			return errNothing
		}
		return nil
	})
	if err != nil {
		n = 0
	}
	if errors.Is(err, errNothing) {
		err = nil
	}
	return n, err
}

// errNothing ends a transaction without writing.
var errNothing = errors.New("nothing to do")

// Close implements Store. It waits for the calls that are under way.
func (b *Bolt) Close() error { return b.db.Close() }

func (b *Bolt) view(f func(*bbolt.Tx) error) error   { return b.do(b.db.View, f) }
func (b *Bolt) update(f func(*bbolt.Tx) error) error { return b.do(b.db.Update, f) }

// do runs a transaction. Once a page has turned out to be damaged, nothing is
// written any more: what bbolt has in memory can no longer be relied on.
func (b *Bolt) do(transact func(func(*bbolt.Tx) error) error, f func(*bbolt.Tx) error) error {
	if broken := b.broken.Load(); broken != nil {
		return *broken
	}
	err := guard(func() error { return transact(f) })
	switch {
	case err == nil, errors.Is(err, ErrNotFound), errors.Is(err, errNothing), errors.Is(err, ErrFull):
		return err
	case errors.Is(err, bolterrors.ErrDatabaseNotOpen):
		return ErrClosed
	case errors.Is(err, errDamaged):
		err = b.foreign(err)
		b.broken.Store(&err)
		return err
	}
	return fmt.Errorf("%s: nothing was written: %w%s", b.path, err, hint(err))
}

func (b *Bolt) foreign(err error) error { return foreign(b.path, err) }

// errDamaged is a page that bbolt could not make sense of.
var errDamaged = errors.New("damaged")

// guard turns the ways in which bbolt meets a damaged page into an error: a
// panic, or a fault of the memory that the file is mapped to.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errDamaged, p)
		}
	}()
	return f()
}
