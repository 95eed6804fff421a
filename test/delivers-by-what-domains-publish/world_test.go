package published

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"postern/internal/catest"
	"postern/internal/dnstest"
	"postern/internal/smtptest"
	"postern/test/harness"
)

// world is an Internet of domains that publish something, a mail server without TLS,
// and postern beside it. The resolver that both have knows no DNSSEC.
type world struct {
	*harness.SignedLab
	authority *catest.CA                   // that everybody trusts
	servers   map[string]*smtptest.Backend // by name
	pairs     map[string]tls.Certificate   // of the domains
	web       *http.Server
	out       *harness.Postern
	sender    *harness.Sender
}

// nobody has no server.
const nobody = "127.25.200.200"

func newWorld(t *testing.T, all []domain) *world {
	t.Helper()
	w := &world{authority: catest.New(t), servers: map[string]*smtptest.Backend{}, pairs: map[string]tls.Certificate{}}
	zones := []dnstest.Zone{{Name: "."}, {Name: "test"}}
	scripts, at := map[string]smtptest.Script{}, map[string]string{}
	serve := func(host string, script smtptest.Script) (ip string) {
		scripts[host], at[host] = script, harness.LabIP(len(at)+2)
		return at[host]
	}
	web := harness.LabIP(1)
	for _, d := range all {
		pair := d.certificate(t, w.authority)
		w.pairs[d.name] = pair
		z := d.zone(pair, serve("mx."+d.name+".test", d.script(pair)), web)
		if d.next {
			good := w.authority.Issue(t, catest.Leaf{Names: []string{"next." + z.Name}})
			z.Records += "@ MX 20 next\nnext A " + serve("next."+z.Name, smtptest.Script{TLS: harness.With(good)}) + "\n"
		}
		zones = append(zones, z)
	}
	w.SignedLab = harness.NewSignedLab(t, zones...)
	for _, d := range all {
		if d.fault != "" {
			w.DNS.Break("_25._tcp.mx."+d.name+".test", "TLSA", dnstest.Fault{Rcode: d.fault})
		}
	}
	for host, script := range scripts {
		w.servers[host] = w.Serve(at[host]+":25", script)
	}
	w.serveWeb(t, web, all)
	w.start(t)
	return w
}

// start starts postern and the mail server.
func (w *world) start(t *testing.T) {
	t.Helper()
	roots := filepath.Join(t.TempDir(), "roots.pem")
	catest.Write(t, roots, w.authority.PEM())
	g := w.Gateway(harness.Forwarding)
	g.Level, g.STS, g.Env = "auto", true, []string{"SSL_CERT_FILE=" + roots, "SSL_CERT_DIR=/nonexistent"}
	g.Outbound = "  reuse_idle = \"0s\"\n"
	w.Do(func() {
		w.out = g.Start(t)
		w.sender = harness.NewPostfixSender(t, harness.Snippet(t, "outbound.md", "Postfix, SMTP", 0, w.out.Addr), "default_process_limit = 30")
	})
}

// serveWeb serves the policies of all domains, over HTTPS.
func (w *world) serveWeb(t *testing.T, ip string, all []domain) {
	t.Helper()
	policies, by := map[string]string{}, map[string]*catest.CA{}
	for _, d := range all {
		host := "mta-sts." + d.name + ".test"
		policies[host], by[host] = d.policy, w.authority
		if d.web == "stranger" {
			by[host] = catest.New(t)
		}
	}
	var mu sync.Mutex
	certificate := func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		mu.Lock()
		defer mu.Unlock()
		c := by[hello.ServerName].Issue(t, catest.Leaf{Names: []string{hello.ServerName}})
		return &c, nil
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/mta-sts.txt", func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/plain")
		fmt.Fprint(rw, policies[r.Host])
	})
	w.web = &http.Server{Handler: mux, ErrorLog: log.New(io.Discard, "", 0)}
	w.Do(func() {
		l, err := net.Listen("tcp", ip+":443")
		if err != nil {
			t.Fatal(err)
		}
		go w.web.Serve(tls.NewListener(l, &tls.Config{GetCertificate: certificate}))
	})
	t.Cleanup(func() { w.web.Close() })
}

// certificate is what the domain's server shows.
func (d domain) certificate(t *testing.T, trusted *catest.CA) tls.Certificate {
	ca := trusted
	if d.server == "stranger" {
		ca = catest.New(t)
	}
	return ca.Issue(t, catest.Leaf{Names: []string{"mx." + d.name + ".test"}})
}

func (d domain) script(pair tls.Certificate) smtptest.Script {
	if d.server == "clear" {
		return smtptest.Script{}
	}
	return smtptest.Script{TLS: harness.With(pair)}
}

// zone is what the domain publishes. In its records KEY is what matches the server, OTHER
// is what does not.
func (d domain) zone(pair tls.Certificate, ip, web string) dnstest.Zone {
	sum := sha256.Sum256(pair.Leaf.RawSubjectPublicKeyInfo)
	records := strings.NewReplacer("KEY", hex.EncodeToString(sum[:]), "OTHER", strings.Repeat("07", 32)).Replace(d.records)
	text := "mx A " + ip + "\n" + records + "\n"
	if !strings.Contains(records, "MX") {
		text += "@ MX 10 mx\n"
	}
	if d.web == "down" {
		web = nobody
	}
	if d.policy != "" {
		text += "_mta-sts 0 TXT \"v=STSv1; id=1\"\nmta-sts A " + web + "\n"
	}
	z := dnstest.Zone{Name: d.name + ".test", Records: text, Unsigned: d.unsigned}
	if d.flaw != "" {
		z.Flaws = map[string]dnstest.Flaw{"_25._tcp.mx": d.flaw}
	}
	return z
}
