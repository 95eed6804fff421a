package proxy

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/catest"
	"postern/internal/smtptest"
	"postern/resolve"
	"postern/tls/dane"
	"postern/tls/mtasts"
	"postern/tls/policy"
)

// tlsa is a DANE: TLSA records by host, and errors.
type tlsa struct {
	records map[string]dane.Record
	faults  map[string]error

	mu    sync.Mutex
	asked []dane.MXInfo
}

func (z *tlsa) Find(_ context.Context, mx dane.MXInfo) (dane.Finding, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.asked = append(z.asked, mx)
	if err := z.faults[mx.Host]; err != nil {
		return dane.Finding{}, err
	}
	r, ok := z.records[mx.Host]
	if !ok {
		return dane.Finding{Status: dane.NoRecords, Base: mx.Host, Why: "none"}, nil
	}
	return dane.Finding{Status: dane.Usable, Base: mx.Host, Records: []dane.Record{r}, Usable: 1, Names: dane.Names{mx.Host}, InsecureMX: !mx.MXSecure}, nil
}

func (z *tlsa) layout(p *layout) { p.dane = z }

// sts is an STS with one policy for all domains.
type sts struct{ *mtasts.Policy }

func (s sts) Find(context.Context, string) mtasts.Finding    { return mtasts.Finding{Policy: s.Policy} }
func (s sts) Refresh(context.Context, string) mtasts.Finding { return mtasts.Finding{Policy: s.Policy} }

func signed(w *world) *world {
	w.security = resolve.Secure
	return w
}

func TestTLSARecordsDecideWhoIsSpokenTo(t *testing.T) {
	for name, other := range map[string]bool{"the server's": false, "another's": true} {
		t.Run(name, func(t *testing.T) {
			w := signed(newWorld(t))
			cert := w.cert("whatever.test") // not the MX's name: that does not matter here
			b := w.server("mx.example.com", smtptest.Script{TLS: cert})
			w.domain("example.com", "mx.example.com")
			record := dane.From(cert.Certificates[0].Leaf, 3, 1, 1)
			if other {
				record = dane.From(w.ca.Issue(t, catest.Leaf{Names: []string{"mx.example.com"}}).Leaf, 3, 1, 1)
			}
			e := newEgress(t, w, (&tlsa{records: map[string]dane.Record{"mx.example.com": record}}).layout)
			r := e.deliver("b@example.com")
			if other {
				wantReply(t, r, "451 4.7.5 mx.example.com [192.0.2.1]: level dane asked by dane: expected a certificate that the TLSA record of mx.example.com authenticates, 3 1 1 ")
				if !strings.Contains(r, "saw certificate for whatever.test: the server's certificate matches none of the TLSA records") {
					t.Errorf("it does not say what came: %q", r)
				}
				wantMessages(t, b)
				return
			}
			wantReply(t, r, "250 2.0.0 queued")
			e.logged("tls=dane source=dane peer=Verified")
			if d := e.delivery(0); d.Decision.Level.String() != "dane" || len(d.Decision.TLSA) != 1 {
				t.Errorf("delivery: %+v", d.Decision)
			}
		})
	}
}

// withoutAddress is a DANE that has found no address of any host.
type withoutAddress struct{}

func (withoutAddress) Find(_ context.Context, mx dane.MXInfo) (dane.Finding, error) {
	return dane.Finding{NoAddress: true, Why: mx.Host + " has no address"}, nil
}

// An address that turns up after its TLSA records would have been looked for is not connected to.
func TestAnAddressThatWasNotDecidedAboutIsNotUsed(t *testing.T) {
	w := signed(newWorld(t))
	b := w.server("mx.example.com", smtptest.Script{})
	w.domain("example.com", "mx.example.com")
	e := newEgress(t, w, func(p *layout) { p.dane = withoutAddress{} })
	wantReply(t, e.deliver("b@example.com"), "451 4.4.4 mx.example.com: the name has no address")
	w.wantWent()
	wantMessages(t, b)
}

// SEM 26: an MX of which nobody can say what it must prove is skipped, whatever it would do.
func TestAnMXWhoseTLSARecordsCannotBeHadIsSkipped(t *testing.T) {
	w := signed(newWorld(t))
	one := w.server("one.example.com", smtptest.Script{TLS: w.cert("one.example.com")})
	two := w.server("two.example.com", smtptest.Script{TLS: w.cert("two.example.com")})
	w.domain("example.com", "one.example.com", "two.example.com")
	servfail := &dane.LookupError{Name: "_25._tcp.one.example.com", Type: "TLSA", Err: errors.New("SERVFAIL from 127.0.0.1:53")}
	z := &tlsa{faults: map[string]error{"one.example.com": servfail}}
	e := newEgress(t, w, z.layout, forget, func(p *layout) {
		p.sts = sts{&mtasts.Policy{Mode: mtasts.Enforce, MX: []string{"*.example.com"}}}
	})
	wantReply(t, e.deliver("b@example.com"), "250 2.0.0 queued")
	w.wantWent("192.0.2.2")
	wantMessages(t, two, "Subject: x\r\n\r\nhello\r\n")
	e.logged("tls=secure source=mta-sts")
	z.mu.Lock()
	z.faults["two.example.com"] = servfail
	z.mu.Unlock()
	if r := e.deliver("b@example.com"); !strings.HasPrefix(r, "451 4.7.5 ") || !strings.Contains(r, ".example.com: cannot look up the TLSA records of _25._tcp.one.example.com: SERVFAIL") {
		t.Errorf("it got %q", r)
	}
	w.wantWent()
	wantMessages(t, one)
}

