package probe_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"postern/internal/catest"
	"postern/internal/smtptest"
	"postern/probe"
	"postern/tls/dane"
)

// after says something instead of the greeting from the n-th connection on, counted from 0.
func after(n int32, greeting string) func(*smtptest.Conn, string, string) string {
	var seen atomic.Int32
	return func(_ *smtptest.Conn, phase, _ string) string {
		if phase == "greeting" && seen.Add(1) > n {
			return greeting
		}
		return ""
	}
}

func TestAServerThatTurnsUsAwayGetsNoGradeForThat(t *testing.T) {
	for name, c := range map[string]struct {
		wrong func(w *world)
		want  string
	}{
		"busy":              {func(w *world) { w.script.Answer = after(0, "421 4.3.2 too many") }, "connect unknown: busy: greeting: mx.example.com [127.0.0.2] said in reply to our connection: 421 4.3.2 too many"},
		"greylisting":       {func(w *world) { w.script.Replies = map[string]string{"EHLO": "450 4.7.1 later"} }, "connect unknown: busy: greeting: mx.example.com [127.0.0.2] said in reply to EHLO: 450 4.7.1 later"},
		"unwanted":          {func(w *world) { w.script.Answer = after(0, "554 5.7.1 you are listed") }, "connect unknown: 554 5.7.1 you are listed"},
		"busy at STARTTLS":  {func(w *world) { w.script.Replies = map[string]string{"STARTTLS": "421 4.3.2 bye"} }, "connect unknown: busy: STARTTLS"},
		"busy in the end":   {func(w *world) { w.script.Answer = after(3, "421 4.7.0 too many from you") }, "connect unknown: 421 4.7.0 too many from you; the rest was not looked at"},
		"silent":            {func(w *world) { w.script.Die = "greeting" }, "connect unknown: closed by the server"},
		"too many of ours":  {func(w *world) { w.o.Connections = 6 }, "connect unknown: as many connections as one server should be asked for"},
		"not there":         {func(w *world) { w.mx.Stop() }, "connect unknown: connection refused"},
		"busy inside TLS":   {func(w *world) { w.script.Replies = map[string]string{"TLS EHLO": "421 4.3.2 bye"} }, "connect unknown: busy: EHLO"},
		"closes after that": {func(w *world) { w.script.Answer = after(1, "421") }, "starttls good: STARTTLS works"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			c.wrong(w)
			r := w.look("example.com")
			wantFinding(t, r, c.want)
			if r.Complete || r.Good() || r.Grade.Wanting() {
				t.Errorf("%s, complete %v:\n%s", r.Grade, r.Complete, describe(r))
			}
			if n := strings.Count(describe(r), "connect unknown"); n != 1 {
				t.Errorf("%d findings about that:\n%s", n, describe(r))
			}
		})
	}
}

func TestABusyServerIsLeftAloneAtOnce(t *testing.T) {
	w := newWorld(t)
	w.script.Answer = after(4, "421 4.7.0 enough")
	r := w.look("example.com")
	if n := len(w.mx.Conns()); n != 5 || r.Hosts[0].Addresses[0].Connections != 5 {
		t.Errorf("%d connections, of which the report has %d", n, r.Hosts[0].Addresses[0].Connections)
	}
}

func TestNoMailIsSentAndNoTransactionIsLeftOpen(t *testing.T) {
	w := newWorld(t)
	w.look("example.com")
	for _, line := range w.mx.Commands() {
		switch verb, _, _ := strings.Cut(line, " "); verb {
		case "EHLO", "STARTTLS", "NOOP", "RSET":
		case "MAIL":
			if line != "MAIL FROM:<>" || !strings.Contains(strings.Join(w.mx.Commands(), "\n"), "MAIL FROM:<>\nRSET") {
				t.Errorf("it said %q", line)
			}
		default:
			t.Errorf("it said %q", line)
		}
	}
}

func TestAnInterruptionKeepsWhatWasFound(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	w.script.Answer = func(c *smtptest.Conn, phase, _ string) string {
		if phase == "MAIL" {
			cancel()
		}
		return ""
	}
	r := w.lookIn(ctx, "example.com")
	wantFinding(t, r, "starttls good: STARTTLS works")
	wantFinding(t, r, "connect unknown: interrupted")
	if r.Complete {
		t.Error("it says that it is complete")
	}
}

