package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"postern/config"
)

// An estate is what a process gets from the one that it is to replace: its
// listening sockets, so that no connection that waits in one is lost, and a
// line on which the two agree. The convention of systemd (LISTEN_FDS) has too
// little to say: which of the sockets is the admin's, and what address it had
// in the configuration.
//
// The order is what makes an upgrade safe. Whatever can fail is done by the
// successor before anything is taken from the predecessor:
//
//	successor                            predecessor
//	reads and checks its configuration   serves
//	opens what sockets it has not got    serves
//	"prepared"                        →
//	                                     lets go of the state; serves, from memory
//	                                  ←  "go"
//	claims the state, serves
//	"serving"                         →
//	                                     tells the service manager, if there is one
//	                                  ←  "farewell"
//	tells the service manager            stops accepting, finishes its sessions, ends
//
// At "failed", or when the successor ends, the predecessor takes its state back and
// goes on. When the predecessor ends, the successor goes on.
type estate struct {
	line    *line
	sockets []*listener
	admin   []*bequest // of the sockets of the admin
}

// estateVariable names in the environment what the descriptors from 3 on are: the line
// first, then the sockets.
const estateVariable = "POSTERN_INHERITED"

// bequest is one socket of an estate.
type bequest struct {
	Front   string `json:"front,omitempty"`   // whose it is; empty for one of the admin's
	Address string `json:"address,omitempty"` // as written in the configuration; empty for a socket of systemd's

	net.Listener `json:"-"`
}

// message is what the two say to each other.
type message struct {
	Say   string `json:"say"`
	Error string `json:"error,omitempty"` // of "failed"
	Hint  string `json:"hint,omitempty"`
}

const (
	sayPrepared = "prepared"
	sayGo       = "go"
	sayServing  = "serving"
	sayFarewell = "farewell"
	sayFailed   = "failed"
)

// line is one end of what connects them.
type line struct {
	net.Conn
	out *json.Encoder
	in  *json.Decoder
}

// newLine takes the file over.
func newLine(f *os.File) (*line, error) {
	c, err := net.FileConn(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	return &line{Conn: c, out: json.NewEncoder(c), in: json.NewDecoder(c)}, nil
}

func (l *line) say(what string) error { return l.out.Encode(message{Say: what}) }

// hear waits for what the other says next.
func (l *line) hear() (m message, err error) {
	err = l.in.Decode(&m)
	return m, err
}

// inherit takes the estate that a predecessor has left in the environment; nil when
// there is none.
func inherit() (*estate, error) {
	text, there := os.LookupEnv(estateVariable)
	if !there {
		return nil, nil
	}
	// What we start ourselves inherits nothing by accident.
	_ = os.Unsetenv(estateVariable)
	var all []*bequest
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		return nil, fmt.Errorf("%s is for postern itself, and cannot be read: %w", estateVariable, err)
	}
	const first = 3
	e := &estate{}
	var err error
	if e.line, err = newLine(descriptor(first)); err != nil {
		return nil, fmt.Errorf("%s is for postern itself, and there is no line: %w", estateVariable, err)
	}
	for i, b := range all {
		f := descriptor(first + 1 + i)
		b.Listener, err = net.FileListener(f)
		_ = f.Close() // it was doubled
		if err != nil {
			return nil, e.failed(fmt.Errorf("an inherited socket, %s: %w", b.Address, err))
		}
		if b.Front != "" {
			e.sockets = append(e.sockets, &listener{Listener: b.Listener, front: b.Front, address: b.Address})
		} else {
			e.admin = append(e.admin, b)
		}
	}
	return e, nil
}

func descriptor(n int) *os.File {
	unix.CloseOnExec(n)
	return os.NewFile(uintptr(n), fmt.Sprint("inherited-", n))
}

// fronts returns the sockets of what the configuration still has; the others are
// closed, here.
func (e *estate) fronts(cfg *config.Config) (all []*listener) {
	known := names(cfg)
	for _, l := range e.sockets {
		if slices.Contains(known, l.front) {
			all = append(all, l)
		} else {
			l.shut()
		}
	}
	return all
}

// take returns the socket of the admin with that address, nil when there is none.
func (e *estate) take(address string) net.Listener {
	if e == nil || address == "" {
		return nil
	}
	for i, b := range e.admin {
		if b.Address == address {
			e.admin = slices.Delete(e.admin, i, i+1)
			return b.Listener
		}
	}
	return nil
}

// prepared says that nothing can fail any more, and comes back when the
// predecessor has let go of the state, or is no more.
func (e *estate) prepared() {
	if e == nil {
		return
	}
	if e.line.say(sayPrepared) == nil {
		_, _ = e.line.hear() // a predecessor that has ended has let go, too
	}
}

// serving says that we serve, and has f done once the predecessor has told the
// service manager who is to be listened to.
func (e *estate) serving(group *sync.WaitGroup, f func()) {
	if e == nil {
		f()
		return
	}
	for _, b := range e.admin {
		_ = b.Close() // it was for an address that is not configured any more
	}
	told := e.line.say(sayServing)
	group.Go(func() {
		defer e.line.Close()
		if told == nil {
			_, _ = e.line.hear() // or it has ended
		}
		f()
	})
}

// failed tells the predecessor why there will be no successor, and returns err.
func (e *estate) failed(err error) error {
	if e == nil || err == nil {
		return err
	}
	m := message{Say: sayFailed, Error: err.Error(), Hint: Hint(err)}
	// One that is no more need not know.
	_ = e.line.out.Encode(m)
	_ = e.line.Close()
	return err
}

// duplicate returns another descriptor for the socket of a listener. Unlike
// the File method of package net it leaves it in the mode that the network
// poller needs, which both descriptors share.
func duplicate(l net.Listener) (*os.File, error) {
	s, ok := l.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("%s is no socket", l.Addr())
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return nil, err
	}
	var fd int
	var wrong error
	err = raw.Control(func(of uintptr) { fd, wrong = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(err, wrong); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), l.Addr().String()), nil
}
