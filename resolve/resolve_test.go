package resolve

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

var (
	v4 = netip.MustParseAddr("192.0.2.1")
	v6 = netip.MustParseAddr("2001:db8::1")
)

const (
	reverse4 = "1.2.0.192.in-addr.arpa. PTR"
	reverse6 = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. PTR"
	forward4 = "mail.example.org. A"
	forward6 = "mail.example.org. AAAA"
	mail     = "mail.example.org"
)

// found, unconfirmed and nameless are what ClientName can say.
func found(name string) ClientName { return ClientName{name, name, Found, Found} }

func unconfirmed(name string, s Status) ClientName { return ClientName{name, "", Found, s} }

func nameless(s Status) ClientName { return ClientName{"", "", s, s} }

var good = records{
	reverse4: ptr("mail.example.org."), reverse6: ptr("mail.example.org."),
	forward4: addrs("192.0.2.1"), forward6: addrs("2001:db8::1"),
}

func TestAClientIsNamedByPTRAndConfirmedForward(t *testing.T) {
	refused := answer{code: dnsmessage.RCodeRefused}
	for name, c := range map[string]struct {
		records records
		client  netip.Addr
		want    ClientName
	}{
		"IPv4":             {good, v4, found(mail)},
		"IPv6":             {good, v6, found(mail)},
		"IPv4 mapped":      {good, netip.MustParseAddr("::ffff:192.0.2.1"), found(mail)},
		"IPv6 with a zone": {good, v6.WithZone("eth0"), found(mail)},
		"no address":       {good, netip.Addr{}, nameless(Unavailable)},
		"upper case is kept": {
			records{reverse4: ptr("Mail.EXAMPLE.org."), "Mail.EXAMPLE.org. A": addrs("192.0.2.1")}, v4, found("Mail.EXAMPLE.org"),
		},
		"one of several addresses": {
			records{reverse4: ptr("mail.example.org."), forward4: addrs("192.0.2.9", "192.0.2.1")}, v4, found(mail),
		},
		"no PTR record":       {records{}, v4, nameless(Unavailable)},
		"an empty answer":     {records{reverse4: ptr()}, v4, nameless(Unavailable)},
		"PTR fails":           {records{reverse4: fails}, v4, nameless(TempUnavailable)},
		"PTR is refused":      {records{reverse4: refused}, v4, nameless(TempUnavailable)},
		"no such name":        {records{reverse4: ptr("mail.example.org.")}, v4, unconfirmed(mail, Unavailable)},
		"forward fails":       {records{reverse4: ptr("mail.example.org."), forward4: fails}, v4, unconfirmed(mail, TempUnavailable)},
		"leads elsewhere":     {records{reverse4: ptr("mail.example.org."), forward4: addrs("192.0.2.9")}, v4, unconfirmed(mail, Unavailable)},
		"leads to IPv6 alone": {records{reverse4: ptr("mail.example.org."), forward6: addrs("2001:db8::1")}, v4, unconfirmed(mail, Unavailable)},
		"the second leads back": {
			records{reverse4: ptr("a.example.org.", "mail.example.org."), forward4: addrs("192.0.2.1")}, v4, found(mail),
		},
		"none of two leads back": {
			records{reverse4: ptr("a.example.org.", "mail.example.org.")}, v4, unconfirmed("a.example.org", Unavailable),
		},
		"one of two fails": {
			records{reverse4: ptr("mail.example.org.", "a.example.org."), forward4: fails}, v4, unconfirmed(mail, TempUnavailable),
		},
		"a malformed name":     {records{reverse4: ptr("a b.example.org.")}, v4, nameless(Unavailable)},
		"a name with line end": {records{reverse4: ptr("a\r\nQUIT.example.org.")}, v4, nameless(Unavailable)},
		"a name like an address": {
			records{reverse4: ptr("192.0.2.1."), "192.0.2.1. A": addrs("192.0.2.1")}, v4, nameless(Unavailable),
		},
		"the root": {records{reverse4: ptr(".")}, v4, nameless(Unavailable)},
		"a malformed name beside a good one": {
			records{reverse4: ptr("a(b).example.org.", "mail.example.org."), forward4: addrs("192.0.2.1")}, v4, found(mail),
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := New([]string{dns(t, c.records).address})
			if got := r.ClientName(t.Context(), c.client); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestNoMoreThanFiveNamesAreTried(t *testing.T) {
	r := records{}
	var names []string
	for i := range 12 {
		names = append(names, fmt.Sprintf("h%d.example.org.", i))
	}
	r[reverse4], r["h5.example.org. A"] = ptr(names...), addrs("192.0.2.1")
	s := dns(t, r)
	if got := New([]string{s.address}).ClientName(t.Context(), v4); got != unconfirmed("h0.example.org", Unavailable) {
		t.Errorf("got %+v", got)
	}
	for i, want := range map[int]bool{0: true, 4: true, 5: false, 11: false} {
		if got := s.questions(names[i]+" A") > 0; got != want {
			t.Errorf("%s was asked for: %v", names[i], got)
		}
	}
}

func TestTheNextServerIsAskedWhenOneCannotAnswer(t *testing.T) {
	closed, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	failing := dns(t, records{reverse4: fails, forward4: fails})
	r := New([]string{closed.LocalAddr().String(), failing.address, dns(t, good).address})
	if got := r.ClientName(t.Context(), v4); got != found(mail) {
		t.Errorf("got %+v", got)
	}
}

func TestTheNextServerIsNotAskedWhenOneSaysThereIsNothing(t *testing.T) {
	second := dns(t, good)
	r := New([]string{dns(t, records{}).address, second.address})
	if got := r.ClientName(t.Context(), v4); got != nameless(Unavailable) {
		t.Errorf("got %+v", got)
	}
	if n := second.questions(reverse4); n != 0 {
		t.Errorf("the second server was asked %d times", n)
	}
}

func TestTheSystemsResolverIsTheDefault(t *testing.T) {
	if r := New(nil); len(r.servers) != 1 || r.servers[0].Dial != nil || !r.servers[0].PreferGo {
		t.Errorf("got %+v", r.servers)
	}
}

func TestAnAnswerIsKeptForAMinute(t *testing.T) {
	for name, c := range map[string]struct {
		records records
		keep    time.Duration
	}{
		"found":        {good, time.Minute},
		"unavailable":  {records{}, time.Minute},
		"PTR fails":    {records{reverse4: fails}, 5 * time.Second},
		"name fails":   {records{reverse4: ptr("mail.example.org."), forward4: fails}, 5 * time.Second},
		"unconfirmed":  {records{reverse4: ptr("mail.example.org.")}, time.Minute},
		"no good name": {records{reverse4: ptr("a b.example.org.")}, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
			s := dns(t, c.records)
			r := New([]string{s.address})
			r.cache.now = func() time.Time { return at }
			askedAgain := func() bool {
				before := s.questions(reverse4)
				r.ClientName(t.Context(), v4)
				return s.questions(reverse4) > before
			}
			for _, step := range []struct {
				passes time.Duration
				again  bool
			}{{0, true}, {0, false}, {c.keep - 1, false}, {1, true}, {0, false}, {-time.Hour, true}} {
				at = at.Add(step.passes)
				if got := askedAgain(); got != step.again {
					t.Errorf("%v later: asked again is %v", step.passes, got)
				}
			}
		})
	}
}

func TestTheCacheIsBounded(t *testing.T) {
	c := newCache(time.Now)
	c.put(v4, found(mail))
	for i := range capacity {
		c.put(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), nameless(Unavailable))
	}
	if _, ok := c.get(v4); ok || c.clients.Len() != capacity {
		t.Errorf("%d clients, the oldest is there: %v", c.clients.Len(), ok)
	}
}

// piped returns a Resolver whose servers are reached through pipes: they live
// in a bubble where time passes only when everybody waits.
func piped(servers ...*server) *Resolver {
	r := New(nil)
	r.servers = nil
	for _, s := range servers {
		r.servers = append(r.servers, &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go s.serveStream(theirs)
			return ours, nil
		}})
	}
	return r
}

