package mtasts_test

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"postern/internal/catest"
	"postern/tls/mtasts"
)

// answer sends a page with one header field.
func answer(status int, key, value, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header()[key] = []string{value}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

func kind(mediaType string) http.HandlerFunc { return answer(200, "Content-Type", mediaType, full) }

func text(body string) http.HandlerFunc { return answer(200, "Content-Type", "text/plain", body) }

// TestWhatPolicyHostsDo is STANDARDS 124, 125 and 126: each answer over real HTTPS at the
// first contact, where only a good one gives a policy, and every other is STANDARDS 137.
func TestWhatPolicyHostsDo(t *testing.T) {
	const fetch, invalid = "none sts-policy-fetch-error", "none sts-policy-invalid"
	tests := []struct {
		name string
		page http.HandlerFunc
		want string
		why  string
	}{
		{"good", text(full), "enforce fetched", "policy id1 of"},
		{"64 KiB", text(full + "a: " + strings.Repeat("b", mtasts.MaxPolicySize-len(full)-3)), "enforce fetched", ""},
		{"mode none", text(head + "mode: none\n" + tail), "none fetched", ""},

		{"301", answer(301, "Location", "https://mta-sts.example.com/elsewhere", full), fetch, `answers 301 and points to "https://mta-sts.example.com/elsewhere"`},
		{"302 to another host", answer(302, "Location", "https://www.example.org/", full), fetch, "redirects must not be followed"},
		{"307 to itself", answer(307, "Location", "/.well-known/mta-sts.txt", full), fetch, "answers 307"},
		{"308 to clear text", answer(308, "Location", "http://mta-sts.example.com/.well-known/mta-sts.txt", full), fetch, "answers 308"},
		{"a redirect to hostile text", answer(302, "Location", "x\t\x80"+strings.Repeat("y", 500), full), fetch, "failed to parse Location"},
		{"a redirect to a long address", answer(302, "Location", "/"+strings.Repeat("y", 5000), full), fetch, "answers 302"},
		{"300 with a policy", answer(300, "Content-Type", "text/plain", full), fetch, "answers 300 instead of 200"},
		{"201 with a policy", answer(201, "Content-Type", "text/plain", full), fetch, "answers 201 instead of 200"},
		{"204", answer(204, "Content-Type", "text/plain", ""), fetch, "answers 204"},
		{"206 with a policy", answer(206, "Content-Type", "text/plain", full), fetch, "answers 206"},
		{"401", answer(401, "WWW-Authenticate", "Basic realm=x", full), fetch, "answers 401"},
		{"404", answer(404, "Content-Type", "text/plain", full), fetch, "answers 404"},
		{"500", answer(500, "Content-Type", "text/plain", full), fetch, "answers 500"},

		{"text/plain with parameters", kind("text/plain; charset=utf-8; format=flowed"), "enforce fetched", ""},
		{"TEXT/PLAIN", kind("TEXT/Plain;charset=x"), "enforce fetched", ""},
		{"text/plain with broken parameters", kind("text/plain; charset"), "enforce fetched", ""},
		{"text/html", kind("text/html"), invalid, `has the media type "text/html" instead of text/plain`},
		{"octets", kind("application/octet-stream"), invalid, "instead of text/plain"},
		{"text/plainer", kind("text/plainer"), invalid, "instead of text/plain"},
		{"a broken media type", kind("text/plain, text/html"), invalid, "instead of text/plain"},
		{"no media type", kind(""), invalid, `media type ""`},

		{"64 KiB and an octet", text(full + "a: " + strings.Repeat("b", mtasts.MaxPolicySize-len(full)-2)), fetch, "more than 65536 octets"},
		{"1 MB", text(strings.Repeat(full, 1<<20/len(full))), fetch, "more than 65536 octets"},
		{"1 GB, announced", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1000000000")
			w.Header().Set("Content-Type", "text/plain")
			for _, err := io.WriteString(w, full); err == nil; _, err = io.WriteString(w, full) {
			}
		}, fetch, "more than 65536 octets"},
		{"a header of 1 MB", answer(200, "X-Long", strings.Repeat("x", 1<<20), full), fetch, "cannot be fetched"},
		{"compressed", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			io.WriteString(z, full)
			z.Close()
		}, invalid, "line 1"},
		{"cut off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, full)
		}, fetch, "unexpected EOF"},
		{"closed without an answer", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, fetch, "EOF"},

		{"nothing", text(""), invalid, "the policy has no version"},
		{"a web page as text", text("<html>"), invalid, "is not key: value"},
		{"no mx", text(head + "mode: enforce\n" + tail), invalid, "no mx"},
		{"duplicate keys", text(full + "mode: none\nmax_age: 1\n"), "enforce fetched", "mode enforce, mx mx.example.com, max_age 604800"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := newInternet(t)
			n.set(func() { n.page = tt.page })
			l := n.lookup(t)
			f := l.Find(t.Context(), domain)
			found(t, f, tt.want)
			if !strings.Contains(f.Why, tt.why) {
				t.Errorf("got %q, want %q", f.Why, tt.why)
			}
			cost(t, n, 1, 1)
			found(t, l.Find(t.Context(), domain), strings.Replace(tt.want, "fetched", "cache", 1))
			cost(t, n, 0, 0) // nobody waits twice, and 5 minutes pass before the next attempt
		})
	}
}

