package proxy

import (
	"crypto/tls"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"

	"postern/internal/smtptest"
)

// answering is a script that answers some lines in a way of its own.
func answering(capabilities []string, replies map[string]string) smtptest.Script {
	return smtptest.Script{Capabilities: capabilities, Answer: func(_ *smtptest.Conn, _, line string) string { return replies[line] }}
}

// SEM 33: many servers hide AUTH from some clients.
func TestAClientThatAUTHIsHiddenFromDoesNotLowerForwardSecrecyForOthers(t *testing.T) {
	_, e := one(t, answering([]string{"AUTH PLAIN"}, map[string]string{"EHLO hidden.test": "250 gullible"}),
		func(p *plan) { p.tls.Certificates = rsaCertificates(t) })
	weak := &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, // the suite is what is tested
		CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}}
	refused := func(when string) {
		k := e.hello()
		k.Do("STARTTLS", "220")
		if k.Handshake(weak) == nil {
			t.Errorf("%s: RSA key exchange was taken", when)
		}
	}
	refused("before")
	c := e.hello()
	c.StartTLS(&tls.Config{InsecureSkipVerify: true})
	if r := c.Do("EHLO hidden.test", "250"); offers(r, "AUTH") {
		t.Errorf("offered %q", r)
	}
	refused("after")
}

// The HELO that follows a refused EHLO says nothing of what the backend can do.
func TestAClientWhoseEHLOIsRefusedDoesNotEmptyWhatIsOfferedToOthers(t *testing.T) {
	_, e := one(t, answering([]string{"8BITMIME", "DSN"}, map[string]string{"EHLO odd.test": "550 5.7.1 go away"}))
	other := e.hello()
	c := e.hello()
	c.StartTLS(e.clientTLS())
	c.Do("EHLO odd.test", "250")
	for _, k := range []*smtptest.Client{other, e.connect()} {
		if r := k.Do("EHLO client.test", "250"); !offers(r, "8BITMIME") || !offers(r, "DSN") {
			t.Errorf("offered %q", r)
		}
	}
}

// SEM 3: a backend that knows the client may mean this one alone.
func TestARefusalOfOneClientLeavesTheBackendInUseForOthers(t *testing.T) {
	xclient := []string{"XCLIENT ADDR"}
	for name, c := range map[string]struct {
		how  Convey
		good smtptest.Script
		bad  map[string]string
	}{
		"greeting, PROXY v1": {ConveyProxyV1, smtptest.Script{Proxy: 1}, map[string]string{"greeting": "421 4.7.0 too many connections"}},
		"greeting, PROXY v2": {ConveyProxyV2, smtptest.Script{Proxy: 2}, map[string]string{"greeting": "450 4.7.1 later"}},
		"EHLO, PROXY v1":     {ConveyProxyV1, smtptest.Script{Proxy: 1}, map[string]string{"EHLO": "421 4.7.0 not now"}},
		"EHLO, XCLIENT":      {ConveyXCLIENT, smtptest.Script{Capabilities: xclient}, nil},
		"XCLIENT":            {ConveyXCLIENT, smtptest.Script{Capabilities: xclient}, map[string]string{"XCLIENT": "421 4.7.0 too many connections"}},
	} {
		t.Run(name, func(t *testing.T) {
			b, e := one(t, c.good, convey(c.how))
			bad := answering(c.good.Capabilities, map[string]string{"EHLO client.test": "450 4.7.1 not now"})
			bad.Proxy, bad.Replies = c.good.Proxy, c.bad
			b.Play(bad)
			want := "451 4.4.1"
			if c.bad["XCLIENT"] != "" { // SEM 9
				want = "421 4.3.2"
			}
			e.hello().Do("MAIL FROM:<a@b.test>", want)
			if !e.b.Ready() || e.b.targets[0].down.Load() {
				t.Error("the backend counts as down")
			}
			if !e.b.targets[0].suspect.Load() {
				t.Error("nobody will look whether it works")
			}
			b.Play(c.good)
			deliver(e.hello())
		})
	}
}

// lingering is a connection whose sides can be closed apart.
type lingering struct{ net.Conn }

func (lingering) CloseWrite() error { return nil }

// The time that a refused client is given to read its 421 is not taken from others.
func TestClientsOverTheirLimitHoldNoPlaceWhileTheyAreWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := NewServer(&Inbound{Front: Front{Hostname: "mx.test", Limits: Limits{Connections: 3, PerClient: 1}, Timeouts: rfc, Log: slog.New(slog.DiscardHandler)},
			Backends: NewBackends(BackendOptions{})})
		for i := range 10 {
			down, client := net.Pipe()
			srv.admit(lingering{down})
			if c := smtptest.Over(t, client); i == 0 {
				c.Expect("220")
			} else {
				c.Expect("421 4.7.0 Too many connections from your network")
			}
			defer client.Close()
			synctest.Wait()
			if n := srv.Sessions(); n != 1 {
				t.Fatalf("%d places are taken after %d clients", n, i+1)
			}
		}
	})
}

func TestServersShareThePlacesThatThereAre(t *testing.T) {
	shared := NewPlaces(1)
	_, e := one(t, smtptest.Script{}, func(p *plan) { p.Limits.Places = shared })
	k := e.hello()
	if shared.take() {
		t.Error("there is a place although a session has it")
	}
	smtptest.Dial(t, e.addr).Expect("421 4.7.0")
	k.Do("QUIT", "221")
	e.ended(0)
	if !shared.take() {
		t.Error("the place was not given back")
	}
}
