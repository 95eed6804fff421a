package hello_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"testing"

	"postern/internal/catest"
	"postern/tls/hello"
)

func TestTheAnswerHasTheCertificateAndItsStatus(t *testing.T) {
	ca := catest.New(t).Intermediate(t)
	cert := ca.Issue(t, catest.Leaf{Names: []string{"mx.example.com"}})
	cert.OCSPStaple = []byte("a response")
	scan, _ := serve(t, &tls.Config{Certificates: []tls.Certificate{cert}})
	a, err := scan.Ask(within(t), hello.Offer{Versions: []uint16{tls.VersionTLS12}, Suites: hello.Suites(tls.VersionTLS12), ServerName: "mx.example.com"})
	if err != nil || len(a.Certificates) != 2 || !slices.Equal(a.Certificates[0], cert.Certificate[0]) || !slices.Equal(a.Certificates[1], cert.Certificate[1]) {
		t.Errorf("got %d certificates, %v", len(a.Certificates), err)
	}
	if !a.CertificateStatus || !a.EMS || !a.SecureRenegotiation || !a.Ticket || a.EncryptThenMAC || a.Compression || a.Signature != tls.ECDSAWithP256AndSHA256 {
		t.Errorf("got %s", fmt.Sprintf("%+v", a)[:120])
	}
}

func TestAskEndsWithItsContext(t *testing.T) {
	ours, theirs := net.Pipe() // nobody reads, nobody answers
	defer theirs.Close()
	defer ours.Close()
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	_, err := hello.Ask(ctx, ours, hello.Offer{Versions: []uint16{tls.VersionTLS12}, Suites: []uint16{1}})
	if !errors.Is(err, cause) || hello.Refused(err) {
		t.Errorf("got %v", err)
	}
}

func TestAnOfferOfNothingIsAnError(t *testing.T) {
	for _, o := range []hello.Offer{{}, {Versions: []uint16{tls.VersionTLS12}}, {Suites: []uint16{1}}} {
		if _, err := hello.Ask(within(t), nil, o); err == nil || hello.Refused(err) {
			t.Errorf("%+v: got %v", o, err)
		}
	}
}
