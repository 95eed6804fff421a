//go:build unix

package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

// refused opens what is no store, which must fail with all of the words, and
// leave it and its directory as they are.
func refused(t *testing.T, path string, want error, words ...string) {
	t.Helper()
	before := fingerprint(t, path)
	for range 2 { // nothing is left locked
		b, err := OpenBolt(BoltOptions{Path: path, Timeout: 60 * time.Millisecond})
		if err == nil {
			b.Close()
			t.Fatal("it was opened")
		}
		check(t, err, want)
		for _, w := range append(words, path) {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%q is not in: %v", w, err)
			}
		}
	}
	if fingerprint(t, path) != before {
		t.Error("it was changed")
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("there is something beside it: %v", left)
	}
}

const entriesOfFull = 400

// full returns a file that is a good store, of some forty pages.
func full(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "state.db")
	b := mustOpen(t, BoltOptions{Path: path})
	for i := 0; i < entriesOfFull; i += 50 {
		var changes []Change
		for j := range 50 {
			changes = append(changes, Change{Key: fmt.Sprintf("host/mx%03d", i+j), Value: []byte(strings.Repeat("v", 300)), Expires: time.Now().Add(time.Hour)})
		}
		check(t, b.Write(changes...), nil)
	}
	check(t, b.Close(), nil)
	return path
}

// whole says that a store has all entries of full.
func whole(t testing.TB, b *Bolt) {
	t.Helper()
	n := 0
	check(t, b.Scan("", func(_ string, value []byte) error {
		if string(value) != strings.Repeat("v", 300) {
			t.Errorf("%q", value)
		}
		n++
		return nil
	}), nil)
	if n != entriesOfFull {
		t.Errorf("%d entries of %d", n, entriesOfFull)
	}
	consistent(t, b)
}

func TestAFileThatWasCutOffIsLeftAlone(t *testing.T) {
	path := full(t)
	info, _ := os.Stat(path)
	good, _ := os.ReadFile(path)
	for _, size := range []int64{1, 100, 4095, 4096, 8192, 12288, info.Size() / 4, info.Size() / 2} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			cut := filepath.Join(t.TempDir(), "state.db")
			check(t, os.WriteFile(cut, good[:size], 0o600), nil)
			refused(t, cut, ErrForeign, "move it away")
		})
	}
}

func TestAFileOfSomethingElseIsLeftAlone(t *testing.T) {
	random := make([]byte, 100_000)
	for i := range random {
		random[i] = byte(rand.N(256))
	}
	for name, content := range map[string][]byte{
		"text":           []byte("hostname = \"mx1.example.org\"\n"),
		"random octets":  random,
		"zeros":          make([]byte, 64<<10),
		"a sqlite file":  append([]byte("SQLite format 3\x00"), make([]byte, 8176)...),
		"one line ended": []byte("\n"),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "state.db")
			check(t, os.WriteFile(path, content, 0o640), nil)
			refused(t, path, ErrForeign, "move it away", "another path")
		})
	}
}

func TestADatabaseOfAnotherProgramIsLeftAlone(t *testing.T) {
	for name, o := range map[string]*bbolt.Options{"": nil, "without a free list": {NoFreelistSync: true}, "other pages": {PageSize: 16384}} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "state.db")
			edit(t, path, o, func(tx *bbolt.Tx) error {
				b, err := tx.CreateBucket([]byte("sessions"))
				return errors.Join(err, b.Put([]byte("format"), []byte(format)))
			})
			refused(t, path, ErrForeign, "another program")
		})
	}
}

func TestAStoreOfALaterFormatIsLeftAlone(t *testing.T) {
	path := full(t)
	edit(t, path, nil, func(tx *bbolt.Tx) error { return tx.Bucket(headerBucket).Put(formatKey, []byte("2")) })
	refused(t, path, ErrForeign, `its format is "2"`)
}

func TestAStoreWithoutAPartIsLeftAlone(t *testing.T) {
	path := full(t)
	edit(t, path, nil, func(tx *bbolt.Tx) error { return tx.DeleteBucket(expiryBucket) })
	refused(t, path, ErrForeign, "missing")
}

func edit(t *testing.T, path string, o *bbolt.Options, f func(*bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, o)
	check(t, err, nil)
	check(t, db.Update(f), nil)
	check(t, db.Close(), nil)
}

