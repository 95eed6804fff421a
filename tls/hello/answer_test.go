package hello_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"reflect"
	"strings"
	"testing"

	"postern/tls/hello"
)

// script is a connection whose other end says one thing, whatever it is told.
type script struct {
	net.Conn
	io.Reader
}

func (s script) Close() error                { return nil }
func (s script) Read(b []byte) (int, error)  { return s.Reader.Read(b) }
func (s script) Write(b []byte) (int, error) { return len(b), nil }

func ask(t testing.TB, answer io.Reader) (hello.Answer, error) {
	t.Helper()
	return hello.Ask(t.Context(), script{Reader: answer}, hello.Offer{Versions: []uint16{tls.VersionTLS12}, Suites: []uint16{1}})
}

// sized puts the length of the contents, in so many octets, in front of them.
func sized(octets int, contents ...string) string {
	all := strings.Join(contents, "")
	length := ""
	for n := len(all); len(length) < octets; n >>= 8 {
		length = string([]byte{byte(n)}) + length
	}
	return length + all
}

func record(kind byte, contents ...string) string {
	return string([]byte{kind}) + "\x03\x03" + sized(2, contents...)
}

func handshake(messages ...string) string { return record(22, messages...) }

func message(kind byte, contents ...string) string {
	return string([]byte{kind}) + sized(3, contents...)
}

// serverHello has a version, a suite, and what follows it.
func serverHello(version, suite string, rest ...string) string {
	return message(2, version, strings.Repeat("r", 32), sized(1, "session"), suite, strings.Join(rest, ""))
}

func extension(kind string, contents ...string) string { return kind + sized(2, contents...) }

const (
	tls12, tls10, ssl3 = "\x03\x03", "\x03\x01", "\x03\x00"
	ecdheRSA, dheRSA   = "\xc0\x2f", "\x00\x9e" // both with AES_128_GCM_SHA256
	plain              = "\x00"                 // no compression
	scheme             = "\x08\x04"             // rsa_pss_rsae_sha256
	retryRandom        = "\xcf\x21\xad\x74\xe5\x9a\x61\x11\xbe\x1d\x8c\x02\x1e\x65\xb8\x91\xc2\xa2\x11\x16\x7a\xbb\x8c\x5e\x07\x9e\x09\xe2\xc8\xa8\x33\x9c"
)

var (
	done       = message(14)
	chain      = message(11, sized(3, sized(3, "leaf"), sized(3, "issuer")))
	onX25519   = message(12, "\x03\x00\x1d", sized(1, "point"), scheme, sized(2, "signature"))
	prime      = "\x80" + strings.Repeat("p", 127)
	ephemeral  = sized(2, prime) + sized(2, "\x02") + sized(2, "value")
	extensions = sized(2, extension("\x00\x17"), extension("\x00\x16"), extension("\x00\x23"), extension("\xff\x01", "\x00"), extension("\x12\x34", "unknown"))
	flight     = serverHello(tls12, ecdheRSA, plain, extensions) + chain + message(22, "\x01", sized(3, "response")) + onX25519 + done
	whole      = hello.Answer{
		Version: tls.VersionTLS12, Suite: 0xc02f, Group: tls.X25519, Signature: tls.PSSWithSHA256,
		EMS: true, EncryptThenMAC: true, SecureRenegotiation: true, Ticket: true, CertificateStatus: true,
		Certificates: [][]byte{[]byte("leaf"), []byte("issuer")},
	}
)

// split puts each octet of a flight into a record of its own.
func split(flight string) string {
	var b strings.Builder
	for i := range len(flight) {
		b.WriteString(handshake(flight[i : i+1]))
	}
	return b.String()
}

