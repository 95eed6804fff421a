package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// BoltOptions say which file, and its bounds. Only Path is needed.
type BoltOptions struct {
	// Path of the file. It is created with mode 0600 when there is none, or
	// an empty one; its directory is not.
	Path string
	// Now is the clock of expiry: time.Now when nil.
	Now func() time.Time
	// Timeout is how long to wait for another process to let go of the file:
	// one second when zero.
	Timeout time.Duration
	// Bounds of the entries. The file takes up to about four times as much.
	Bounds Bounds
}

// OpenBolt opens the store in a file, or makes a new one. A file that is not
// such a store, or is damaged, is left exactly as it is: ErrForeign. One that
// another process has open is ErrInUse, after Timeout. Both, and those of the
// file system (fs.ErrNotExist for a missing directory, fs.ErrPermission), come
// with words that say what to do.
//
// Every page is looked at, which takes a second for some hundred MiB.
func OpenBolt(o BoltOptions) (*Bolt, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Timeout == 0 {
		o.Timeout = time.Second
	}
	if err := o.check(); errors.Is(err, fs.ErrNotExist) {
		if err := o.create(); err != nil {
			return nil, o.explain(err)
		}
	} else if err != nil {
		return nil, o.explain(err)
	}
	db, err := o.open(false)
	if err != nil {
		return nil, o.explain(err)
	}
	if err := guard(func() error { return db.Update(prepare) }); err != nil && !errors.Is(err, errNothing) {
		db.Close()
		return nil, o.explain(err)
	}
	b := &Bolt{db: db, path: o.Path, now: o.Now, room: newRoom(o.Bounds)}
	if err := guard(func() error {
		return db.View(func(tx *bbolt.Tx) error { return open(tx, b.room).count() })
	}); err != nil {
		db.Close()
		return nil, o.explain(err)
	}
	return b, nil
}

// check looks at the file without changing it. It must be a store of ours that
// can be read from end to end, or empty.
func (o BoltOptions) check() error {
	info, err := os.Stat(o.Path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%w: it is no regular file", errDamaged)
	}
	if info.Size() == 0 {
		return nil // nothing to lose: a file that was made beforehand
	}
	db, err := o.open(true)
	if err != nil {
		return about(err)
	}
	defer db.Close()
	return guard(func() error { return db.View(verify) })
}

// about says what an error of bbolt's opening is about: what it has no name for
// is what it found in the file.
func about(err error) error {
	var system syscall.Errno
	if errors.As(err, &system) || errors.Is(err, bolterrors.ErrTimeout) {
		return err
	}
	return fmt.Errorf("%w: %w", errDamaged, err)
}

// open opens the file with bbolt. A panic there would leave the file locked.
func (o BoltOptions) open(readOnly bool) (db *bbolt.DB, err error) {
	var file *os.File
	err = guard(func() (err error) {
		db, err = bbolt.Open(o.Path, 0o600, &bbolt.Options{
			Timeout: o.Timeout, ReadOnly: readOnly, PreLoadFreelist: true,
			FreelistType: bbolt.FreelistMapType, NoStatistics: true,
			OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
				var err error
				file, err = os.OpenFile(name, flag, mode)
				return file, err
			},
		})
		return err
	})
	if err != nil && file != nil {
		abandon(file)
	}
	return db, err
}

// verify reads everything there is, and then has bbolt check how the pages
// hang together. The order matters: bbolt checks in a goroutine of its own,
// where a fault of the mapped memory could not be caught.
func verify(tx *bbolt.Tx) error {
	if err := ours(tx); err != nil {
		return err
	}
	if size := tx.Size(); size > 0 {
		if info, err := os.Stat(tx.DB().Path()); err != nil || info.Size() < size {
			return fmt.Errorf("%w: it has been cut off", errDamaged)
		}
	}
	err := tx.ForEach(func(_ []byte, b *bbolt.Bucket) error { return walk(b) })
	if err != nil {
		return err
	}
	var first error
	for err := range tx.Check() {
		if first == nil {
			first = fmt.Errorf("%w: %v", errDamaged, err)
		}
	}
	return first
}

