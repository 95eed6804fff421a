package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"postern/internal/sink"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func testTLS(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench.test"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// start serves srv in a mode of loadgen, and returns its address.
func start(t *testing.T, srv *sink.Server, mode string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv.TLS = testTLS(t)
	serve := map[string]func(net.Listener) error{"plain": srv.Serve, "starttls": srv.ServeSTARTTLS, "tls": srv.ServeTLS}[mode]
	done := make(chan error, 1)
	go func() { done <- serve(l) }()
	t.Cleanup(func() {
		srv.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func testOptions(addr, mode string) options {
	return options{addr: addr, mode: mode, tls: "1.3", sessions: 6, concurrent: 2, messages: 3, size: 4096,
		deadline: time.Minute, mail: "MAIL FROM:<a@test>\r\n", rcpt: "RCPT TO:<b@test>\r\n", stage: stageEHLO}
}

func TestEveryWayOfSendingArrivesVerified(t *testing.T) {
	for _, mode := range []string{"plain", "starttls", "tls"} {
		for _, bdat := range []bool{false, true} {
			for _, pipeline := range []bool{false, true} {
				for _, size := range []int{4096, 700_000} {
					t.Run(fmt.Sprintf("%s bdat=%v pipeline=%v %d", mode, bdat, pipeline, size), func(t *testing.T) {
						srv := &sink.Server{}
						srv.Reset(true)
						o := testOptions(start(t, srv, mode), mode)
						o.bdat, o.pipeline, o.size = bdat, pipeline, size
						r := measure(&o, &tally{})
						if r.Errors > 0 || r.Sessions != 6 || r.Messages != 18 || r.Bytes != int64(18*size) {
							t.Errorf("loadgen says %+v", r)
						}
						if s := srv.Stats(); s.VerifyOK != 18 || s.VerifyBad != 0 || s.Duplicates != 0 || s.Quit != 6 {
							t.Errorf("the sink says %+v", s)
						}
						if mode != "plain" && r.TLS != "TLS 1.3 TLS_AES_128_GCM_SHA256 X25519 ECDSA" {
							t.Errorf("TLS: %q", r.TLS)
						}
					})
				}
			}
		}
	}
}

func TestResumptionIsAskedForAndCounted(t *testing.T) {
	for _, c := range []struct {
		version string
		resume  bool
		want    int
	}{{"1.3", false, 0}, {"1.3", true, 5}, {"1.2", false, 0}, {"1.2", true, 5}} {
		t.Run(fmt.Sprintf("%s %v", c.version, c.resume), func(t *testing.T) {
			srv := &sink.Server{}
			o := testOptions(start(t, srv, "starttls"), "starttls")
			o.tls, o.resume, o.concurrent = c.version, c.resume, 1
			r := measure(&o, &tally{})
			if r.Resumed != c.want || r.Errors > 0 || !strings.HasPrefix(r.TLS, "TLS "+c.version) {
				t.Errorf("%d resumed, want %d: %+v", r.Resumed, c.want, r)
			}
			if s := srv.Stats(); s.Resumed != int64(c.want) {
				t.Errorf("the sink resumed %d, want %d", s.Resumed, c.want)
			}
		})
	}
}

func TestAnIdleSessionStopsAtItsStage(t *testing.T) {
	for stage, messages := range map[string]int64{stageEHLO: 0, stageRCPT: 0, stageMessage4K: 1, stageMessage1M: 1} {
		t.Run(stage, func(t *testing.T) {
			srv := &sink.Server{}
			srv.Reset(true)
			o := testOptions(start(t, srv, "starttls"), "starttls")
			o.stage = stage
			nc, err := newWorker(&o, &tally{}).idle(stageMessage(stage), time.Now().Add(time.Minute))
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			if s := srv.Stats(); s.Open != 1 || s.VerifyOK != messages || s.Messages != messages {
				t.Errorf("%+v, want one session open and %d messages", s, messages)
			}
		})
	}
}

func TestWhatTheServerDoesWrongIsAnError(t *testing.T) {
	for _, c := range []struct {
		name string
		srv  *sink.Server
		mode string // of the server; the client wants STARTTLS
		want string
	}{
		{"no STARTTLS", &sink.Server{}, "plain", errNoSTARTTLS.Error()},
		{"no CHUNKING", &sink.Server{Capabilities: []string{"SIZE"}}, "starttls", errNoCHUNKING.Error()},
		{"replies injected", &sink.Server{Inject: true}, "starttls", "plaintext after the STARTTLS reply: "},
		{"a message refused", &sink.Server{OnMessage: func(sink.Message) string { return "554 no" }}, "starttls", `BDAT: wanted 250, got "554 no\r\n"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := testOptions(start(t, c.srv, c.mode), "starttls")
			o.bdat = true
			r := measure(&o, &tally{})
			if r.Errors != 6 || r.Messages != 0 || len(r.FirstErrs) != 5 || !strings.HasPrefix(r.FirstErrs[0], c.want) {
				t.Errorf("got %+v, want 6 errors like %q", r, c.want)
			}
		})
	}
}

func TestMessagesHaveTheirSizeAndOnlyWholeLines(t *testing.T) {
	for size := 600; size < 9000; size += 7 {
		m := newMessage(size)
		if got := len(m.head(nil, 1)) + len(m.rest); got != size {
			t.Fatalf("%d bytes, want %d", got, size)
		}
		if h := sha256.Sum256(m.rest); hex.EncodeToString(h[:]) != m.hash {
			t.Fatalf("%d: the hash is of something else", size)
		}
		crlf := bytes.Count(m.rest, []byte("\r\n"))
		if !bytes.HasSuffix(m.rest, []byte("\r\n")) || bytes.Count(m.rest, []byte("\r")) != crlf || bytes.Count(m.rest, []byte("\n")) != crlf {
			t.Fatalf("%d: bare CR or LF, or no end of line: %q", size, m.rest[len(m.rest)-20:])
		}
		if bytes.Contains(m.stuffed, []byte("\r\n.\r\n")) {
			t.Fatalf("%d: ends early when sent with DATA", size)
		}
	}
}

func TestQuantiles(t *testing.T) {
	var d []time.Duration
	for i := 100; i > 0; i-- {
		d = append(d, time.Duration(i)*time.Millisecond)
	}
	if p50, p99 := quantile(d, .5), quantile(d, .99); p50 != 51 || p99 != 100 {
		t.Errorf("p50 %v, p99 %v", p50, p99)
	}
	if quantile(nil, .5) != 0 {
		t.Error("a quantile of nothing")
	}
}
