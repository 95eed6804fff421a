package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// succession is the replacement of this process by another one, at most one at
// a time. Its requests come from the admin socket and from a signal, its
// outcome goes to the loop.
type succession struct {
	requests chan request
	outcome  chan handover // of the attempt that is under way
	answer   func(handover)
	abort    context.CancelFunc // nil: none is
}

// request asks for a successor.
type request struct {
	binary string // empty: the file that this process was started from
	answer func(handover)
}

// handover is what came of it.
type handover struct {
	pid int
	err error
}

func newSuccession() *succession {
	return &succession{requests: make(chan request), outcome: make(chan handover, 1)}
}

// upgradeTimeout is how long a successor may take until it serves. It reads its
// configuration and the state in that time, and no more.
const upgradeTimeout = time.Minute

// upgrade has another process take over from this one, and returns its number
// when it serves. This one then finishes its sessions and ends. An error says
// that all is as it was.
func (p *process) upgrade(ctx context.Context, binary string) (pid int, err error) {
	done := make(chan handover, 1)
	select {
	case p.succession.requests <- request{binary, func(o handover) { done <- o }}:
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-p.leaving:
		return 0, errStopping
	}
	o := <-done // the loop answers in any case, and before upgradeTimeout
	if hint := Hint(o.err); hint != "" {
		return 0, fmt.Errorf("%w\n%s", o.err, hint) // the client takes them apart
	}
	return o.pid, o.err
}

var (
	errStopping = errors.New("this postern is stopping")
	errAnother  = errors.New("another upgrade is under way")
	errFirst    = problem("A container is upgraded by replacing it: start the new one, and stop the old one when the new one is ready (a rolling update; docs/upgrade.md).",
		"this postern is process 1 of its container, which ends with it: no other process can take its place")
)

// begin begins an attempt, whose outcome comes to the loop.
func (p *process) begin(r request) {
	s := p.succession
	refuse := func(err error) { r.answer(handover{err: err}) }
	if s.abort != nil {
		refuse(errAnother)
		return
	}
	if os.Getpid() == 1 {
		refuse(errFirst)
		return
	}
	path, err := binary(r.binary)
	if err != nil {
		refuse(err)
		return
	}
	heirs, err := p.bequeath()
	if err != nil {
		refuse(err)
		return
	}
	p.log.Info("upgrade: starting the process that is to take over", "binary", path)
	ctx, cancel := context.WithTimeout(p.ctx, upgradeTimeout)
	s.abort, s.answer = cancel, r.answer
	p.beside.Go(func() {
		pid, err := p.succeed(ctx, path, heirs)
		s.outcome <- handover{pid, err}
	})
}

// ended takes note of an outcome. The caller ends the process when it was good.
func (p *process) ended(o handover) {
	s := p.succession
	s.abort()
	s.abort = nil
	if o.err != nil {
		p.state.begin()
		p.log.Error("upgrade: no other process has taken over, this one goes on", "error", o.err, "hint", Hint(o.err))
	} else {
		p.log.Info("upgrade: another process serves now, this one finishes its sessions", "process", o.pid, "sessions", p.sessions())
	}
	s.answer(o)
}