// walk touches every entry.
func walk(b *bbolt.Bucket) error {
	var sum byte
	err := b.ForEach(func(k, v []byte) error {
		for _, octets := range [][]byte{k, v} {
			if len(octets) > 0 {
				sum ^= octets[0] ^ octets[len(octets)-1]
			}
		}
		return nil
	})
	_ = sum
	return err
}

// ours says that a database has our header in our format, or holds nothing at
// all: one whose making was interrupted.
func ours(tx *bbolt.Tx) error {
	header := tx.Bucket(headerBucket)
	if header == nil {
		if name, _ := tx.Cursor().First(); name != nil {
			return fmt.Errorf("%w: it is a database of another program", errDamaged)
		}
		return nil
	}
	if found := string(header.Get(formatKey)); found != format {
		return fmt.Errorf("%w: its format is %.20q and this version of postern knows %q", errDamaged, found, format)
	}
	if tx.Bucket(entryBucket) == nil || tx.Bucket(expiryBucket) == nil {
		return fmt.Errorf("%w: a part of it is missing", errDamaged)
	}
	return nil
}

// prepare gives an empty database our header and buckets, and is errNothing
// for one that has them.
func prepare(tx *bbolt.Tx) error {
	if err := ours(tx); err != nil {
		return err
	}
	if tx.Bucket(pinnedBucket) != nil {
		return errNothing
	}
	if tx.Bucket(headerBucket) != nil { // of a version that pinned nothing
		_, err := tx.CreateBucket(pinnedBucket)
		return err
	}
	for _, name := range [][]byte{headerBucket, entryBucket, expiryBucket, pinnedBucket} {
		if _, err := tx.CreateBucket(name); err != nil {
			return err
		}
	}
	return tx.Bucket(headerBucket).Put(formatKey, []byte(format))
}

// create makes the file under another name and gives it its own when it is
// complete: a process that is killed meanwhile, or a full disk, leaves nothing
// that would later have to be told from a damaged store. If another process is
// faster, its file is the one.
func (o BoltOptions) create() error {
	draft, err := os.CreateTemp(filepath.Dir(o.Path), draftPrefix(o.Path))
	if err != nil {
		return err
	}
	defer os.Remove(draft.Name())
	if err := draft.Close(); err != nil {
		return err
	}
	part := o
	part.Path = draft.Name()
	db, err := part.open(false)
	if err != nil {
		return err
	}
	if err := errors.Join(db.Update(prepare), db.Close()); err != nil {
		return err
	}
	if err := publish(draft.Name(), o.Path); err != nil {
		return err
	}
	return o.tidy()
}

// publish renames without replacing.
func publish(draft, path string) error {
	err := os.Link(draft, path)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return nil
	}
	if _, there := os.Lstat(path); there == nil {
		return nil
	}
	return os.Rename(draft, path) // a file system without hard links
}

func draftPrefix(path string) string { return "." + filepath.Base(path) + ".new-" }

// tidy removes what an interrupted create left behind, and makes the new name
// durable.
func (o BoltOptions) tidy() error {
	dir := filepath.Dir(o.Path)
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil // a directory may be closed to reading; nothing depends on it
	}
	for _, n := range names {
		if strings.HasPrefix(n.Name(), draftPrefix(o.Path)) {
			os.Remove(filepath.Join(dir, n.Name()))
		}
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) {
		return err
	}
	return nil
}

// explain says what to do about an error of opening.
func (o BoltOptions) explain(err error) error {
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return fmt.Errorf("%s: %w%s: only one postern may have it open: stop the other one, or give this one a path of its own", o.Path, ErrInUse, holder(o.Path))
	case errors.Is(err, errDamaged):
		return foreign(o.Path, err)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: make the directory %s first", err, filepath.Dir(o.Path))
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: let the user that postern runs as read and write it and its directory", err)
	}
	return fmt.Errorf("%s: %w%s", o.Path, err, hint(err))
}

func foreign(path string, err error) error {
	return fmt.Errorf("%s: %w, and left as it is (%v): move it away, and what is remembered starts anew, or give another path", path, ErrForeign, err)
}

// hint says what to do about an error of the file system.
func hint(err error) string {
	for _, e := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		if errors.Is(err, e) {
			return ": make room on that file system"
		}
	}
	if errors.Is(err, syscall.EROFS) {
		return ": put it on a file system that can be written to"
	}
	return ""
}