func TestWhatIsNoFileIsLeftAlone(t *testing.T) {
	for name, create := range map[string]func(path string) error{
		"a directory": func(path string) error { return os.Mkdir(path, 0o700) },
		"a pipe":      func(path string) error { return syscall.Mkfifo(path, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "state.db")
			check(t, create(path), nil)
			refused(t, path, ErrForeign, "regular file")
		})
	}
}

// TestAStoreWithADamagedPageIsLeftAlone spoils one page after the other. A page
// that is in use must be noticed; one that is not, does no harm.
func TestAStoreWithADamagedPageIsLeftAlone(t *testing.T) {
	good, err := os.ReadFile(full(t))
	check(t, err, nil)
	pageSize := os.Getpagesize()
	for kind, spoil := range map[string]func(page []byte){
		"zeroed": func(page []byte) { clear(page) },
		"random": func(page []byte) {
			for i := range page {
				page[i] = byte(rand.N(256))
			}
		},
		"ones": func(page []byte) {
			for i := range page {
				page[i] = 0xff
			}
		},
	} {
		noticed := 0
		for at := 2 * pageSize; at < len(good); at += pageSize { // bbolt has two headers for one to be damaged
			path := filepath.Join(t.TempDir(), "state.db")
			content := append([]byte(nil), good...)
			spoil(content[at : at+pageSize])
			check(t, os.WriteFile(path, content, 0o600), nil)
			before := fingerprint(t, path)
			b, err := OpenBolt(BoltOptions{Path: path})
			if err != nil {
				noticed++
				check(t, err, ErrForeign)
				if fingerprint(t, path) != before {
					t.Errorf("%s at %d: the file was changed", kind, at)
				}
				repairedInPlace(t, path, good)
				continue
			}
			whole(t, b)
			b.Close()
		}
		if noticed < 20 {
			t.Errorf("%s: only %d pages mattered", kind, noticed)
		}
	}
}

// repairedInPlace checks that nothing holds on to a file that was refused.
func repairedInPlace(t *testing.T, path string, good []byte) {
	t.Helper()
	check(t, os.WriteFile(path, good, 0o600), nil)
	b := mustOpen(t, BoltOptions{Path: path, Timeout: 60 * time.Millisecond})
	check(t, b.Close(), nil)
}

// TestAFreePageThatIsInUseIsNoticed has the list of free pages name the root:
// every entry can be read, and the next write would destroy them.
func TestAFreePageThatIsInUseIsNoticed(t *testing.T) {
	path := full(t)
	content, err := os.ReadFile(path)
	check(t, err, nil)
	number := func(at int) uint64 { return binary.NativeEndian.Uint64(content[at:]) }
	header := 0 // of the two, the one with the later transaction
	if number(os.Getpagesize()+64) > number(64) {
		header = os.Getpagesize()
	}
	root, list := number(header+32), int(number(header+48))*os.Getpagesize()
	binary.NativeEndian.PutUint64(content[list+16:], root)
	check(t, os.WriteFile(path, content, 0o600), nil)
	refused(t, path, ErrForeign, "page")
}

func TestAPageThatIsDamagedLaterIsAnErrorAndNoPanic(t *testing.T) {
	for name, spoil := range map[string]func(f *os.File, size int64) error{
		"zeroed":  func(f *os.File, size int64) error { _, err := f.WriteAt(make([]byte, size-8192), 8192); return err },
		"cut off": func(f *os.File, _ int64) error { return f.Truncate(8192) },
	} {
		t.Run(name, func(t *testing.T) {
			path := full(t)
			b := mustOpen(t, BoltOptions{Path: path})
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			check(t, err, nil)
			defer f.Close()
			info, _ := f.Stat()
			check(t, spoil(f, info.Size()), nil)
			_, err = b.Get("host/mx007")
			check(t, err, ErrForeign)
			check(t, b.Write(Change{Key: "a", Value: []byte("1")}), ErrForeign)
			check(t, b.Scan("", nil), ErrForeign)
		})
	}
}

func TestTheErrorsOfTheFileSystemSayWhatToDo(t *testing.T) {
	dir := t.TempDir()
	_, err := OpenBolt(BoltOptions{Path: filepath.Join(dir, "no", "state.db")})
	check(t, err, fs.ErrNotExist)
	if !strings.Contains(err.Error(), "make the directory "+filepath.Join(dir, "no")) {
		t.Error(err)
	}
	_, err = OpenBolt(BoltOptions{Path: filepath.Join(dir, strings.Repeat("x", 300))})
	if err == nil || !strings.Contains(err.Error(), dir) {
		t.Error(err)
	}
}
