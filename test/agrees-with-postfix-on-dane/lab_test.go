package agrees

import (
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postern/internal/dnstest"
	"postern/internal/smtptest"
	"postern/test/harness"
)

// lab is all set-ups at once, and those who deliver to them.
type lab struct {
	*harness.SignedLab
	port    int
	setups  []*setup
	servers map[string]*smtptest.Backend // by address

	postfix *harness.Sender // at level dane
	legacy  *harness.Sender // without TLS, behind postern
	postern map[string]*harness.Postern
}

// ways are those by which a message goes through postern, by the recipient's name: the
// postern that asks that resolver, and its outbound.
var ways = []struct{ user, resolver, outbound, addr string }{
	{"auto", harness.Validating, "egress", "127.0.0.1:10025"},
	{"dane", harness.Validating, "dane", "127.0.0.1:10026"},
	{"auto-forwarder", harness.Forwarding, "egress", "127.0.0.2:10025"},
	{"dane-forwarder", harness.Forwarding, "dane", "127.0.0.2:10026"},
}

func newLab(t *testing.T, text string, port int) *lab {
	t.Helper()
	all, err := setups(text)
	if err != nil {
		t.Fatal(err)
	}
	zones := []dnstest.Zone{{Name: "."}, {Name: "test"}}
	for _, z := range zonesOf(all) {
		if z.Name == "test" {
			zones[1].Records += z.Records
		} else {
			zones = append(zones, z)
		}
	}
	l := &lab{SignedLab: harness.NewSignedLab(t, zones...), port: port, setups: all, servers: map[string]*smtptest.Backend{}, postern: map[string]*harness.Postern{}}
	for _, s := range all {
		for _, f := range s.faults {
			l.DNS.Break(f.name, f.kind, f.fault())
		}
		for _, one := range s.servers {
			l.servers[one.ip] = l.Serve(fmt.Sprint(one.ip, ":", port), s.script(t, one))
		}
	}
	l.start(t)
	return l
}

func zonesOf(all []*setup) (zones []dnstest.Zone) {
	for _, s := range all {
		zones = append(zones, s.zones...)
	}
	return zones
}

func (f fault) fault() dnstest.Fault {
	if f.what == "DROP" {
		return dnstest.Silent
	}
	return dnstest.Fault{Rcode: f.what}
}

// script is what a server does.
func (s *setup) script(t *testing.T, one server) smtptest.Script {
	t.Helper()
	if slices.Contains(one.options, "no-starttls") {
		return smtptest.Script{}
	}
	pair := s.cast.chain(one.chain)
	if s.cast.err != nil {
		t.Fatalf("setup %s: %v", s.name, s.cast.err)
	}
	config := harness.With(*pair)
	for _, option := range one.options {
		switch key, value, _ := strings.Cut(option, "="); key {
		case "tls1.1":
			config.MinVersion, config.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
		case "dies":
			return smtptest.Script{TLS: config, Die: "handshake"}
		case "refuses":
			return smtptest.Script{TLS: config, Replies: map[string]string{"STARTTLS": "454 4.7.0 no TLS now"}}
		case "tls1.2":
			config.MaxVersion = tls.VersionTLS12
		case "sni": // a certificate for nobody, unless that name is asked for
			other := s.cast.chain([]string{"self:www.elsewhere.test."})
			config = &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
				if hello.ServerName == absolute(value, s.domain()) {
					return pair, nil
				}
				return other, nil
			}}
		default:
			t.Fatalf("setup %s: unknown option %q", s.name, option)
		}
	}
	return smtptest.Script{TLS: config}
}

// start starts the mail servers and the posterns.
func (l *lab) start(t *testing.T) {
	t.Helper()
	var transports strings.Builder
	for _, s := range l.setups {
		if l.port != 25 {
			fmt.Fprintf(&transports, "/^postfix@%[1]s$/ smtp:%[1]s:%[2]d\n", s.domain(), l.port)
		}
	}
	l.Do(func() {
		for i, w := range ways {
			if i%2 == 0 {
				l.postern[w.resolver] = l.gateway(t, w.resolver, w.addr, ways[i+1].addr)
			}
			transports.WriteString("/^" + w.user + "@/ smtp:[" + strings.Replace(w.addr, ":", "]:", 1) + "\n")
		}
		file := filepath.Join(filepath.Dir(l.Anchors), "transports")
		if err := os.WriteFile(file, []byte(transports.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		maps := "transport_maps = regexp:" + file
		l.postfix = harness.NewPostfixSender(t, many, "smtp_tls_security_level = dane\nsmtp_dns_support_level = dnssec\nsmtp_tls_loglevel = 1", maps)
		l.legacy = harness.NewPostfixSender(t, many, "smtp_tls_security_level = none\nsmtp_destination_recipient_limit = 1", maps)
	})
}

// many lets a Postfix deliver much at once, and each message once.
const many = "default_process_limit = 40\nminimal_backoff_time = 1h\nqueue_run_delay = 1h"

// gateway starts a postern with an outbound for each of the two levels.
func (l *lab) gateway(t *testing.T, resolver, auto, dane string) *harness.Postern {
	g := l.Gateway(resolver)
	g.Addr, g.Level, g.MXPort = auto, "auto", l.port
	g.Outbound = "  reuse_idle = \"0s\"\n"
	g.Top = fmt.Sprintf("outbound \"dane\" {\n  listen = [%q]\n  level = \"dane\"\n  mta_sts = false\n  mx_port = %d\n  reuse_idle = \"0s\"\n}\n", dane, l.port)
	return g.Start(t)
}

// took says whether a server of the set-up has the message to the recipient, and
// whether it came over TLS.
func (l *lab) took(s *setup, recipient string) (has, secured bool) {
	for _, one := range s.servers {
		for _, c := range l.servers[one.ip].Conns() {
			if len(c.Messages()) > 0 && slices.ContainsFunc(c.Commands(), func(line string) bool { return strings.HasPrefix(line, "RCPT TO:<"+recipient+">") }) {
				return true, c.Secured() != nil
			}
		}
	}
	return false, false
}