func TestWhatTakesNoMail(t *testing.T) {
	for target, want := range map[string]string{
		"null.com":  "mx note: the domain takes no mail",
		"none.com":  "mx insufficient: there is no such domain",
		"bare.com":  "dnssec insufficient: the MX records are not signed",
		"guest.com": "tlsa phase-out: the MX records of guest.com are not signed",
	} {
		r := newWorld(t).look(target)
		wantFinding(t, r, want)
		if r.Good() != (target == "null.com") { // it is signed, and that is all there is to it
			t.Errorf("%s is good:\n%s", target, describe(r))
		}
	}
}

func TestAHostIsLookedAtForItself(t *testing.T) {
	for _, target := range []string{"mx.example.com", "[mx.example.com]", "mx.example.com:%d", "[127.0.0.2]:%d", "127.0.0.2"} {
		t.Run(target, func(t *testing.T) {
			w := newWorld(t)
			if strings.Contains(target, "%d") {
				target = fmt.Sprintf(target, w.port)
			}
			r := w.look(target)
			wantFinding(t, r, "starttls good: STARTTLS works")
			if r.Kind != "host" || len(r.Hosts) != 1 || r.Worst(probe.CheckMX, probe.CheckMTASTS, probe.CheckTLSRPT) != probe.Unknown {
				t.Errorf("a %s:\n%s", r.Kind, describe(r))
			}
			if named := strings.Contains(target, "example"); named != (r.Worst(probe.CheckDANE) == probe.Good) {
				t.Errorf("DANE:\n%s", describe(r))
			}
		})
	}
}

func TestTLSFromTheFirstOctet(t *testing.T) {
	w := newWorld(t)
	w.script.Implicit = true
	p := w.prober()
	r := p.Probe(t.Context(), probe.Target{Text: "mx", Name: "mx.example.com", Port: w.port, Host: true, Implicit: true})
	wantFinding(t, r, "starttls good: TLS from the first octet: TLS 1.3")
	wantFinding(t, r, "dane good")
	if !r.Good() || strings.Contains(describe(r), "plaintext") || len(r.Hosts[0].Addresses[0].CapabilitiesTLS) == 0 {
		t.Errorf("%s:\n%s\n%+v", r.Grade, describe(r), r.Hosts)
	}
}

func TestEveryHostAndIfWantedEveryAddressIsLookedAt(t *testing.T) {
	for _, all := range []bool{false, true} {
		w := newWorld(t)
		w.o.AllAddresses = all
		second := smtptest.NewBackendAt(t, fmt.Sprintf("127.0.0.4:%d", w.port), smtptest.Script{})
		third := smtptest.NewBackendAt(t, fmt.Sprintf("127.0.0.5:%d", w.port), w.script)
		w.zone.Records = "@ MX 10 mx\n@ MX 20 old\nmx A 127.0.0.2\nmx A 127.0.0.5\nold A 127.0.0.4\nmta-sts A 127.0.0.3\nMORE"
		r := w.look("example.com")
		wantFinding(t, r, "starttls insufficient: not offered")
		wantFinding(t, r, "mta-sts insufficient: does not name old.example.com")
		if len(r.Hosts) != 2 || r.Hosts[0].Name != "mx.example.com" || r.Hosts[1].Name != "old.example.com" || len(second.Conns()) == 0 {
			t.Errorf("hosts: %+v", r.Hosts)
		}
		looked := 0
		for _, b := range []*smtptest.Backend{w.mx, third} {
			looked += min(len(b.Conns()), 1)
		}
		if want := map[bool]int{false: 1, true: 2}[all]; looked != want || len(r.Hosts[0].Addresses) != want {
			t.Errorf("all %v: %d addresses of two were looked at", all, looked)
		}
	}
}

