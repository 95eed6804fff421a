// Package sees proves that a scan finds what a server accepts: the same as clients
// of several TLS libraries get from it that ask for one suite, or one group, at a time.
package sees

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"postern/test/harness"
	"postern/tls/hello"
)

// names are OpenSSL's names of the suites that its releases from 1.0.1 to 3.0
// have and that need no shared secret, by number.
func names(t *testing.T) map[uint16]string {
	t.Helper()
	text, err := os.ReadFile("testdata/suites.txt")
	if err != nil {
		t.Fatal(err)
	}
	all := map[uint16]string{}
	for line := range strings.Lines(string(text)) {
		number, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		all[parse(t, number)] = name
	}
	return all
}

func parse(t *testing.T, number string) uint16 {
	t.Helper()
	id, err := strconv.ParseUint(number, 16, 16)
	if err != nil {
		t.Fatal(err)
	}
	return uint16(id)
}

func scan(addr string) hello.Scan {
	return hello.Scan{Dial: func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", addr) }}
}

// within is a context that ends at the harness's deadline.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), harness.Deadline)
	t.Cleanup(cancel)
	return ctx
}

// suites scans and returns what is found in the order found.
func suites(t *testing.T, addr string, version uint16) (ids []uint16, f hello.Found) {
	t.Helper()
	f, err := scan(addr).Suites(within(t), version, hello.Suites(version))
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range f.Answers {
		ids = append(ids, a.Suite)
		if a.Version != version {
			t.Errorf("an answer in version %04x", a.Version)
		}
	}
	return ids, f
}

// same compares two sets of suites.
func same(t *testing.T, got, want []uint16) {
	t.Helper()
	for _, id := range got {
		if !slices.Contains(want, id) {
			t.Errorf("a scan finds %s, which a client does not get", hello.SuiteName(id))
		}
	}
	for _, id := range want {
		if !slices.Contains(got, id) {
			t.Errorf("a client gets %s, which a scan does not find", hello.SuiteName(id))
		}
	}
}

// serve starts a server program and waits until it listens. In its arguments
// PORT stands for a free port.
func serve(t *testing.T, program string, args ...string) (addr string, p *harness.Process) {
	t.Helper()
	addr = harness.FreePort(t, "127.0.0.1")
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "PORT", port)
	}
	p = harness.StartProcess(t, program, args...)
	harness.Eventually(t, fmt.Sprint(program, " listens, or has ended"), func() bool { return harness.Listening(addr) || p.Ended() })
	if p.Ended() {
		t.Fatalf("%s has ended: %s", program, p.Out.String())
	}
	return addr, p
}