func TestAnMXThatAnEnforcedPolicyDoesNotNameIsSkipped(t *testing.T) {
	w := newWorld(t)
	evil := w.server("mx.evil.test", smtptest.Script{TLS: w.cert("mx.evil.test")})
	w.server("mx.example.com", smtptest.Script{TLS: w.cert("mx.example.com")})
	w.domain("example.com", "mx.evil.test", "mx.example.com")
	w.domain("example.org", "mx.evil.test")
	e := newEgress(t, w, func(p *layout) {
		p.sts = sts{&mtasts.Policy{Mode: mtasts.Enforce, MX: []string{"mx.example.com"}}}
	})
	wantReply(t, e.deliver("b@example.com"), "250 2.0.0 queued")
	w.wantWent("192.0.2.2")
	wantReply(t, e.deliver("b@example.org"), "451 4.7.5 mx.evil.test: not among the MX hosts that the MTA-STS policy of example.org names")
	w.wantWent()
	wantMessages(t, evil)
}

// TestPolicyIsToldHowADomainLedToAHost is the way of MX answers, smart hosts and redirected connections.
func TestPolicyIsToldHowADomainLedToAHost(t *testing.T) {
	mx := dane.MXInfo{Domain: "example.com", Canonical: "www.example.com", Host: "mx.example.com", Port: 25, MXSecure: true}
	insecure, implicit := mx, mx
	insecure.MXSecure = false
	implicit.Implicit = true
	for name, tt := range map[string]struct {
		change func(*world)
		layout func(*layout)
		want   dane.MXInfo
	}{
		"signed MX":            {func(w *world) {}, forget, mx},
		"insecure MX":          {func(w *world) { w.security = resolve.Insecure }, forget, insecure},
		"nobody looked":        {func(w *world) { w.security = resolve.Indeterminate }, forget, insecure},
		"no MX":                {func(w *world) { w.implicit = true }, forget, implicit},
		"redirected":           {func(w *world) {}, redirected("192.0.2.1:25"), mx},
		"by its address alone": {func(w *world) {}, redirected("192.0.2.7:25"), mx},
		"smart host":           {func(w *world) { w.security = resolve.Insecure }, smarthosts("mx.example.com"), dane.MXInfo{Domain: "mx.example.com", Host: "mx.example.com", Port: 25, Implicit: true, MXSecure: true}},
	} {
		t.Run(name, func(t *testing.T) {
			w := signed(newWorld(t))
			w.server("mx.example.com", smtptest.Script{TLS: w.cert("mx.example.com")})
			w.serve("192.0.2.7", smtptest.Script{})
			w.domain("example.com", "mx.example.com")
			w.canonical = "www.example.com"
			tt.change(w)
			z := &tlsa{}
			e := newEgress(t, w, z.layout, tt.layout)
			wantReply(t, e.deliver("b@example.com"), "250 2.0.0 queued")
			if diff := cmp.Diff(tt.want, z.asked[0]); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAnExplanationShowsHowFarTheDNSIsBelieved(t *testing.T) {
	w := signed(newWorld(t))
	w.place("mx.example.com", "192.0.2.1")
	w.domain("example.com", "mx.example.com")
	e := newEgress(t, w, (&tlsa{}).layout)
	x := e.g.Explain(t.Context(), "example.com")
	if len(x.Hosts) != 1 || x.Hosts[0].MXSecurity != "secure" || !x.Hosts[0].Proven || x.Hosts[0].AddressSecurity != "secure" || x.Hosts[0].AddressWhy != "because" || x.Hosts[0].Decision.Reasons[1] != (policy.Reason{Source: "dane", Text: "MX records: secure"}) {
		t.Errorf("got %+v", x)
	}
}

// slow is a DANE of which nothing is answered before all have asked.
type slow struct {
	tlsa
	all *sync.WaitGroup
}

func (s *slow) Find(ctx context.Context, mx dane.MXInfo) (dane.Finding, error) {
	s.all.Done()
	s.all.Wait()
	return s.tlsa.Find(ctx, mx)
}

func TestHostsAreDecidedAboutAtTheSameTime(t *testing.T) {
	w := newWorld(t)
	w.server("mx.example.com", smtptest.Script{TLS: w.cert("mx.example.com")})
	w.domain("example.com", "mx.example.com", "b.example.com", "c.example.com")
	s := &slow{all: &sync.WaitGroup{}}
	s.all.Add(3)
	e := newEgress(t, w, func(p *layout) { p.dane = s })
	wantReply(t, e.deliver("b@example.com"), "250 2.0.0 queued")
}

type broken struct{}

func (broken) Find(context.Context, dane.MXInfo) (dane.Finding, error) { panic("a defect") }

// TestADefectInADecisionCostsItsAskerAlone, and not the process.
func TestADefectInADecisionCostsItsAskerAlone(t *testing.T) {
	w := newWorld(t)
	w.domain("example.com", "a.example.com", "b.example.com")
	e := makeEgress(t, w, func(p *layout) { p.dane = broken{} })
	defer func() {
		if got := recover(); got != "a defect" {
			t.Errorf("got %v", got)
		}
	}()
	e.g.find(t.Context(), "example.com", netip.AddrPort{}, sender{until: time.Now().Add(smtptest.Patience)})
}
