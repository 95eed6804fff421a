package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// socketMode lets the owner and the group of the admin socket use it: whoever
// can connect can have postern forget what protects mail.
const socketMode = 0o660

// listenSocket opens the admin socket. A file that a dead process has left is
// replaced; one that somebody answers on, or that is no socket, is not.
func listenSocket(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, cannotListenSocket(path, err)
	}
	if err := removeStale(path); err != nil {
		return nil, cannotListenSocket(path, err)
	}
	c := net.ListenConfig{Control: narrow}
	l, err := c.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, cannotListenSocket(path, err)
	}
	if err := os.Chmod(path, socketMode); err != nil {
		_ = l.Close()
		return nil, cannotListenSocket(path, err)
	}
	return l, nil
}

// narrow sets the mode of a socket before it has a name, so that at no moment
// anybody else can connect. The umask still takes its part away, which chmod gives
// back. Systems that cannot do this are left with the umask.
func narrow(_, _ string, raw syscall.RawConn) error {
	return raw.Control(func(fd uintptr) { _ = syscall.Fchmod(int(fd), socketMode) })
}

var (
	errAnswered  = errors.New("another process answers there")
	errNoSocket  = errors.New("there is a file of that name that is no socket, and it is left as it is")
	probeTimeout = 5 * time.Second
)

// removeStale removes a socket that nobody listens on any more.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return errNoSocket
	}
	c, err := net.DialTimeout("unix", path, probeTimeout)
	if err == nil {
		_ = c.Close()
		return errAnswered
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	return os.Remove(path)
}

// cannotListenSocket says what to do about it.
func cannotListenSocket(path string, err error) error {
	err = fmt.Errorf("cannot listen on %s: %w", path, err)
	switch {
	case errors.Is(err, errAnswered):
		return problem("Stop the other postern, or give this one a socket of its own.", "%w", err)
	case errors.Is(err, errNoSocket):
		return problem("Move the file away, or write another path.", "%w", err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return problem("Its folder must belong to the user that postern runs as: RuntimeDirectory=postern in the systemd service makes /run/postern, and then\n"+
			"  admin {\n    socket = \"/run/postern/admin.sock\"\n  }", "%w", err)
	}
	return err
}
