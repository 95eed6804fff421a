package proxy

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"testing"
	"time"

	"postern/internal/catest"
	"postern/internal/smtptest"
)

// receiver is one kind of receiving server of the host mx.example.com: what it does, and
// the certificate that its operator has told us of.
type receiver func(w *world) (smtptest.Script, *x509.Certificate)

// presents is a server with a certificate, for which something may be changed.
func presents(leaf catest.Leaf, change ...func(*smtptest.Script)) receiver {
	return func(w *world) (smtptest.Script, *x509.Certificate) {
		c := w.ca.Issue(w.t, leaf)
		s := smtptest.Script{TLS: &tls.Config{Certificates: []tls.Certificate{c}}}
		for _, f := range change {
			f(&s)
		}
		return s, c.Leaf
	}
}

var rightName = catest.Leaf{Names: []string{"mx.example.com"}}

// behaves is a server with a good certificate that does something else wrong.
func behaves(change func(*smtptest.Script)) receiver { return presents(rightName, change) }

// says is one that gives a certain reply.
func says(phase, reply string) receiver {
	return behaves(func(s *smtptest.Script) { s.Replies = map[string]string{phase: reply} })
}

// hangs is one that does nothing more from a phase on.
func hangs(phase string) receiver {
	return behaves(func(s *smtptest.Script) { s.Hold = map[string]<-chan struct{}{phase: make(chan struct{})} })
}

// dislikes is one that ends the handshake over a ClientHello.
func dislikes(what func(*tls.ClientHelloInfo) bool) receiver {
	return behaves(func(s *smtptest.Script) {
		s.TLS.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			if what(hello) {
				return nil, errors.New("not like this")
			}
			return nil, nil
		}
	})
}

func isHybrid(h *tls.ClientHelloInfo) bool {
	for _, g := range h.SupportedCurves {
		if g == tls.X25519MLKEM768 {
			return true
		}
	}
	return false
}

func hasSNI(h *tls.ClientHelloInfo) bool { return h.ServerName != "" }

// receivers are the kinds of servers.
var receivers = map[string]receiver{
	"good": presents(rightName),
	"no STARTTLS": func(w *world) (smtptest.Script, *x509.Certificate) {
		return smtptest.Script{}, w.ca.Issue(w.t, rightName).Leaf
	},
	"STARTTLS refused":        says("STARTTLS", "454 4.7.0 not now"),
	"STARTTLS unanswered":     hangs("STARTTLS"),
	"handshake broken":        dislikes(func(*tls.ClientHelloInfo) bool { return true }),
	"handshake stalled":       hangs("handshake"),
	"closed at ClientHello":   behaves(func(s *smtptest.Script) { s.Die = "handshake" }),
	"closed at ServerHello":   behaves(closeAtServerHello),
	"dislikes a large hello":  dislikes(isHybrid),
	"dislikes SNI":            dislikes(hasSNI),
	"expired":                 presents(catest.Leaf{Names: []string{"mx.example.com"}, NotBefore: long(-60), NotAfter: long(-30)}),
	"wrong name":              presents(catest.Leaf{Names: []string{"mx.other.test"}}),
	"self-signed":             selfSigned,
	"unknown key":             unknownKey,
	"TLS 1.0 only":            behaves(func(s *smtptest.Script) { s.TLS.MinVersion, s.TLS.MaxVersion = tls.VersionTLS10, tls.VersionTLS10 }),
	"RSA key exchange only":   presents(catest.Leaf{Names: []string{"mx.example.com"}, Key: catest.RSA2048}, onlyRSA),
	"unparsable certificate":  unparsable,
	"EHLO inside TLS refused": says("TLS EHLO", "554 5.5.0 no"),
	"EHLO inside TLS closed":  behaves(func(s *smtptest.Script) { s.Die = "TLS EHLO" }),
	"EHLO inside TLS hangs":   hangs("TLS EHLO"),
	"injection":               says("STARTTLS", "220 go\r\n250 injected"),
}

// long is a day before or after that on which a synctest bubble begins.
func long(days int) time.Time { return time.Date(2000, 1, 1+days, 0, 0, 0, 0, time.UTC) }

func onlyRSA(s *smtptest.Script) {
	s.TLS.MaxVersion, s.TLS.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}
}

// selfSigned is a certificate for the right name that nobody else has signed.
func selfSigned(w *world) (smtptest.Script, *x509.Certificate) {
	c := w.ca.Issue(w.t, rightName)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mx.example.com"}, DNSNames: []string{"mx.example.com"},
		NotBefore: c.Leaf.NotBefore, NotAfter: c.Leaf.NotAfter}
	der, err := x509.CreateCertificate(rand.Reader, template, template, c.Leaf.PublicKey, c.PrivateKey)
	if err == nil {
		c.Leaf, err = x509.ParseCertificate(der)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	c.Certificate = [][]byte{der}
	return smtptest.Script{TLS: &tls.Config{Certificates: []tls.Certificate{c}}}, c.Leaf
}

// unknownKey is a good certificate, and not the one that the operator knows.
func unknownKey(w *world) (smtptest.Script, *x509.Certificate) {
	s, _ := presents(rightName)(w)
	return s, w.ca.Issue(w.t, rightName).Leaf
}

// unparsable is a certificate with a negative serial number, which crypto/x509 refuses.
func unparsable(w *world) (smtptest.Script, *x509.Certificate) {
	c := w.ca.Issue(w.t, rightName)
	for c.Leaf.SerialNumber.BitLen()%8 == 0 { // its first octet is a zero, for the sign
		c = w.ca.Issue(w.t, rightName)
	}
	serial := c.Leaf.SerialNumber.Bytes()
	der := bytes.Clone(c.Certificate[0])
	der[bytes.Index(der, serial)] |= 0x80
	leaf := c.Leaf
	c.Certificate, c.Leaf = [][]byte{der}, nil
	return smtptest.Script{TLS: &tls.Config{Certificates: []tls.Certificate{c}}}, leaf
}

// closeAtServerHello answers a ClientHello with a ServerHello of TLS 1.2 and no more.
func closeAtServerHello(s *smtptest.Script) {
	s.Answer = func(c *smtptest.Conn, phase, _ string) string {
		if phase == "handshake" {
			hello := append([]byte{22, 3, 3, 0, 49, 2, 0, 0, 45, 3, 3}, make([]byte, 32)...)
			hello = append(hello, 0, 0xc0, 0x2f, 0, 0, 5, 0xff, 1, 0, 1, 0)
			io.ReadFull(c.Conn, make([]byte, 16)) // of the ClientHello
			c.Conn.Write(hello)
			c.Conn.Close()
		}
		return ""
	}
}

// at is a receiver on a world's mx.example.com, which example.com has as its only
// exchanger, and the certificate that an operator would name.
func (r receiver) at(t testing.TB, w *world) (*smtptest.Backend, *x509.Certificate) {
	t.Helper()
	s, leaf := r(w)
	b := w.server("mx.example.com", s)
	w.domain("example.com", "mx.example.com")
	return b, leaf
}
