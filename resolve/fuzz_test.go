package resolve

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// wire answers each question with the same octets, under the question's ID.
type wire struct {
	net.Conn
	answer []byte
	id     [2]byte
	spent  bool
}

func (w *wire) Write(p []byte) (int, error) { copy(w.id[:], p); return len(p), nil }

func (w *wire) Read(p []byte) (int, error) {
	if w.spent {
		return 0, net.ErrClosed
	}
	w.spent = true
	n := copy(p, w.answer)
	copy(p[:n], w.id[:])
	return n, nil
}

func (*wire) Close() error                { return nil }
func (*wire) SetDeadline(time.Time) error { return nil }

// FuzzAnswer lets any octets be the answer to each kind of question. What leaves
// the package must be fit for a command, a log and a reply.
func FuzzAnswer(f *testing.F) {
	for _, text := range []string{
		"example.com. MX 10 mx.example.com.\nexample.com. MX 0 .", "example.com. CNAME a.example.", "example.com. AAAA ::1\nexample.com. A 0.0.0.0",
		`example.com. MX 0 a\013\010QUIT.example.`, reverse4 + ". PTR " + `a\000b.example.`, reverse4 + ". PTR mail.example.", "example.com. CNAME example.com.",
	} {
		m := new(dns.Msg)
		m.Answer = records(text)
		m.SetQuestion(m.Answer[0].Header().Name, m.Answer[0].Header().Rrtype)
		m.Response, m.RecursionAvailable, m.Compress = true, true, true
		packed, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packed)
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		r := build(Options{Servers: []string{"192.0.2.1"}, Hosts: "/none", Dial: func(_ context.Context, network, _ string) (net.Conn, error) {
			if network == "tcp" {
				return nil, net.ErrClosed
			}
			return &wire{answer: answer}, nil
		}})
		ctx := t.Context()
		mx, err := r.MX(ctx, "example.com")
		check(t, err, mx.Canonical)
		if err == nil && len(mx.Hosts) == 0 {
			t.Error("no hosts and no error")
		}
		for _, one := range mx.Hosts {
			check(t, nil, one.Host)
			if one.Host == "" || one.Host != strings.ToLower(one.Host) {
				t.Errorf("host %q", one.Host)
			}
		}
		a, err := r.Addresses(ctx, "example.com", Both)
		check(t, err, a.Canonical)
		if (err == nil) != (len(a.Addrs) > 0) || len(a.Addrs) > 2*maxHosts {
			t.Errorf("%d addresses and %v", len(a.Addrs), err)
		}
		name := r.ClientName(ctx, netip.MustParseAddr("192.0.2.1"))
		check(t, nil, name.Name)
		check(t, nil, name.Reverse)
		if (name.Reverse != "") != (name.ReverseStatus == Found) || (name.Name != "") != (name.NameStatus == Found) {
			t.Errorf("got %+v", name)
		}
	})
}

// check looks for what may not stand in a command, and in an error what may not
// stand in a line.
func check(t *testing.T, err error, name string) {
	t.Helper()
	if strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_*.") != "" || len(name) > maxName {
		t.Errorf("name %q", name)
	}
	if err == nil {
		return
	}
	if strings.HasPrefix(err.Error(), "a defect") {
		t.Error(err)
	}
	for _, c := range err.Error() {
		if c < ' ' || c > '~' {
			t.Errorf("error %q", err)
		}
	}
}

// FuzzHosts reads any hosts file and asks it for what it holds.
func FuzzHosts(f *testing.F) {
	f.Add("127.0.0.1 localhost # us\n::1 localhost ip6-localhost\nfe80::1%lo0 x\n")
	f.Fuzz(func(t *testing.T, text string) {
		table := parseHosts(strings.NewReader(text))
		for name := range table.byName {
			if len(table.addresses(name, Both)) != len(table.byName[name]) {
				t.Errorf("%q is not found again", name)
			}
		}
	})
}

// FuzzResolvconf reads any resolv.conf: there is always a server in it.
func FuzzResolvconf(f *testing.F) {
	f.Add("nameserver 127.0.0.1\nsearch a b\noptions ndots:2 timeout:x\n", "host")
	f.Fuzz(func(t *testing.T, text, host string) {
		s := parseResolvconf(strings.NewReader(text))
		if n := len(s.servers); n < 1 || n > maxSystem || len(s.names(host)) == 0 {
			t.Errorf("%d servers, names %q", n, s.names(host))
		}
	})
}