// TestHowAPolicyIsAskedFor is STANDARDS 123 and 124.
func TestHowAPolicyIsAskedFor(t *testing.T) {
	for domain, name := range map[string]string{
		"example.com": "example.com", "EXAMPLE.com.": "example.com",
		"a.b.example.com": "a.b.example.com", // a policy of the parent says nothing of it
		"müller.example":  "xn--mller-kva.example", "localhost": "localhost",
	} {
		t.Run(domain, func(t *testing.T) {
			n := newInternet(t)
			var request *http.Request
			n.set(func() {
				n.page = func(w http.ResponseWriter, r *http.Request) {
					request = r
					text(full)(w, r)
				}
			})
			found(t, n.lookup(t).Find(t.Context(), domain), "enforce fetched")
			if len(n.asked) != 1 || n.asked[0] != "_mta-sts."+name || len(n.got) != 1 || n.got[0] != "mta-sts."+name+"/.well-known/mta-sts.txt" {
				t.Errorf("asked %q, got %q", n.asked, n.got)
			}
			if len(n.dialled) != 1 || n.dialled[0] != "tcp mta-sts."+name+":443" {
				t.Errorf("dialled %q", n.dialled)
			}
			if r := request; r.Method != "GET" || r.TLS.ServerName != "mta-sts."+name || len(r.TLS.PeerCertificates) > 0 || r.UserAgent() != "postern" || r.Header.Get("Accept-Encoding") != "" {
				t.Errorf("got %+v", r)
			}
		})
	}
}

// TestWhatHasNoPolicy is the rest of STANDARDS 123: nothing is asked for what is no domain.
func TestWhatHasNoPolicy(t *testing.T) {
	n := newInternet(t)
	l := n.lookup(t)
	for _, domain := range []string{
		"", ".", "[192.0.2.1]", "[IPv6:2001:db8::1]", "192.0.2.1", "2001:db8::1", "a b", "example.com/x@", "a@example.com", "example.com:443", "example.com..", ".example.com", "*.example.com",
		"a\r\nb", "\xff.example", strings.Repeat("a", 64) + ".example", strings.Repeat("a.", 122) + "a",
	} {
		found(t, l.Find(t.Context(), domain), "none")
		found(t, l.Refresh(t.Context(), domain), "none")
		l.Prefetch(domain)
	}
	cost(t, n, 0, 0)
	found(t, l.Find(t.Context(), strings.Repeat("a.", 121)+"a"), "enforce fetched") // 243 characters
}

// TestOnlyAValidCertificateSpeaksForADomain is STANDARDS 124.
func TestOnlyAValidCertificateSpeaksForADomain(t *testing.T) {
	const host, webPKI = "mta-sts.example.com", "none sts-webpki-invalid"
	root, now := catest.New(t), time.Now()
	good := catest.Leaf{Names: []string{host}}
	tests := []struct {
		name string
		cert tls.Certificate
		want string
	}{
		{"good", root.Issue(t, good), "enforce fetched"},
		{"good, by an intermediate", root.Intermediate(t).Issue(t, good), "enforce fetched"},
		{"a wildcard", root.Issue(t, catest.Leaf{Names: []string{"*.example.com"}}), "enforce fetched"},
		{"for the domain", root.Issue(t, catest.Leaf{Names: []string{domain}}), webPKI},
		{"for another host", root.Issue(t, catest.Leaf{Names: []string{"mta-sts.example.org"}}), webPKI},
		{"a wildcard too high", root.Issue(t, catest.Leaf{Names: []string{"*.com"}}), webPKI},
		{"common name only", root.Issue(t, catest.Leaf{CommonName: host}), webPKI},
		{"for an address", root.Issue(t, catest.Leaf{CommonName: host, IPs: []string{"127.0.0.1"}}), webPKI},
		{"expired", root.Issue(t, catest.Leaf{Names: []string{host}, NotAfter: now.Add(-time.Minute)}), webPKI},
		{"not yet valid", root.Issue(t, catest.Leaf{Names: []string{host}, NotBefore: now.Add(time.Minute)}), webPKI},
		{"for clients", root.Issue(t, catest.Leaf{Names: []string{host}, Client: true}), webPKI},
		{"of an unknown authority", catest.New(t).Issue(t, good), webPKI},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := newInternet(t)
			n.serve(t, &tls.Config{Certificates: []tls.Certificate{tt.cert}})
			n.roots = root.Pool()
			f := n.lookup(t).Find(t.Context(), domain)
			found(t, f, tt.want)
			if f.Policy == nil && !strings.Contains(f.Why, "the certificate of mta-sts.example.com is not valid") {
				t.Errorf("got %q", f.Why)
			}
			if _, got := n.counts(); got != 0 && f.Policy == nil {
				t.Error("the request went to a host without a valid certificate")
			}
		})
	}
}

