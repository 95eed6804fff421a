package certs_test

import (
	"crypto/tls"
	"testing"
	"time"

	"postern/internal/catest"
	"postern/tls/certs"
)

// resumption is a server with two configurations under one set of keys, a clock, and
// a client that keeps its tickets.
type resumption struct {
	now     time.Time
	tickets *certs.Tickets
	a, b    *tls.Config
	client  *tls.Config
}

func newResumption(t *testing.T, version uint16) *resumption {
	ca := catest.New(t)
	r := &resumption{now: time.Now()}
	r.tickets = certs.NewTickets(func() time.Time { return r.now })
	r.a = &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, catest.Leaf{})}}
	r.b = r.a.Clone()
	r.tickets.Apply(r.a)
	r.tickets.Apply(r.b)
	r.client = &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost", MaxVersion: version,
		ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	return r
}

func (r *resumption) expect(t *testing.T, when string, server *tls.Config, resumed bool) {
	t.Helper()
	state, err := handshake(server, r.client)
	if err != nil || state.DidResume != resumed {
		t.Errorf("%s: resumed %v, %v, want %v", when, state.DidResume, err, resumed)
	}
}

// forget makes the next handshake a full one.
func (r *resumption) forget() { r.client.ClientSessionCache = tls.NewLRUClientSessionCache(1) }

func TestSessionsResumeAcrossConfigurationsAndRotation(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			r := newResumption(t, version)
			r.expect(t, "first", r.a, false)
			r.expect(t, "at the other configuration", r.b, true)
			r.expect(t, "at a clone", r.a.Clone(), true)

			r.forget()
			r.expect(t, "anew", r.a, false)
			if r.now = r.now.Add(23 * time.Hour); r.tickets.Rotate() {
				t.Error("rotated before the day was over")
			}
			if r.now = r.now.Add(time.Hour); !r.tickets.Rotate() {
				t.Error("not rotated after a day")
			}
			late := r.a.Clone()
			r.tickets.Apply(late)
			r.expect(t, "a day later, at a configuration made later", late, true)
			r.expect(t, "with the new key, at the other", r.b, true)
		})
	}
}

func TestAKeyIsForgottenAfterTwoDays(t *testing.T) {
	for name, steps := range map[string][]time.Duration{
		"by daily rotation": {24 * time.Hour, 24 * time.Hour},
		"after a sleep":     {49 * time.Hour},
	} {
		r := newResumption(t, tls.VersionTLS13)
		r.expect(t, name+": first", r.a, false)
		for _, d := range steps {
			r.now = r.now.Add(d)
			if !r.tickets.Rotate() {
				t.Errorf("%s: not rotated", name)
			}
		}
		r.expect(t, name+": with the old key", r.b, false)
		r.expect(t, name+": with the new key", r.a, true)
	}
}