// binary is the program to start. What is not the one that runs is named by
// whoever may open the admin socket, who must not thereby become who postern
// runs as: it must belong to root or to that user, who alone may write to it.
func binary(named string) (string, error) {
	if named == "" {
		// The path as it was at the start, also when the file was replaced.
		return os.Executable()
	}
	if !filepath.IsAbs(named) {
		return "", fmt.Errorf("the binary %q: its path must be absolute", named)
	}
	path, err := filepath.EvalSymlinks(named) // what a link leads to may change
	if err != nil {
		return "", fmt.Errorf("the binary %s: %w", named, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("the binary: %w", err)
	}
	if !info.Mode().IsRegular() || !ours(info) || info.Mode().Perm()&0o022 != 0 {
		return "", problem("chown root "+path+" && chmod 755 "+path,
			"the binary %s: it must be a file that belongs to root or to the user that postern runs as, and that nobody else may write to", path)
	}
	return path, checkFolders(path)
}

// checkFolders says which folder above a file lets somebody else put another in its
// place. In one with the sticky bit, such as /tmp, each keeps what is his own.
func checkFolders(path string) error {
	for folder := filepath.Dir(path); ; folder = filepath.Dir(folder) {
		info, err := os.Stat(folder)
		if err != nil {
			return fmt.Errorf("the binary: %w", err)
		}
		if !ours(info) || info.Mode().Perm()&0o022 != 0 && info.Mode()&os.ModeSticky == 0 {
			return problem("Put it into a folder such as /usr/local/bin.",
				"the binary %s: others than root and the user that postern runs as may put another in its place, in %s", path, folder)
		}
		if folder == filepath.Dir(folder) {
			return nil
		}
	}
}

// ours says whether something belongs to root or to the user that postern runs as.
func ours(info os.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && (st.Uid == 0 || int(st.Uid) == os.Geteuid())
}

// will is the estate as the predecessor hands it on.
type will struct {
	text  string
	files []*os.File
}

func (w *will) add(front, address string, l net.Listener) error {
	f, err := duplicate(l)
	if err == nil {
		w.files = append(w.files, f)
	}
	return err
}

func (w *will) close() {
	for _, f := range w.files {
		_ = f.Close()
	}
}

// bequeath doubles all listening sockets.
func (p *process) bequeath() (*will, error) {
	w := &will{}
	var all []bequest
	for _, l := range p.listeners {
		all = append(all, bequest{Front: l.front, Address: l.address, Listener: l.Listener})
	}
	if a := p.admin.page; a != nil {
		all = append(all, bequest{Address: p.cfg.Admin.Listen, Listener: a.Listener})
	}
	if a := p.admin.socket; a != nil {
		all = append(all, bequest{Address: p.cfg.Admin.Socket, Listener: a.Listener})
	}
	for _, b := range all {
		if err := w.add(b.Front, b.Address, b.Listener); err != nil {
			w.close()
			return nil, fmt.Errorf("the socket %s cannot be handed on: %w", b.Listener.Addr(), err)
		}
	}
	text, err := json.Marshal(all)
	w.text = string(text)
	return w, err
}

// succeed starts the successor and lets it take over. When it is back without
// an error, the successor serves.
func (p *process) succeed(ctx context.Context, path string, w *will) (pid int, err error) {
	s, err := spawn(path, w)
	w.close()
	if err != nil {
		return 0, err
	}
	// Where the program was a script, what it has started still holds the other end.
	stop := context.AfterFunc(ctx, func() { s.kill(); _ = s.line.Close() })
	defer stop()
	if err := s.expect(ctx, sayPrepared); err != nil {
		return 0, s.bury(err)
	}
	p.state.letGo()
	if err = s.line.say(sayGo); err == nil {
		err = s.expect(ctx, sayServing)
	}
	if err != nil {
		return 0, p.buried(s, err)
	}
	if !stop() { // its time was over at that moment, and it is being killed
		return 0, p.buried(s, ctx.Err())
	}
	p.notify.successor(s.pid())
	_ = s.line.say(sayFarewell) // it goes on without, too
	_ = s.line.Close()
	return s.pid(), nil
}

// buried ends a successor that had the state, and takes it back.
func (p *process) buried(s *successor, err error) error {
	err = s.bury(err)
	// It has ended, or the file would not be free.
	if lost := p.state.claim(0); lost != nil {
		p.log.Error("upgrade: the state cannot be taken back yet", "error", lost)
	}
	return err
}

// successor is the process that is to take over, as its predecessor sees it.
type successor struct {
	command *exec.Cmd
	line    *line
	ended   chan struct{}
}

// spawn starts the same command line with another program.
func spawn(path string, w *will) (*successor, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("a line to the successor: %w", err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "line")
	defer theirs.Close()
	ours, err := newLine(os.NewFile(uintptr(pair[0]), "line"))
	if err != nil {
		return nil, err
	}
	c := exec.Command(path, os.Args[1:]...)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	c.ExtraFiles = append([]*os.File{theirs}, w.files...)
	c.Env = append(handedOn(os.Environ()), estateVariable+"="+w.text)
	if err := c.Start(); err != nil {
		_ = ours.Close()
		return nil, cannotStart(err)
	}
	s := &successor{command: c, line: ours, ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		_ = c.Wait() // bury tells how it has ended
	}()
	return s, nil
}

func cannotStart(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.ENOEXEC) {
		return problem("Install the new program at that path first, or name another one with --binary.", "the new program cannot be started: %w", err)
	}
	return fmt.Errorf("the new program cannot be started: %w", err)
}

// handedOn leaves out what is meant for this process alone: LISTEN_… are sockets
// that it has already, and WATCHDOG_PID is its own number.
func handedOn(environment []string) (some []string) {
	for _, entry := range environment {
		name, _, _ := strings.Cut(entry, "=")
		switch name {
		case "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID", estateVariable:
		default:
			some = append(some, entry)
		}
	}
	return some
}

func (s *successor) pid() int { return s.command.Process.Pid }

// kill ends it, should it still be there.
func (s *successor) kill() { _ = s.command.Process.Kill() }

// expect waits for the next message, which must be this one.
func (s *successor) expect(ctx context.Context, what string) error {
	m, err := s.line.hear()
	switch {
	case err == nil && m.Say == what:
		return nil
	case err == nil && m.Say == sayFailed && m.Hint != "":
		return problem(m.Hint, "the new process does not start: %s", m.Error)
	case err == nil && m.Say == sayFailed:
		return fmt.Errorf("the new process does not start: %s", m.Error)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("the new process was not %s within %v, and was ended", what, upgradeTimeout)
	case ctx.Err() != nil:
		return errStopping
	}
	return errSilent
}

// errSilent is the end of a successor that has not said why.
var errSilent = errors.New("the new process has ended")

// lastWords is how long a successor that has failed may take to end by itself.
const lastWords = 2 * time.Second

// bury waits for the end of a successor that will not take over, and says more about
// why.
func (s *successor) bury(err error) error {
	_ = s.line.Close()
	last := time.AfterFunc(lastWords, s.kill)
	defer last.Stop()
	<-s.ended
	if errors.Is(err, errSilent) {
		return problem("What it has said stands in the log. Is it a postern that knows this command, and does it run by itself: "+s.command.Path+" version?",
			"the new process has ended before it could take over: %s", s.command.ProcessState)
	}
	return err
}
