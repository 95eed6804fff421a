package store

import (
	"bytes"
	"fmt"

	"go.etcd.io/bbolt"
)

// table is the entries and their indexes within one transaction.
type table struct {
	entries, expiry, pinned *bbolt.Bucket
	room                    room
	crowded                 []int // classes that had to leave an entry unpinned
}

func open(tx *bbolt.Tx, r room) *table {
	return &table{entries: tx.Bucket(entryBucket), expiry: tx.Bucket(expiryBucket), pinned: tx.Bucket(pinnedBucket), room: r}
}

// count finds out what is taken.
func (t *table) count() error {
	return t.entries.ForEach(func(key, raw []byte) error {
		if _, value, ok := split(raw); ok {
			t.room.count(string(key), cost(string(key), value), t.isPinned(key))
		}
		return nil
	})
}

// isPinned is the value under the key of a pinned entry: within a transaction,
// bbolt does not tell an empty value from none.
var isPinned = []byte{1}

func (t *table) isPinned(key []byte) bool { return t.pinned.Get(key) != nil }

func (t *table) set(c Change) error {
	key := []byte(c.Key)
	if err := t.remove(key); err != nil || c.Value == nil {
		return err
	}
	expires := stampOf(c.Expires)
	if err := t.entries.Put(key, append(expires[:], c.Value...)); err != nil {
		return err
	}
	if err := t.pin(c); err != nil || expires.never() {
		return err
	}
	return t.expiry.Put(append(expires[:], key...), nil)
}

// pin counts an entry, and pins it if that is wanted and can be done.
func (t *table) pin(c Change) error {
	cost := cost(c.Key, c.Value)
	pinned := c.Pinned && t.room.pins(c.Key, cost)
	t.room.count(c.Key, cost, pinned)
	if pinned {
		return t.pinned.Put([]byte(c.Key), isPinned)
	}
	if c.Pinned {
		t.crowded = append(t.crowded, t.room.class(c.Key))
	}
	return nil
}

func (t *table) remove(key []byte) error {
	expires, value, ok := split(t.entries.Get(key))
	if !ok {
		return nil
	}
	t.room.count(string(key), -cost(string(key), value), t.isPinned(key))
	if !expires.never() {
		if err := t.expiry.Delete(append(expires[:], key...)); err != nil {
			return err
		}
	}
	if err := t.pinned.Delete(key); err != nil {
		return err
	}
	return t.entries.Delete(key)
}

// evict makes room in every class that has taken too much.
func (t *table) evict() error {
	for _, class := range t.room.excess() {
		for _, index := range t.victims(class) {
			if err := t.drop(index); err != nil {
				return err
			}
		}
		if t.room.taken[class].bytes > t.room.limit(class) {
			return fmt.Errorf("%d octets of entries that never expire: %w", t.room.taken[class].bytes, ErrFull)
		}
	}
	return nil
}

// victims returns the index of what must go from a class: what expires soonest and
// is not pinned.
func (t *table) victims(class int) (all [][]byte) {
	left, goal := t.room.taken[class].bytes, t.room.goal(class)
	c := t.expiry.Cursor()
	for index, _ := c.First(); index != nil && left > goal; index, _ = c.Next() {
		key := index[len(stamp{}):]
		if t.room.class(string(key)) != class || t.isPinned(key) {
			continue
		}
		if _, value, ok := split(t.entries.Get(key)); ok {
			left -= cost(string(key), value)
		}
		all = append(all, bytes.Clone(index))
	}
	return all
}

// drop removes what an entry of the index stands for, and that entry.
func (t *table) drop(index []byte) error {
	index = bytes.Clone(index)
	if err := t.remove(index[8:]); err != nil {
		return err
	}
	return t.expiry.Delete(index)
}
