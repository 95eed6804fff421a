package proxy

import (
	"crypto/x509"
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/catest"
	"postern/internal/smtptest"
	"postern/peers"
	"postern/tls/level"
	"postern/tls/policy"
)

// asked are the levels of the table; auto is the last.
var asked = []string{"none", "may", "encrypt", "fingerprint", "verify", "secure", "auto"}

// levelled has an outbound ask for a level.
func levelled(name string, leaf *x509.Certificate) func(*layout) {
	return func(p *layout) {
		if p.own.Auto = name == "auto"; !p.own.Auto {
			p.own.Level, _ = level.Parse(name)
		}
		p.own.Fingerprints = []policy.Fingerprint{policy.FingerprintOf(leaf, false)}
	}
}

// outcome is what became of one message to b@example.com: "tls" or "clear", or the code
// of the refusal; the number of connections; and, behind ";", what the memory holds of the host
// afterwards that bears on the future.
func (e *egress) outcome(b *smtptest.Backend) string {
	e.t.Helper()
	before := len(b.Messages())
	e.w.dials()
	r := e.deliver("b@example.com")
	what, _, _ := strings.Cut(r, " ")
	switch code, rest, _ := strings.Cut(r, " "); {
	case code != "250":
		enhanced, _, _ := strings.Cut(rest, " ")
		what = code + " " + enhanced
	case len(b.Messages()) != before+1:
		e.t.Errorf("250, and the server has %d messages", len(b.Messages())-before)
	case b.Conns()[len(b.Conns())-1].Secured() != nil:
		what = "tls"
	default:
		what = "clear"
	}
	return fmt.Sprintf("%s, %d%s", what, e.w.dials(), e.holds("mx.example.com"))
}

// holds is what the memory has of a host.
func (e *egress) holds(name string) (s string) {
	e.t.Helper()
	all, err := e.memory.Show(name)
	if err != nil {
		e.t.Fatal(err)
	}
	for _, r := range all {
		if h := r.Host; h != nil {
			if h.Failing.Count > 0 {
				s += fmt.Sprintf("; failing %d", h.Failing.Count)
			}
			if e.clock.now().Before(h.Skip.Until) {
				s += "; skip " + h.Skip.Hold.String()
			}
		}
	}
	return s
}

// The one table: kinds of receiving servers against the levels, with nothing known of
// them. "skip 1h0m0s" behind an outcome is what the memory holds afterwards.
func TestEachLevelAgainstEachKindOfServer(t *testing.T) {
	const (
		refused = "451 4.7.5, 1"
		clear   = "clear, 1"
		tls     = "tls, 1"
		again   = "tls, 2"                           // without SNI and hybrid key exchange (SEM 28)
		fell    = "clear, 2; failing 1; skip 1h0m0s" // the connection after the one whose TLS failed (SEM 29, 30)
		fell3   = "clear, 3; failing 1; skip 1h0m0s" // and one in between, as above
	)
	mandatory := func(may string, rest ...string) []string {
		all := []string{clear, may, refused, refused, refused, refused, may}
		copy(all[2:], rest)
		return all
	}
	for name, want := range map[string][]string{
		//                        none   may …    encrypt fingerprint verify  secure
		"good":                    mandatory(tls, tls, tls, tls, tls),
		"no STARTTLS":             mandatory(clear),
		"STARTTLS refused":        mandatory(fell),
		"STARTTLS unanswered":     mandatory(fell),
		"handshake broken":        mandatory(fell3),
		"handshake stalled":       mandatory(fell3),
		"closed at ClientHello":   mandatory(fell3),
		"closed at ServerHello":   mandatory(fell3),
		"dislikes a large hello":  mandatory(again),
		"dislikes SNI":            mandatory(again),
		"expired":                 mandatory(tls, tls, tls),
		"wrong name":              mandatory(tls, tls, tls),
		"self-signed":             mandatory(tls, tls, tls),
		"unknown key":             mandatory(tls, tls, refused, tls, tls),
		"TLS 1.0 only":            mandatory(fell3),
		"RSA key exchange only":   mandatory(tls),
		"unparsable certificate":  mandatory(fell3),
		"EHLO inside TLS refused": mandatory(fell),
		"EHLO inside TLS closed":  mandatory(fell),
		"EHLO inside TLS hangs":   mandatory(fell),
		"injection":               mandatory(refused),
	} {
		for i, lvl := range asked {
			t.Run(name+"/"+lvl, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newPipedWorld(t)
					b, leaf := receivers[name].at(t, w)
					e := newPipedEgress(t, w, levelled(lvl, leaf))
					if got := e.outcome(b); got != want[i] {
						t.Errorf("%q, want %q", got, want[i])
					}
				})
			})
		}
		if receivers[name] == nil {
			t.Errorf("%q is in one table only", name)
		}
	}
}