func TestAnswersAreRead(t *testing.T) {
	tests := []struct {
		name, bytes string
		want        hello.Answer
	}{
		{"a whole flight in one record", handshake(flight), whole},
		{"an octet per record", split(flight), whole},
		{"a warning first, as for a name it does not know", record(21, "\x01\x70") + handshake(flight), whole},
		{"a request for a client certificate and a message nobody knows", handshake(flight[:len(flight)-len(done)], message(13, "\x01"), message(99, "x"), done), whole},
		{"nothing is read behind the end", handshake(flight, "\x02\xff\xff\xff") + "garbage", whole},
		{"SSLv3 without extensions, with compression", handshake(serverHello(ssl3, "\x00\x05", "\x01"), chain, done),
			hello.Answer{Version: hello.VersionSSL30, Suite: 5, Compression: true, Certificates: whole.Certificates}},
		{"finite-field groups before TLS 1.2, whose signature has no scheme", handshake(serverHello(tls10, "\x00\x33", plain), message(12, ephemeral, sized(2, "signature")), done),
			hello.Answer{Version: tls.VersionTLS10, Suite: 0x33, DHBits: 1024}},
		{"finite-field groups", handshake(serverHello(tls12, dheRSA, plain), message(12, ephemeral, scheme, sized(2, "signature")), done),
			hello.Answer{Version: tls.VersionTLS12, Suite: 0x9e, DHBits: 1024, Signature: tls.PSSWithSHA256}},
		{"anonymous, without a signature", handshake(serverHello(tls12, "\x00\xa6", plain), message(12, ephemeral), done),
			hello.Answer{Version: tls.VersionTLS12, Suite: 0xa6, DHBits: 1024}},
		{"anonymous on a curve", handshake(serverHello(tls12, "\xc0\x18", plain), message(12, "\x03\x00\x17", sized(1, "point")), done),
			hello.Answer{Version: tls.VersionTLS12, Suite: 0xc018, Group: tls.CurveP256}},
		{"a curve without a name", handshake(serverHello(tls12, ecdheRSA, plain), message(12, "\x01", "prime and all"), done),
			hello.Answer{Version: tls.VersionTLS12, Suite: 0xc02f}},
		{"a temporary RSA key", handshake(serverHello(tls10, "\x00\x03", plain), message(12, sized(2, "modulus")), done),
			hello.Answer{Version: tls.VersionTLS10, Suite: 3}},
		{"a hint at a shared secret", handshake(serverHello(tls12, "\x00\xaa", plain), message(12, sized(2, "hint")), done),
			hello.Answer{Version: tls.VersionTLS12, Suite: 0xaa}},
		{"a suite that nobody knows", handshake(serverHello(tls12, "\xfa\xfa", plain), message(12, "?"), done),
			hello.Answer{Version: tls.VersionTLS12, Suite: 0xfafa}},
		{"a HelloRetryRequest, a change of cipher in front", record(20, "\x01") + handshake(message(2, tls12, retryRandom, sized(1, "session"), "\x13\x01", plain,
			sized(2, extension("\x00\x2b", "\x03\x04"), extension("\x00\x33", "\x11\xec")))),
			hello.Answer{Version: tls.VersionTLS13, Suite: 0x1301, Group: tls.X25519MLKEM768}},
		{"a ServerHello of TLS 1.3, then what is encrypted", handshake(serverHello(tls12, "\x13\x02", plain,
			sized(2, extension("\x00\x33", "\x00\x1d", sized(2, "share")), extension("\x00\x2b", "\x03\x04")))) + record(23, "secret"),
			hello.Answer{Version: tls.VersionTLS13, Suite: 0x1302, Group: tls.X25519}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ask(t, strings.NewReader(tt.bytes))
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %v\n%+v, want\n%+v", err, got, tt.want)
			}
		})
	}
}

func TestRefusalsAreAnswers(t *testing.T) {
	for _, tt := range []struct {
		name, bytes string
		alert       uint8
		says        string
	}{
		{"an alert", record(21, "\x02\x28"), 40, "alert 40, handshake failure"},
		{"behind a warning", record(21, "\x01\x70") + record(21, "\x02\x56"), 86, "inappropriate fallback"},
		{"behind its hello", handshake(serverHello(tls12, ecdheRSA, plain)) + record(21, "\x02\x50"), 80, "internal error"},
		{"a farewell", record(21, "\x01\x00"), 0, "alert 0"},
		{"an alert that nobody knows", record(21, "\x02\xfe"), 254, "alert 254"},
	} {
		_, err := ask(t, strings.NewReader(tt.bytes))
		var alert *hello.AlertError
		if !errors.As(err, &alert) || alert.Alert != tt.alert || !hello.Refused(err) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: got %v", tt.name, err)
		}
	}
	if _, err := ask(t, strings.NewReader("")); !errors.Is(err, hello.ErrClosed) || !hello.Refused(err) {
		t.Errorf("nothing: got %v", err)
	}
}

// endless repeats a record.
type endless struct {
	record string
	at     int
}

func (e *endless) Read(b []byte) (int, error) {
	n := copy(b, e.record[e.at:])
	e.at = (e.at + n) % len(e.record)
	return n, nil
}

