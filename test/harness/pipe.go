package harness

import (
	"bufio"
	"io"
	"net"
	"os/exec"
	"testing"
	"time"
)

// pipeConn is the standard input and output of a program as a connection.
type pipeConn struct {
	io.Reader
	io.WriteCloser
	process *exec.Cmd
}

// ConnectThrough runs a program that connects its standard input and output to
// an SMTP server, as openssl s_client does, and returns a client that talks
// through it. A program that hangs is ended at the Deadline.
func ConnectThrough(t testing.TB, name string, args ...string) *Client {
	t.Helper()
	cmd := exec.Command(name, args...)
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	var errs Output
	cmd.Stderr = &errs
	must(t, cmd.Start())
	timer := time.AfterFunc(Deadline, func() { _ = cmd.Process.Kill() })
	t.Cleanup(func() {
		timer.Stop()
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed or done: the dialogue was the test
		if t.Failed() {
			t.Logf("%s said:\n%s", name, errs.String())
		}
	})
	conn := pipeConn{out, in, cmd}
	return &Client{conn: conn, raw: conn, r: bufio.NewReader(conn), t: t}
}

func (c pipeConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c pipeConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c pipeConn) SetDeadline(time.Time) error      { return nil }
func (c pipeConn) SetReadDeadline(time.Time) error  { return nil }
func (c pipeConn) SetWriteDeadline(time.Time) error { return nil }
