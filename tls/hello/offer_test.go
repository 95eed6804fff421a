package hello_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"postern/tls/hello"
)

// TestWhatAServerSeesIsTheOffer has a server of crypto/tls tell what it was offered.
func TestWhatAServerSeesIsTheOffer(t *testing.T) {
	tests := []struct {
		name     string
		offer    hello.Offer
		versions []uint16
		sni      string
	}{
		{"TLS 1.3", hello.Offer{Versions: []uint16{tls.VersionTLS13}, ServerName: "mx.example.com."}, []uint16{tls.VersionTLS13}, "mx.example.com"},
		{"1.3 and 1.2", hello.Offer{Versions: []uint16{tls.VersionTLS13, tls.VersionTLS12}}, []uint16{tls.VersionTLS13, tls.VersionTLS12}, ""},
		{"TLS 1.1", hello.Offer{Versions: []uint16{tls.VersionTLS11}, ServerName: "192.0.2.1"}, []uint16{tls.VersionTLS11, tls.VersionTLS10}, ""},
		{"an address of IPv6", hello.Offer{Versions: []uint16{tls.VersionTLS12}, ServerName: "2001:db8::1"}, []uint16{tls.VersionTLS12, tls.VersionTLS11, tls.VersionTLS10}, ""},
		{"groups and signatures", hello.Offer{
			Versions: []uint16{tls.VersionTLS12}, Groups: []tls.CurveID{257, tls.CurveP521}, Signatures: []tls.SignatureScheme{tls.PKCS1WithSHA1},
		}, []uint16{tls.VersionTLS12, tls.VersionTLS11, tls.VersionTLS10}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			seen := make(chan *tls.ClientHelloInfo, 1)
			scan, _ := serve(t, &tls.Config{GetConfigForClient: func(i *tls.ClientHelloInfo) (*tls.Config, error) {
				seen <- i
				return nil, errors.New("seen")
			}})
			tt.offer.Suites = []uint16{0x1301, 0x0003, 0xc0b5}
			if _, err := scan.Ask(within(t), tt.offer); !hello.Refused(err) {
				t.Fatal(err)
			}
			i := <-seen
			if i.ServerName != tt.sni || !slices.Equal(i.SupportedVersions, tt.versions) {
				t.Errorf("the server sees %q, %x", i.ServerName, i.SupportedVersions)
			}
			if !slices.Equal(i.CipherSuites[:3], tt.offer.Suites) {
				t.Errorf("the server sees the suites %x", i.CipherSuites)
			}
			groups, signatures := tt.offer.Groups, tt.offer.Signatures
			if groups == nil {
				groups = hello.DefaultGroups()
			}
			if signatures == nil {
				signatures = hello.Signatures()
			}
			if !slices.Equal(i.SupportedCurves, groups) {
				t.Errorf("the server sees the groups %v", i.SupportedCurves)
			}
			if tt.versions[0] >= tls.VersionTLS12 && !slices.Equal(i.SignatureSchemes, signatures) {
				t.Errorf("the server sees the signature algorithms %v", i.SignatureSchemes)
			}
		})
	}
}

// recorder keeps what is written and answers nothing.
type recorder struct {
	net.Conn
	bytes.Buffer
}

func (r *recorder) Write(b []byte) (int, error) { return r.Buffer.Write(b) }
func (r *recorder) Read([]byte) (int, error)    { return 0, io.EOF }

func written(t *testing.T, o hello.Offer) string {
	t.Helper()
	r := &recorder{}
	if _, err := hello.Ask(t.Context(), r, o); !errors.Is(err, hello.ErrClosed) {
		t.Fatal(err)
	}
	return r.String()
}

// What no server of Go tells: versions, session, compression, and that nothing
// follows them in SSLv3.
func TestTheFormOfAHello(t *testing.T) {
	const (
		toVersion = 1 + 2 + 2 + 1 + 3
		toSession = toVersion + 2 + 32
	)
	suites := "\x00\x04\x00\x2f\x00\xff"
	for _, tt := range []struct {
		name            string
		offer           hello.Offer
		record, version string
		session, behind string // of the session's length; suites and compression
		extensions      bool
	}{
		{"SSLv3", hello.Offer{Versions: []uint16{hello.VersionSSL30}, Compression: true}, "\x03\x00", "\x03\x00", "\x00", suites + "\x02\x01\x00", false},
		{"TLS 1.0", hello.Offer{Versions: []uint16{tls.VersionTLS10}}, "\x03\x01", "\x03\x01", "\x00", suites + "\x01\x00", true},
		{"TLS 1.2", hello.Offer{Versions: []uint16{tls.VersionTLS12}, Compression: true}, "\x03\x01", "\x03\x03", "\x00", suites + "\x02\x01\x00", true},
		{"TLS 1.3", hello.Offer{Versions: []uint16{tls.VersionTLS13}, Compression: true}, "\x03\x01", "\x03\x03", "\x20", "\x00\x02\x00\x2f\x01\x00", true},
	} {
		tt.offer.Suites = []uint16{0x002f}
		b := written(t, tt.offer)
		behind := b[toSession+1+int(b[toSession]):]
		if b[1:3] != tt.record || b[toVersion:toVersion+2] != tt.version || b[toSession:toSession+1] != tt.session {
			t.Errorf("%s: %x", tt.name, b)
		}
		if !strings.HasPrefix(behind, tt.behind) || (len(behind) > len(tt.behind)) != tt.extensions {
			t.Errorf("%s: %x", tt.name, behind)
		}
		for _, extension := range []string{"\x00\x0b\x00\x02\x01\x00", "\x00\x16\x00\x00"} { // point formats, encrypt-then-MAC
			if strings.Contains(behind, extension) != tt.extensions {
				t.Errorf("%s: %x and %x", tt.name, behind, extension)
			}
		}
	}
}
