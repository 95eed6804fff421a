package resolve

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/dnstest"
)

var (
	v4 = netip.MustParseAddr("192.0.2.1")
	v6 = netip.MustParseAddr("2001:db8::1")
)

const (
	reverse4 = "1.2.0.192.in-addr.arpa"
	reverse6 = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
	mail     = "mail.example.org"

	ptr4     = reverse4 + ". PTR mail.example.org.\n"
	forward4 = "mail.example.org. A 192.0.2.1\n"
	forward6 = "mail.example.org. AAAA 2001:db8::1\n"
	good     = ptr4 + reverse6 + ". PTR mail.example.org.\n" + forward4 + forward6
)

// found, unconfirmed and nameless are what ClientName can say.
func isFound(name string) ClientName { return ClientName{name, name, Found, Found} }

func unconfirmed(name string, s Status) ClientName { return ClientName{name, "", Found, s} }

func nameless(s Status) ClientName { return ClientName{"", "", s, s} }

// ptr is a record of the reverse zone of v4.
func ptr(name string) string { return reverse4 + ". PTR " + name + "\n" }

func TestAClientIsNamedByPTRAndConfirmedForward(t *testing.T) {
	for name, c := range map[string]struct {
		zone   string
		client netip.Addr
		want   ClientName
	}{
		"IPv4":                {good, v4, isFound(mail)},
		"IPv6":                {good, v6, isFound(mail)},
		"IPv4 mapped":         {good, netip.MustParseAddr("::ffff:192.0.2.1"), isFound(mail)},
		"IPv6 with a zone":    {good, v6.WithZone("eth0"), isFound(mail)},
		"no address":          {good, netip.Addr{}, nameless(Unavailable)},
		"upper case is kept":  {ptr("Mail.EXAMPLE.org.") + forward4, v4, isFound("Mail.EXAMPLE.org")},
		"one of several":      {ptr4 + "mail.example.org. A 192.0.2.9\n" + forward4, v4, isFound(mail)},
		"no PTR record":       {"", v4, nameless(Unavailable)},
		"an empty answer":     {reverse4 + ". TXT x", v4, nameless(Unavailable)},
		"no such name":        {ptr4, v4, unconfirmed(mail, Unavailable)},
		"leads elsewhere":     {ptr4 + "mail.example.org. A 192.0.2.9", v4, unconfirmed(mail, Unavailable)},
		"leads to IPv6 alone": {ptr4 + forward6, v4, unconfirmed(mail, Unavailable)},
		"the second leads back": {
			ptr("a.example.org.") + ptr4 + forward4, v4, isFound(mail),
		},
		"none of two leads back": {ptr("a.example.org.") + ptr4, v4, unconfirmed("a.example.org", Unavailable)},
		"classless (RFC 2317)": {
			reverse4 + ". CNAME 1.0/25.2.0.192.in-addr.arpa.\n1.0/25.2.0.192.in-addr.arpa. PTR mail.example.org.\n" + forward4, v4, isFound(mail),
		},
		"through a CNAME":        {ptr("www.example.org.") + "www.example.org. CNAME mail.example.org.\n" + forward4, v4, isFound("www.example.org")},
		"a malformed name":       {ptr(`a\032b.example.org.`), v4, nameless(Unavailable)},
		"a name with line end":   {ptr(`a\013\010QUIT.example.org.`), v4, nameless(Unavailable)},
		"a dot within a label":   {ptr(`a\.b.example.org.`), v4, nameless(Unavailable)},
		"a name like an address": {ptr("192.0.2.1.") + "192.0.2.1. A 192.0.2.1", v4, nameless(Unavailable)},
		"the root":               {ptr("."), v4, nameless(Unavailable)},
		"a malformed name beside a good one": {
			ptr(`a\(b\).example.org.`) + ptr4 + forward4, v4, isFound(mail),
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := over(t, dnstest.Start(t, c.zone))
			if got := r.ClientName(t.Context(), c.client); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestAClientWhoseServersFailHasNoNameForNow(t *testing.T) {
	for name, c := range map[string]struct {
		fails string // this name
		how   dnstest.Fault
		want  ClientName
	}{
		"PTR fails":      {reverse4, dnstest.ServFail, nameless(TempUnavailable)},
		"PTR is refused": {reverse4, dnstest.Refused, nameless(TempUnavailable)},
		"forward fails":  {mail, dnstest.ServFail, unconfirmed(mail, TempUnavailable)},
	} {
		t.Run(name, func(t *testing.T) {
			s := dnstest.Start(t, ptr4+ptr("a.example.org.")+forward4)
			s.Break(c.fails, "", c.how)
			if got := over(t, s).ClientName(t.Context(), v4); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestTheHostsFileNamesClientsFirst(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts")
	for name, c := range map[string]struct {
		hosts string
		want  ClientName
	}{
		"both ways":         {"192.0.2.1 Here.example.org alias\n", isFound("Here.example.org")},
		"a malformed name":  {"192.0.2.1 a(b)\n", isFound(mail)},
		"another client":    {"192.0.2.2 here.example.org\n", isFound(mail)},
		"the forward way":   {"192.0.2.7 mail.example.org\n", unconfirmed(mail, Unavailable)},
		"of another family": {"2001:db8::7 mail.example.org\n", isFound(mail)},
		"nothing of a kind": {"# 192.0.2.1 x\n192.0.2.1\nx y\n", isFound(mail)},
		"mapped into IPv6":  {"::ffff:192.0.2.1 here.example.org\n", isFound("here.example.org")},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(path, []byte(c.hosts), 0o600); err != nil {
				t.Fatal(err)
			}
			r := with(t, Options{Servers: []string{dnstest.Start(t, good).Address}, Hosts: path})
			if got := r.ClientName(t.Context(), v4); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestNoMoreThanFiveNamesAreTried(t *testing.T) {
	zone := "h5.example.org. A 192.0.2.1\n"
	for i := range 12 {
		zone += ptr(fmt.Sprintf("h%d.example.org.", i))
	}
	s := dnstest.Start(t, zone)
	if got := over(t, s).ClientName(t.Context(), v4); got != unconfirmed("h0.example.org", Unavailable) {
		t.Errorf("got %+v", got)
	}
	for i, want := range map[int]bool{0: true, 4: true, 5: false, 11: false} {
		if got := s.Count(fmt.Sprintf("h%d.example.org", i), "A") > 0; got != want {
			t.Errorf("h%d was asked for: %v", i, got)
		}
	}
}

func TestTheNextServerIsAskedWhenOneCannotAnswer(t *testing.T) {
	closed, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	failing := dnstest.Start(t, "")
	failing.Break("", "", dnstest.ServFail)
	r := over(t, &dnstest.Server{Address: closed.LocalAddr().String()}, failing, dnstest.Start(t, good))
	if got := r.ClientName(t.Context(), v4); got != isFound(mail) {
		t.Errorf("got %+v", got)
	}
}

func TestTheNextServerIsNotAskedWhenOneSaysThereIsNothing(t *testing.T) {
	second := dnstest.Start(t, good)
	r := over(t, dnstest.Start(t, ""), second)
	if got := r.ClientName(t.Context(), v4); got != nameless(Unavailable) {
		t.Errorf("got %+v", got)
	}
	if n := second.Count("", ""); n != 0 {
		t.Errorf("the second server was asked %d times", n)
	}
}

func TestTheNameOfAClientIsKeptAsLongAsItsRecords(t *testing.T) {
	for name, c := range map[string]struct {
		zone, fails string
		keep        time.Duration
	}{
		"found":        {good, "", time.Minute},
		"unavailable":  {"", "", time.Minute},
		"PTR fails":    {good, reverse4, 5 * time.Second},
		"unconfirmed":  {ptr4, "", time.Minute},
		"no good name": {ptr(`a\032b.example.org.`), "", time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			at, s := noon(), dnstest.Start(t, c.zone)
			if c.fails != "" {
				s.Break(c.fails, "", dnstest.ServFail)
			}
			r := at.in(over(t, s))
			askedAgain := func() bool {
				before := s.Count(reverse4, "PTR")
				r.ClientName(t.Context(), v4)
				return s.Count(reverse4, "PTR") > before
			}
			for _, step := range []struct {
				passes time.Duration
				again  bool
			}{{0, true}, {0, false}, {c.keep - 1, false}, {1, true}, {0, false}, {-time.Hour, true}} {
				at.pass(step.passes)
				if got := askedAgain(); got != step.again {
					t.Errorf("%v later: asked again is %v", step.passes, got)
				}
			}
		})
	}
}

func TestALookUpTakesFiveSecondsAtMost(t *testing.T) {
	for name, c := range map[string]struct {
		servers func() []*dnstest.Server
		want    ClientName
		takes   time.Duration
	}{
		"nobody answers": {
			func() []*dnstest.Server { return []*dnstest.Server{stuck(good, "PTR")} }, nameless(TempUnavailable), 5 * time.Second,
		},
		"no forward": {
			func() []*dnstest.Server { return []*dnstest.Server{stuck(good, "A")} }, unconfirmed(mail, TempUnavailable), 5 * time.Second,
		},
		"one of two": {
			func() []*dnstest.Server { return []*dnstest.Server{stuck(good, ""), script(good)} }, isFound(mail), 2 * time.Second,
		},
		"neither of two": {
			func() []*dnstest.Server { return []*dnstest.Server{stuck(good, ""), stuck(good, "")} }, nameless(TempUnavailable), 5 * time.Second,
		},
		"the other of two": {
			func() []*dnstest.Server { return []*dnstest.Server{script(good), stuck(good, "")} }, isFound(mail), 0,
		},
		"three of four": {
			func() []*dnstest.Server {
				return []*dnstest.Server{stuck(good, ""), stuck(good, ""), stuck(good, ""), script(good)}
			}, isFound(mail), 3750 * time.Millisecond,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, begin := piped(c.servers()...), time.Now()
				if got := r.ClientName(context.Background(), v4); got != c.want {
					t.Errorf("got %+v, want %+v", got, c.want)
				}
				if took := time.Since(begin); took != c.takes {
					t.Errorf("it took %v", took)
				}
				settle()
			})
		})
	}
}

func TestCallersAtTheSameTimeShareOneLookUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := script(good)
		r := piped(stuck(good, ""), s)
		var callers sync.WaitGroup
		for range 50 {
			callers.Go(func() {
				if got := r.ClientName(context.Background(), v4); got != isFound(mail) {
					t.Errorf("got %+v", got)
				}
			})
		}
		callers.Wait()
		if n := s.Count("", ""); n != 2 {
			t.Errorf("asked %q", s.Asked())
		}
		settle()
	})
}

func TestACallerWhoGivesUpTakesNobodysAnswerAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := piped(stuck(good, ""), script(good))
		impatient, giveUp := context.WithCancel(context.Background())
		var callers sync.WaitGroup
		callers.Go(func() {
			if got := r.ClientName(impatient, v4); got != nameless(TempUnavailable) {
				t.Errorf("the impatient one got %+v", got)
			}
		})
		synctest.Wait() // its look-up is under way
		callers.Go(func() {
			if got := r.ClientName(context.Background(), v4); got != isFound(mail) {
				t.Errorf("the patient one got %+v", got)
			}
		})
		synctest.Wait()
		giveUp()
		callers.Wait()
		settle()
	})
}

