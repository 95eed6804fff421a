package harness

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// MTA is a real mail server that accepts all mail for mx.test and keeps it in
// a maildir.
type MTA struct {
	Name string
	Addr string // of its plain SMTP listener

	t       testing.TB
	log     string // path
	maildir string // path
}

// Messages returns every message that was delivered, as the server wrote it:
// its own trace headers first, lines ended by LF.
func (m *MTA) Messages() [][]byte {
	m.t.Helper()
	paths, err := filepath.Glob(filepath.Join(m.maildir, "new", "*"))
	must(m.t, err)
	var all [][]byte
	for _, path := range paths {
		data, err := os.ReadFile(path)
		must(m.t, err)
		all = append(all, data)
	}
	return all
}

// Wait waits for a message that contains text and returns it.
func (m *MTA) Wait(text string) []byte {
	m.t.Helper()
	var found []byte
	if !Poll(Deadline, func() bool { found = m.find(text); return found != nil }) {
		m.t.Fatalf("%s did not get %q; its log:\n%s", m.Name, text, m.Log())
	}
	return found
}

func (m *MTA) find(text string) []byte {
	for _, msg := range m.Messages() {
		if bytes.Contains(msg, []byte(text)) {
			return msg
		}
	}
	return nil
}

// WaitSame waits for the message, given as the client sent it, and fails the
// test unless it arrived byte for byte: whatever servers put above it, it is
// the end of what was delivered.
func (m *MTA) WaitSame(id, message string) []byte {
	m.t.Helper()
	got := m.Wait("<" + id + "@")
	want := bytes.ReplaceAll([]byte(message), []byte("\r\n"), []byte("\n"))
	if !bytes.HasSuffix(got, want) {
		m.t.Errorf("%s got another message:\n%q\nwant it to end in\n%q", m.Name, got, want)
	}
	return got
}

// Log is the server's log so far.
func (m *MTA) Log() string {
	data, err := os.ReadFile(m.log)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// WaitLog waits for a line of its log that contains every one of the words.
func (m *MTA) WaitLog(words ...string) {
	m.t.Helper()
	found := Poll(Deadline, func() bool {
		for _, line := range bytes.Split([]byte(m.Log()), []byte("\n")) {
			if containsAll(string(line), words) {
				return true
			}
		}
		return false
	})
	if !found {
		m.t.Fatalf("%s logged no line with %q; its log:\n%s", m.Name, words, m.Log())
	}
}

// openDir makes a folder below the test's own that servers, which drop their
// privileges, can reach.
func openDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "postern-mta-")
	must(t, err)
	must(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove %s: %v", dir, err)
		}
	})
	return dir
}