func TestAnAddressThatCannotBeReachedGivesWayToTheNext(t *testing.T) {
	for name, c := range map[string]struct {
		all   bool
		first string // record
		want  string
		looks int
	}{
		"nobody there":          {false, "mx A 127.0.0.9", "connect unknown: connection refused", 2},
		"no way there":          {false, "mx AAAA 2001:db8::9", "starttls good", 1},
		"no way, and all asked": {true, "mx AAAA 2001:db8::9", "connect unknown: connect", 2},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.o.AllAddresses = c.all
			w.zone.Records = "@ MX 10 mx\n" + c.first + "\nmx A 127.0.0.2\nMORE"
			w.source = []netip.Addr{netip.MustParseAddr("2001:db8::1")} // no machine has that
			r := w.look("example.com")
			wantFinding(t, r, c.want)
			wantFinding(t, r, "starttls good")
			if got := len(r.Hosts[0].Addresses); got != c.looks {
				t.Errorf("%d addresses:\n%s", got, describe(r))
			}
		})
	}
}

func TestBothCertificatesOfAServerAreJudged(t *testing.T) {
	w := newWorld(t)
	other := w.ca.Issue(t, catest.Leaf{Names: []string{"mx.example.com"}, Key: catest.RSA2048})
	w.script.TLS = &tls.Config{Certificates: []tls.Certificate{w.cert, other}, MinVersion: tls.VersionTLS12}
	r := w.look("example.com")
	wantFinding(t, r, "dane good: ECDSA certificate matches")
	wantFinding(t, r, "dane insufficient: RSA certificate: certificate for mx.example.com")
	wantFinding(t, r, "key phase-out: RSA 2048 bits")
	w.more += w.tlsa("mx", dane.From(other.Leaf, 3, 1, 1))
	wantFinding(t, w.look("example.com"), "dane good: RSA certificate matches")
}

func TestTheNameOfAnAliasIsTheOneThatIsAskedFor(t *testing.T) {
	w := newWorld(t)
	var asked atomic.Value
	w.script.TLS.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		asked.Store(h.ServerName)
		return nil, nil
	}
	w.zone.Records = "@ MX 10 mail\nmail CNAME mx\nmx A 127.0.0.2\n" + w.tlsa("mx", w.record())
	r := w.look("example.com")
	if wantFinding(t, r, "dane good"); asked.Load() != "mx.example.com" { // RFC 7672, 8.1
		t.Errorf("the server was asked for %v", asked.Load())
	}
}

func TestWordsOfAServerCannotDriveATerminal(t *testing.T) {
	w := newWorld(t)
	w.script.Replies = map[string]string{"MAIL": "550 \x1b[31m\x9bred", "greeting": "220 \x1b]0;x\x07"}
	w.script.Capabilities = []string{"X\x1b[2J"}
	r := w.look("example.com")
	for _, text := range append(append([]string{describe(r)}, r.Hosts[0].Addresses[0].Capabilities...), r.Hosts[0].Addresses[0].CapabilitiesTLS...) {
		if strings.ContainsAny(text, "\x1b\x07\u009b") {
			t.Errorf("%q", text)
		}
	}
}

func TestAServerThatSpeaksNoSMTP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.6:0")
	must(t, err)
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			c.Close()
		}
	}()
	wantFinding(t, newWorld(t).look(l.Addr().String()), "connect unknown: no greeting")
}

func TestNoServerIsAskedByTwoAtATime(t *testing.T) {
	w := newWorld(t)
	var mu sync.Mutex
	var names []string // that were asked for, in their order
	w.script.TLS.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		mu.Lock()
		defer mu.Unlock()
		if h.ServerName != "" { // SSL 3.0 has none
			names = append(names, h.ServerName)
		}
		return nil, nil
	}
	w.zone.Records = "one A 127.0.0.2\ntwo A 127.0.0.2\n"
	p := w.prober()
	var both sync.WaitGroup
	for _, name := range []string{"one.example.com", "two.example.com"} {
		both.Go(func() {
			wantFinding(t, p.Probe(t.Context(), probe.Target{Text: name, Name: name, Port: w.port, Host: true}), "starttls good")
		})
	}
	both.Wait()
	if len(names) < 20 || len(slices.Compact(slices.Clone(names))) != 2 {
		t.Errorf("the server was asked for %q", names)
	}
}