func TestOnlyHostNamesPass(t *testing.T) {
	long := strings.Repeat("a", 63)
	for name, want := range map[string]bool{
		"mail.example.org": true, "localhost": true, "a_b.example.org": true, "_": true, "1-2.example.org": true,
		"xn--bcher-kva.example": true, "1.2.3.4.5a": true, long + ".org": true,
		strings.Repeat(long+".", 3) + long: true, strings.Repeat(long+".", 4) + "a": false, long + "a.org": false,
		"": false, ".": false, "a..b": false, ".a": false, "a.": false, "-a.org": false, "a-.org": false, "a.-b": false,
		"192.0.2.1": false, "1": false, "a b": false, "a\tb": false, "a\r\nb": false, "a\x00b": false, "a\x7fb": false,
		"[192.0.2.1]": false, "a(b": false, "a)b": false, "a<b>": false, "a;b": false, `a"b`: false, `a\b`: false,
		"a@b": false, "a+b": false, "a=b": false, "a/b": false, "a:b": false, "bücher.example": false, "\xff": false,
	} {
		if got := validName(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

func TestAStatusHasAWord(t *testing.T) {
	for status, want := range map[Status]string{
		Found: "found", Unavailable: "unavailable", TempUnavailable: "temporarily unavailable", 0: "unknown",
	} {
		if got := status.String(); got != want {
			t.Errorf("%d: %q", status, got)
		}
	}
}
