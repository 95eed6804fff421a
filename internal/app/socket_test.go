package app

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestTheAdminSocketIsForOwnerAndGroupWhateverTheUmask(t *testing.T) {
	for _, umask := range []int{0, 0o022, 0o077} {
		path := filepath.Join(t.TempDir(), "run", "admin.sock")
		before := syscall.Umask(umask)
		l, err := listenSocket(path)
		syscall.Umask(before)
		if err != nil {
			t.Fatal(err)
		}
		if mode := must1(os.Stat(path)).Mode().Perm(); mode != socketMode {
			t.Errorf("with umask %03o its mode is %03o", umask, mode)
		}
		l.Close()
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			t.Errorf("it is still there: %v", err)
		}
	}
}

// The socket must never be open to all, not even between bind and chmod.
func TestTheAdminSocketIsNarrowFromTheBeginning(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	path := filepath.Join(t.TempDir(), "s")
	c := net.ListenConfig{Control: narrow}
	l, err := c.Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if mode := must1(os.Stat(path)).Mode().Perm(); mode != socketMode {
		t.Errorf("before chmod its mode is %03o", mode)
	}
}

func TestASocketOfADeadProcessIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	dead := must1(net.ListenUnix("unix", &net.UnixAddr{Name: path}))
	dead.SetUnlinkOnClose(false)
	dead.Close()
	l, err := listenSocket(path)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}

func TestASocketThatIsInUseIsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	other := must1(net.Listen("unix", path))
	defer other.Close()
	if _, err := listenSocket(path); !errors.Is(err, errAnswered) || !strings.Contains(Hint(err), "Stop the other postern") {
		t.Errorf("%v, hint %q", err, Hint(err))
	}
	if c, err := net.Dial("unix", path); err != nil {
		t.Errorf("the other one can no longer be reached: %v", err)
	} else {
		c.Close()
	}
}

func TestAFileInThePlaceOfTheSocketIsLeftAsItIs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	must(os.WriteFile(path, []byte("precious"), 0o600))
	if _, err := listenSocket(path); !errors.Is(err, errNoSocket) {
		t.Errorf("%v", err)
	}
	if text := must1(os.ReadFile(path)); string(text) != "precious" {
		t.Errorf("the file holds %q", text)
	}
	if _, err := listenSocket(filepath.Join(path, "s")); err == nil {
		t.Error("it listens below a file")
	}
}

func TestASocketNobodyAnswersOnIsNoPostern(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale")
	dead := must1(net.ListenUnix("unix", &net.UnixAddr{Name: stale}))
	dead.SetUnlinkOnClose(false)
	dead.Close()
	for _, path := range []string{"", stale, filepath.Join(dir, "none"), filepath.Join(dir, "no", "folder")} {
		if c, err := askAdmin(path); c != nil || err != nil {
			t.Errorf("%q: %v, %v", path, c, err)
		}
	}
}

func TestAnAnswerThatIsNotPosternsIsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l := must1(net.Listen("unix", path))
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Read(make([]byte, 1)) // so that it is an answer
			c.Write([]byte("220 I am a mail server\r\n"))
			c.Close()
		}
	}()
	if _, err := must1(askAdmin(path)).List(); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("%v", err)
	}
}