// serve moves the policy hosts to another server on loopback, with its own TLS settings.
func (n *internet) serve(t *testing.T, config *tls.Config) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: n, ErrorLog: quiet}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.Serve(l)
	}()
	t.Cleanup(func() {
		s.Close()
		<-ended
	})
	n.dial = dialer(l.Addr())
}

func TestAPolicyHostMustSpeakModernTLS(t *testing.T) {
	root := catest.New(t)
	for version, want := range map[uint16]string{tls.VersionTLS10: "none sts-policy-fetch-error", tls.VersionTLS11: "none sts-policy-fetch-error", tls.VersionTLS12: "enforce fetched", tls.VersionTLS13: "enforce fetched"} {
		n := newInternet(t)
		n.serve(t, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: version, Certificates: []tls.Certificate{root.Issue(t, catest.Leaf{Names: []string{"mta-sts.example.com"}})}})
		n.roots = root.Pool()
		found(t, n.lookup(t).Find(t.Context(), domain), want)
	}
}

// TestNoCertificateIsShown is STANDARDS 124: a host that requires one gets none, and nothing.
func TestNoCertificateIsShown(t *testing.T) {
	root := catest.New(t)
	n := newInternet(t)
	n.serve(t, &tls.Config{ClientAuth: tls.RequireAnyClientCert, Certificates: []tls.Certificate{root.Issue(t, catest.Leaf{Names: []string{"mta-sts.example.com"}})}})
	n.roots = root.Pool()
	found(t, n.lookup(t).Find(t.Context(), domain), "none sts-policy-fetch-error")
}

func TestAnyMediaTypeIsAKnob(t *testing.T) {
	for _, page := range []http.HandlerFunc{kind("text/html"), kind(""), kind("?")} {
		n := newInternet(t)
		n.set(func() { n.page = page })
		l := n.lookup(t, func(o *mtasts.Options) { o.AnyMediaType = true })
		found(t, l.Find(t.Context(), domain), "enforce fetched")
	}
}

func TestARefusedConnectionIsAFetchError(t *testing.T) {
	n := newInternet(t)
	n.dial = dialer(unusedAddress(t))
	f := n.lookup(t).Find(t.Context(), domain)
	found(t, f, "none sts-policy-fetch-error")
	if !strings.Contains(f.Why, "refused") {
		t.Errorf("got %q", f.Why)
	}
}

// TestAStalledHostHoldsUpNobodyForLong is over loopback: the delivery goes away once the request is
// seen to hang, and Close ends what goes on.
func TestAStalledHostHoldsUpNobodyForLong(t *testing.T) {
	n := newInternet(t)
	hanging, ended := make(chan struct{}), make(chan struct{})
	n.set(func() {
		n.page = func(_ http.ResponseWriter, r *http.Request) {
			close(hanging)
			<-r.Context().Done()
			close(ended)
		}
	})
	l := n.lookup(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-hanging
		cancel()
	}()
	found(t, l.Find(ctx, domain), "none pending")
	l.Close()
	<-ended
	found(t, l.Find(t.Context(), domain), "none")
	cost(t, n, 1, 1)
}

// TestTheRecordDecidesWhetherToFetch is STANDARDS 122 and 137.
func TestTheRecordDecidesWhetherToFetch(t *testing.T) {
	for want, records := range map[string][][]string{
		"none":                    {nil, {"v=spf1 -all"}, {"v=STSv1"}},
		"none sts-policy-invalid": {{"v=STSv1; id=1;", "v=STSv1; id=2;"}, {"v=STSv1;"}, {"v=STSv1; id=a-b;"}},
		"enforce fetched":         {{"v=STSv1; id=1;"}, {"x", "v=STSv1; id=1; a=b"}},
		"none txt-error":          {{"fail"}},
	} {
		for _, texts := range records {
			t.Run(fmt.Sprint(texts), func(t *testing.T) {
				n := newInternet(t)
				n.set(func() { n.record = func(string) ([]string, error) { return texts, nil } })
				if want == "none txt-error" {
					n.fail()
				}
				f := n.lookup(t).Find(t.Context(), domain)
				found(t, f, want)
				if f.Result.Reportable() != (f.Result == mtasts.PolicyInvalid) {
					t.Errorf("%s: %v", f.Result, f.Result.Reportable())
				}
				if _, got := n.counts(); (got == 1) != (f.Policy != nil) {
					t.Errorf("%d fetches", got)
				}
			})
		}
	}
}