var mx = peers.Host{Name: "mx.example.com", Port: 25}

// past is what the memory holds of mx.example.com before the message.
type past func(e *egress, out *peers.Outbound)

// valid is a session with a certificate that could be expected in future.
var valid = peers.Facts{Version: 0x304, Trust: "Verified", Valid: true}

func nothing(*egress, *peers.Outbound) {}

// hadTLS is TLS with the host, a number of days ago.
func hadTLS(days int) past {
	return func(e *egress, out *peers.Outbound) {
		out.Secured("example.com", mx, peers.Facts{Version: 0x304})
		e.clock.turn(time.Duration(days) * 24 * time.Hour)
	}
}

// failed is TLS with the host a day ago, and failures since: each so long before the next,
// and the last before now.
func failed(gaps ...time.Duration) past {
	return func(e *egress, out *peers.Outbound) {
		hadTLS(1)(e, out)
		for _, gap := range gaps {
			out.TLSFailed("example.com", mx, "handshake failed")
			e.clock.turn(gap)
		}
	}
}

// skipped is a skip that was set so long ago.
func skipped(ago time.Duration) past {
	return func(e *egress, out *peers.Outbound) {
		out.TLSFailed("example.com", mx, "handshake failed")
		out.WentClear("example.com", mx)
		e.clock.turn(ago)
	}
}

// validated is a certificate of a host that was good in three sessions over a day, the last
// of them so many days ago.
func validated(h peers.Host, days int) past {
	return func(e *egress, out *peers.Outbound) {
		for range 3 {
			out.Secured("example.com", h, valid)
			e.clock.turn(12 * time.Hour)
		}
		e.clock.turn(time.Duration(days)*24*time.Hour - 12*time.Hour)
	}
}

// expiredFor is a server whose certificate has expired for some days.
func expiredFor(days int) receiver {
	return presents(catest.Leaf{Names: []string{"mx.example.com"}, NotBefore: long(-90), NotAfter: long(-days)})
}