func TestNonsenseIsAnErrorAndNoRefusal(t *testing.T) {
	big := message(2, strings.Repeat("x", 1<<20))[:16384]
	for _, tt := range []struct {
		name  string
		bytes io.Reader
		says  string
	}{
		{"SMTP", strings.NewReader("454 4.7.0 TLS not available\r\n"), `not TLS and starts with "454 4"`},
		{"SSLv2", strings.NewReader("\x80\x2e\x04\x00\x01"), "not TLS"},
		{"application data", strings.NewReader(record(23, "x")), "type 23"},
		{"an end in a header", strings.NewReader("\x16\x03"), "ends after 0 octets"},
		{"an end in front of a body", strings.NewReader("\x16\x03\x03\x00\x10"), "ends after 5 octets"},
		{"an end in a body", strings.NewReader("\x16\x03\x03\x00\x10x"), "ends after 5 octets"},
		{"an end between records", strings.NewReader(handshake(flight[:100])), "ends after"},
		{"an empty record", strings.NewReader(handshake()), "a record of 0 octets"},
		{"a long record", strings.NewReader(handshake(strings.Repeat("x", 16385))), "a record of 16385 octets"},
		{"a long message", io.MultiReader(strings.NewReader(handshake(big)), &endless{record: handshake(strings.Repeat("x", 100))}), "after 26"},
		{"warnings without end", &endless{record: record(21, "\x01\x70")}, "after 26"},
		{"half an alert", strings.NewReader(record(21, "\x02")), "an alert of 1 octets"},
		{"no hello first", strings.NewReader(handshake(chain)), "message type 11 out of turn"},
		{"two hellos", strings.NewReader(handshake(serverHello(tls12, ecdheRSA, plain), serverHello(tls12, ecdheRSA, plain))), "type 2 out of turn"},
		{"a short hello", strings.NewReader(handshake(message(2, tls12, "random"))), "type 2 is malformed"},
		{"octets behind the extensions", strings.NewReader(handshake(serverHello(tls12, ecdheRSA, plain, extensions, "x"))), "type 2 is malformed"},
		{"an extension that is too short", strings.NewReader(handshake(serverHello(tls12, ecdheRSA, plain, sized(2, "\x00\x17\x00\x05x")))), "type 2 is malformed"},
		{"half a version", strings.NewReader(handshake(serverHello(tls12, ecdheRSA, plain, sized(2, extension("\x00\x2b", "\x03"))))), "type 2 is malformed"},
		{"a version and more", strings.NewReader(handshake(serverHello(tls12, ecdheRSA, plain, sized(2, extension("\x00\x2b", "\x03\x04x"))))), "type 2 is malformed"},
		{"a key share that is too long", strings.NewReader(handshake(serverHello(tls12, ecdheRSA, plain, sized(2, extension("\x00\x33", "\x00\x1d", sized(2, "share"), "x"))))), "type 2 is malformed"},
		{"a certificate that is too short", strings.NewReader(handshake(serverHello(tls12, ecdheRSA, plain), message(11, sized(3, "\x00\x00\x09x")))), "type 11 is malformed"},
		{"octets behind the certificates", strings.NewReader(handshake(serverHello(tls12, ecdheRSA, plain), message(11, sized(3), "x"))), "type 11 is malformed"},
		{"a key exchange without a point", strings.NewReader(handshake(serverHello(tls12, ecdheRSA, plain), message(12, "\x03\x00\x1d"))), "type 12 is malformed"},
		{"a key exchange without a signature", strings.NewReader(handshake(serverHello(tls12, ecdheRSA, plain), message(12, "\x03\x00\x1d", sized(1, "point")))), "type 12 is malformed"},
		{"a key exchange without a generator", strings.NewReader(handshake(serverHello(tls12, dheRSA, plain), message(12, sized(2, prime)))), "type 12 is malformed"},
		{"an empty key exchange", strings.NewReader(handshake(serverHello(tls12, ecdheRSA, plain), message(12))), "type 12 is malformed"},
	} {
		a, err := ask(t, tt.bytes)
		if err == nil || hello.Refused(err) || !strings.Contains(err.Error(), tt.says) || !reflect.DeepEqual(a, hello.Answer{}) {
			t.Errorf("%s: got %v, %+v", tt.name, err, a)
		}
	}
}

// Windows resets the connection instead of answering.
func TestAResetIsARefusal(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		conn.Read(make([]byte, 5))
		conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = hello.Ask(within(t), conn, hello.Offer{Versions: []uint16{tls.VersionTLS12}, Suites: []uint16{1}})
	if !errors.Is(err, hello.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestAnswersDoNotShareMemoryWithTheirRecords(t *testing.T) {
	a, err := ask(t, strings.NewReader(handshake(flight)))
	if err != nil {
		t.Fatal(err)
	}
	a.Certificates[0] = append(a.Certificates[0], "longer"...)
	if !bytes.Equal(a.Certificates[1], []byte("issuer")) {
		t.Errorf("got %q", a.Certificates[1])
	}
}

// FuzzAsk: whatever a server says, there is an answer or an error, and an answer has
// what it must have.
func FuzzAsk(f *testing.F) {
	f.Add([]byte(handshake(flight)))
	f.Add([]byte(split(flight)))
	f.Add([]byte(handshake(serverHello(tls12, dheRSA, plain), message(12, ephemeral, scheme), done)))
	f.Add([]byte(handshake(message(2, tls12, retryRandom, sized(1), "\x13\x01", plain, sized(2, extension("\x00\x2b", "\x03\x04"), extension("\x00\x33", "\x11\xec"))))))
	f.Add([]byte(record(21, "\x01\x70") + record(21, "\x02\x28")))
	f.Add([]byte("454 4.7.0 TLS not available\r\n"))
	f.Fuzz(func(t *testing.T, answer []byte) {
		a, err := ask(t, bytes.NewReader(answer))
		if err != nil {
			if !reflect.DeepEqual(a, hello.Answer{}) {
				t.Errorf("%v beside %+v", err, a)
			}
			return
		}
		size := 0
		for _, c := range a.Certificates {
			size += len(c)
		}
		if len(answer) < 5+4+38 || size > len(answer) || a.DHBits > 8*len(answer) {
			t.Errorf("%d octets became %+v", len(answer), a)
		}
	})
}
