package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"postern/internal/catest"
	"postern/internal/smtptest"
	"postern/tls/level"
	"postern/tls/policy"
)

// visiting is a gateway beside a server, and the visit that it pays there.
type visiting struct {
	t  *testing.T
	b  *smtptest.Backend
	g  *Gateway
	to VisitTo
}

func newVisiting(t *testing.T, s smtptest.Script) *visiting {
	t.Helper()
	cert := catest.New(t).Issue(t, catest.Leaf{Names: []string{"mx.test"}})
	if s.TLS == nil {
		s.TLS = &tls.Config{}
	}
	s.TLS.Certificates = []tls.Certificate{cert}
	b := smtptest.NewBackend(t, s)
	g := NewGateway(GatewayOptions{Hostname: "gw.test", Timeouts: patient})
	t.Cleanup(g.Close)
	decision := policy.New(policy.Options{Default: policy.Rule{Level: level.May}}).Decide(t.Context(), "mx.test", "mx.test", 25)
	return &visiting{t, b, g, VisitTo{Host: "mx.test", Addr: netip.MustParseAddrPort(b.Addr), Implicit: s.Implicit, Decision: decision, Until: time.Now().Add(smtptest.Patience)}}
}

func (v *visiting) visit(ctx context.Context) *Visit {
	v.t.Helper()
	c, err := v.g.Visit(ctx, v.to)
	if err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(c.Close)
	return c
}

func (v *visiting) must(err error) {
	v.t.Helper()
	if err != nil {
		v.t.Fatal(err)
	}
}

func TestAVisitGoesTheWayOfMail(t *testing.T) {
	w := newVisiting(t, smtptest.Script{})
	c := w.visit(t.Context())
	w.must(c.Greet())
	if !c.Capabilities().Has("STARTTLS") {
		t.Error("STARTTLS is not offered")
	}
	w.must(c.StartTLS())
	w.must(c.Secure(false))
	w.must(c.Hello())
	if c.Capabilities().Has("STARTTLS") || c.State().ServerName != "mx.test" || c.Verdict().Trust != policy.Untrusted {
		t.Errorf("inside: %v, %q, %v", c.Capabilities().List(), c.State().ServerName, c.Verdict())
	}
	c.Leave()
	conn := w.b.Connection(0)
	conn.WaitOver()
	if got := strings.Join(conn.Commands(), ", "); got != "EHLO gw.test, STARTTLS, EHLO gw.test, QUIT" {
		t.Error(got)
	}
}

func TestAPlainVisitOffersLess(t *testing.T) {
	w := newVisiting(t, smtptest.Script{})
	for _, plain := range []bool{false, true} {
		c := w.visit(t.Context())
		w.must(c.Greet())
		w.must(c.StartTLS())
		w.must(c.Secure(plain))
		if hybrid := c.State().CurveID == tls.X25519MLKEM768; hybrid == plain || (c.State().ServerName == "") != plain { // SEM 28
			t.Errorf("plain %v: %v for %q", plain, c.State().CurveID, c.State().ServerName)
		}
		c.Close()
	}
}

func TestASecondVisitResumesTheSession(t *testing.T) {
	w := newVisiting(t, smtptest.Script{})
	for _, want := range []bool{false, true} {
		c := w.visit(t.Context())
		w.must(c.Greet())
		w.must(c.StartTLS())
		w.must(c.Secure(false))
		w.must(c.Hello())
		if c.State().DidResume != want {
			t.Errorf("resumed: %v", c.State().DidResume)
		}
		c.Leave()
	}
}

func TestAVisitCanHandItsSocketOver(t *testing.T) {
	for _, implicit := range []bool{false, true} {
		w := newVisiting(t, smtptest.Script{Implicit: implicit})
		c := w.visit(t.Context())
		if !implicit {
			w.must(c.Greet())
			w.must(c.StartTLS())
		}
		own := tls.Client(c.Conn(), &tls.Config{InsecureSkipVerify: true}) // a throw-away certificate
		w.must(own.Handshake())
	}
}

func TestACommandBehindSTARTTLSGoesInOneSegment(t *testing.T) {
	w := newVisiting(t, smtptest.Script{})
	c := w.visit(t.Context())
	w.must(c.Greet())
	w.must(c.StartTLSWith("NOOP"))
	w.must(c.Secure(false))
	w.must(c.Hello())
	found := false
	for _, s := range w.b.Connection(0).Segments() {
		found = found || s == "STARTTLS\r\nNOOP\r\n"
	}
	if !found {
		t.Errorf("%q", w.b.Connection(0).Segments())
	}
}

func TestAVisitSaysAtWhichStepItFailed(t *testing.T) {
	for _, c := range []struct {
		script smtptest.Script
		step   string
		busy   bool
	}{
		{smtptest.Script{Replies: map[string]string{"greeting": "421 4.3.2 later"}}, "greeting", true},
		{smtptest.Script{Replies: map[string]string{"greeting": "554 5.7.1 no"}}, "greeting", false},
		{smtptest.Script{Die: "EHLO"}, "greeting", false},
		{smtptest.Script{Replies: map[string]string{"STARTTLS": "454 4.7.0 later"}}, "STARTTLS", true},
		{smtptest.Script{Replies: map[string]string{"STARTTLS": "220 ready\r\n250 injected"}}, "STARTTLS", false},
		{smtptest.Script{Die: "handshake"}, "handshake", false},
		{smtptest.Script{Replies: map[string]string{"TLS EHLO": "450 4.7.1 later"}}, "EHLO", true},
	} {
		w := newVisiting(t, c.script)
		v := w.visit(t.Context())
		err := v.Greet()
		for _, next := range []func() error{v.StartTLS, func() error { return v.Secure(false) }, v.Hello} {
			if err == nil {
				err = next()
			}
		}
		e, ok := errors.AsType[*VisitError](err)
		if !ok || e.Step != c.step || e.Busy() != c.busy {
			t.Errorf("%+v: %v", c.script, err)
		}
	}
	w := newVisiting(t, smtptest.Script{})
	w.b.Stop()
	if e, ok := errors.AsType[*VisitError](func() error { _, err := w.g.Visit(t.Context(), w.to); return err }()); !ok || e.Step != "connect" || !strings.Contains(e.Error(), "connection refused") {
		t.Errorf("nobody there: %v", e)
	}
}

func TestAVisitEndsWithItsContext(t *testing.T) {
	hold := make(chan struct{})
	defer close(hold)
	w := newVisiting(t, smtptest.Script{Hold: map[string]<-chan struct{}{"greeting": hold}})
	ctx, cancel := context.WithCancel(t.Context())
	c := w.visit(ctx)
	w.b.Connection(0)
	cancel()
	if err := c.Greet(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a server that says nothing: %v", err)
	}
}

func TestAVisitIsForgotten(t *testing.T) {
	w := newVisiting(t, smtptest.Script{Die: "handshake"})
	c := w.visit(t.Context())
	w.must(c.Greet())
	w.must(c.StartTLS())
	if c.Secure(true) == nil {
		t.Fatal("a handshake with nobody")
	}
	if w.g.failed.recently(&host{name: "mx.test", port: w.to.Addr.Port()}) || w.g.places.inUse("mx.test") {
		t.Error("it is remembered")
	}
}