// The same table along what is known of the host: SEM 29, 30 and 32 line by line. The level
// is auto unless said otherwise.
func TestWhatIsKnownOfAHostDecidesWhatComesOfAFailure(t *testing.T) {
	const (
		minute = time.Minute
		broken = "handshake broken"
		again  = 61 * time.Minute
	)
	receivers := maps.Clone(receivers)
	receivers["expired for 13 days"], receivers["expired for 15 days"] = expiredFor(13), expiredFor(15)
	for _, c := range []struct {
		of       string // the past, in words
		past     past
		server   string
		fallback Fallback
		level    string
		want     string
	}{
		{"nothing", nothing, broken, FallbackSameSession, "auto", "clear, 3; failing 1; skip 1h0m0s"},
		{"nothing", nothing, broken, FallbackNextSession, "auto", "451 4.7.5, 2; failing 1"},
		{"nothing", nothing, broken, FallbackNever, "auto", "451 4.7.5, 2; failing 1"},
		{"nothing", nothing, "no STARTTLS", FallbackNever, "auto", "clear, 1"},
		{"nothing", nothing, "injection", FallbackSameSession, "auto", "451 4.7.5, 1"},
		{"nothing", nothing, "injection", FallbackNextSession, "auto", "451 4.7.5, 1"},

		{"TLS a day ago", hadTLS(1), broken, FallbackSameSession, "auto", "451 4.7.5, 2; failing 1"},
		{"TLS a day ago", hadTLS(1), broken, FallbackNextSession, "auto", "451 4.7.5, 2; failing 1"},
		{"TLS a day ago", hadTLS(1), broken, FallbackNever, "auto", "451 4.7.5, 2; failing 1"},
		{"TLS a day ago", hadTLS(1), "STARTTLS refused", FallbackSameSession, "auto", "451 4.7.5, 1; failing 1"},
		{"TLS a day ago", hadTLS(1), "no STARTTLS", FallbackSameSession, "auto", "clear, 1"},
		{"TLS a day ago", hadTLS(1), "good", FallbackSameSession, "auto", "tls, 1"},
		{"TLS 30 days ago", hadTLS(30), broken, FallbackSameSession, "auto", "451 4.7.5, 2; failing 1"},
		{"TLS 31 days ago", hadTLS(31), broken, FallbackSameSession, "auto", "clear, 3; failing 1; skip 1h0m0s"},

		{"one failure 4 minutes ago", failed(4 * minute), broken, FallbackSameSession, "auto", "451 4.7.5, 2; failing 2"},
		{"one failure 5 minutes ago", failed(5 * minute), broken, FallbackSameSession, "auto", "clear, 3; failing 2"},
		{"one failure 5 minutes ago", failed(5 * minute), broken, FallbackNextSession, "auto", "451 4.7.5, 2; failing 2"},
		{"one failure 5 minutes ago", failed(5 * minute), broken, FallbackNever, "auto", "451 4.7.5, 2; failing 2"},
		{"one failure 5 minutes ago", failed(5 * minute), "good", FallbackSameSession, "auto", "tls, 1"},
		{"two failures in 29 minutes", failed(5*minute, 24*minute), broken, FallbackSameSession, "auto", "clear, 3; failing 3"},
		{"two failures in 30 minutes", failed(5*minute, 25*minute), broken, FallbackSameSession, "auto", "clear, 3; failing 3; skip 1h0m0s"},
		{"one failure 30 minutes ago", failed(30 * minute), broken, FallbackSameSession, "auto", "clear, 3; failing 2"},

		{"skip", skipped(0), broken, FallbackSameSession, "auto", "clear, 1; failing 1; skip 1h0m0s"},
		{"skip", skipped(0), "good", FallbackSameSession, "auto", "clear, 1; failing 1; skip 1h0m0s"},
		{"skip", skipped(0), "good", FallbackNextSession, "may", "clear, 1; failing 1; skip 1h0m0s"},
		{"skip", skipped(0), "good", FallbackNever, "auto", "tls, 1"},
		{"skip", skipped(0), broken, FallbackNever, "auto", "451 4.7.5, 2; failing 2; skip 1h0m0s"},
		{"skip", skipped(0), "good", FallbackSameSession, "encrypt", "tls, 1"},
		{"skip", skipped(0), "good", FallbackSameSession, "secure", "tls, 1"},
		{"skip", skipped(0), broken, FallbackSameSession, "encrypt", "451 4.7.5, 1; failing 1; skip 1h0m0s"},
		{"skip over", skipped(again), broken, FallbackSameSession, "auto", "clear, 3; failing 2; skip 2h0m0s"},
		{"skip over", skipped(again), "good", FallbackSameSession, "auto", "tls, 1"},

		{"remembered", validated(mx, 0), "good", FallbackSameSession, "auto", "tls, 1"},
		{"remembered", validated(mx, 0), "wrong name", FallbackSameSession, "auto", "451 4.7.5, 1"},
		{"remembered", validated(mx, 0), "self-signed", FallbackSameSession, "auto", "451 4.7.5, 1"},
		{"remembered", validated(mx, 0), "no STARTTLS", FallbackSameSession, "auto", "451 4.7.5, 1"},
		{"remembered", validated(mx, 0), broken, FallbackSameSession, "auto", "451 4.7.5, 1"},
		{"remembered", validated(mx, 0), broken, FallbackNextSession, "auto", "451 4.7.5, 1"},
		{"remembered", validated(mx, 0), "injection", FallbackSameSession, "auto", "451 4.7.5, 1"},
		{"remembered", validated(mx, 0), "no STARTTLS", FallbackSameSession, "may", "clear, 1"},
		{"remembered", validated(mx, 0), "expired for 13 days", FallbackSameSession, "auto", "tls, 1"},
		{"remembered", validated(mx, 0), "expired for 15 days", FallbackSameSession, "auto", "451 4.7.5, 1"},
		{"remembered 30 days ago", validated(mx, 30), "wrong name", FallbackSameSession, "auto", "451 4.7.5, 1"},
		{"remembered 31 days ago", validated(mx, 31), "wrong name", FallbackSameSession, "auto", "tls, 1"},
		{"remembered 31 days ago", validated(mx, 31), "no STARTTLS", FallbackSameSession, "auto", "clear, 1"},
		{"another MX remembered", validated(otherMX, 0), "self-signed", FallbackSameSession, "auto", "tls, 1"},
		{"another MX remembered", validated(otherMX, 0), "no STARTTLS", FallbackSameSession, "auto", "451 4.7.5, 1"},
		{"another MX remembered", validated(otherMX, 0), broken, FallbackSameSession, "auto", "451 4.7.5, 1"},
		{"another MX remembered", validated(otherMX, 31), "no STARTTLS", FallbackSameSession, "auto", "clear, 1"},
	} {
		t.Run(fmt.Sprintf("%s/%s/%d/%s", c.of, c.server, c.fallback, c.level), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newPipedWorld(t)
				b, leaf := receivers[c.server].at(t, w)
				e := newPipedEgress(t, w, levelled(c.level, leaf), func(p *layout) { p.gateway.Fallback = c.fallback })
				c.past(e, e.memory.Outbound(peers.DefaultRules()))
				if got := e.outcome(b); got != c.want {
					t.Errorf("%q, want %q", got, c.want)
				}
			})
		})
	}
}

var otherMX = peers.Host{Name: "mx2.example.com", Port: 25}