func script(r records) *server {
	return &server{records: r, count: map[string]int{}}
}

// settle lets the time of a bubble pass until package net's own goroutines,
// which outlive the context of a look-up, have run out.
func settle() { <-time.After(time.Minute) }

// stuck are the records of a server that keeps a look-up waiting.
var stuck = records{reverse4: answer{silent: true}, forward4: fails}

func TestALookUpTakesFiveSecondsAtMost(t *testing.T) {
	for name, c := range map[string]struct {
		servers []*server
		want    ClientName
		takes   time.Duration
	}{
		"nobody answers":   {[]*server{script(stuck)}, nameless(TempUnavailable), 5 * time.Second},
		"no forward":       {[]*server{script(records{reverse4: ptr("mail.example.org."), forward4: answer{silent: true}})}, unconfirmed(mail, TempUnavailable), 5 * time.Second},
		"one of two":       {[]*server{script(stuck), script(good)}, found(mail), 2500 * time.Millisecond},
		"neither of two":   {[]*server{script(stuck), script(stuck)}, nameless(TempUnavailable), 5 * time.Second},
		"the other of two": {[]*server{script(good), script(stuck)}, found(mail), 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				if got := piped(c.servers...).ClientName(context.Background(), v4); got != c.want {
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
		r := piped(script(stuck), s)
		var callers sync.WaitGroup
		for range 50 {
			callers.Go(func() {
				if got := r.ClientName(context.Background(), v4); got != found(mail) {
					t.Errorf("got %+v", got)
				}
			})
		}
		callers.Wait()
		if n := s.questions(reverse4); n != 1 {
			t.Errorf("%d look-ups", n)
		}
		settle()
	})
}

func TestACallerWhoGivesUpTakesNobodysAnswerAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := piped(script(stuck), script(good))
		impatient, giveUp := context.WithCancel(context.Background())
		var callers sync.WaitGroup
		callers.Go(func() {
			if got := r.ClientName(impatient, v4); got != nameless(TempUnavailable) {
				t.Errorf("the impatient one got %+v", got)
			}
		})
		synctest.Wait() // its look-up is under way
		callers.Go(func() {
			if got := r.ClientName(context.Background(), v4); got != found(mail) {
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
