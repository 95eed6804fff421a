package hello_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/catest"
	"postern/tls/hello"
)

// serve runs a server of crypto/tls and counts its connections.
func serve(t *testing.T, c *tls.Config) (hello.Scan, *atomic.Int32) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	count := new(atomic.Int32)
	go func() {
		for conn, err := l.Accept(); err == nil; conn, err = l.Accept() {
			count.Add(1)
			go func() {
				defer conn.Close()
				tls.Server(conn, c).Handshake()
			}()
		}
	}()
	return hello.Scan{Dial: func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
	}}, count
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func every() (ids []uint16) {
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		ids = append(ids, s.ID)
	}
	return ids
}

// TestScanFindsWhatAServerOfGoAccepts compares a scan with clients that offer one suite each.
func TestScanFindsWhatAServerOfGoAccepts(t *testing.T) {
	ca := catest.New(t)
	rsa, ecdsa := ca.Issue(t, catest.Leaf{Key: catest.RSA2048}), ca.Issue(t, catest.Leaf{})
	both := []tls.Certificate{ecdsa, rsa}
	tests := []struct {
		name    string
		server  *tls.Config
		version uint16
		atLeast int
	}{
		{"everything, TLS 1.2", &tls.Config{Certificates: both, CipherSuites: every()}, tls.VersionTLS12, 20},
		{"everything, TLS 1.1", &tls.Config{Certificates: both, CipherSuites: every(), MinVersion: tls.VersionTLS10}, tls.VersionTLS11, 9},
		{"everything, TLS 1.0", &tls.Config{Certificates: both, CipherSuites: every(), MinVersion: tls.VersionTLS10}, tls.VersionTLS10, 9},
		{"its defaults", &tls.Config{Certificates: both}, tls.VersionTLS12, 8},
		{"an RSA certificate alone", &tls.Config{Certificates: both[1:], CipherSuites: every()}, tls.VersionTLS12, 15},
		{"one suite", &tls.Config{Certificates: both, CipherSuites: []uint16{tls.TLS_RSA_WITH_RC4_128_SHA}}, tls.VersionTLS12, 1},
		{"TLS 1.3 alone", &tls.Config{Certificates: both, MinVersion: tls.VersionTLS13}, tls.VersionTLS12, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			scan, _ := serve(t, tt.server)
			var want []uint16
			for _, id := range every() {
				if gets(t, scan, tt.version, id) {
					want = append(want, id)
				}
			}
			f, err := scan.Suites(within(t), tt.version, hello.Suites(tt.version))
			if err != nil {
				t.Fatal(err)
			}
			got := suites(f)
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) || len(want) < tt.atLeast {
				t.Errorf("a scan finds %s, clients get %s", named(got), named(want))
			}
		})
	}
}

func gets(t *testing.T, s hello.Scan, version, suite uint16) bool {
	t.Helper()
	conn, err := s.Dial(within(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := tls.Client(conn, &tls.Config{MinVersion: version, MaxVersion: version, CipherSuites: []uint16{suite}, InsecureSkipVerify: true}) // asks, and sends nothing
	return c.Handshake() == nil
}

func suites(f hello.Found) (ids []uint16) {
	for _, a := range f.Answers {
		ids = append(ids, a.Suite)
	}
	return ids
}

func named(ids []uint16) string {
	var names []string
	for _, id := range ids {
		names = append(names, hello.SuiteName(id))
	}
	return strings.Join(names, " ")
}

func TestScanPutsSuitesInTheServersOrder(t *testing.T) {
	cert := catest.New(t).Issue(t, catest.Leaf{Key: catest.RSA2048})
	scan, _ := serve(t, &tls.Config{Certificates: []tls.Certificate{cert}, CipherSuites: every()})
	backwards := hello.Suites(tls.VersionTLS12)
	slices.Reverse(backwards)
	f, err := scan.Suites(within(t), tls.VersionTLS12, backwards)
	if err != nil || f.Order != hello.ByServer {
		t.Fatalf("order %s, %v", f.Order, err)
	}
	got := suites(f)
	// crypto/tls's order is fixed: forward secrecy, then AEAD, first; RC4 last.
	first := []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256}
	slices.Sort(got[:3])
	slices.Sort(first)
	if !slices.Equal(got[:3], first) || !strings.Contains(hello.SuiteName(got[len(got)-1]), "RC4") {
		t.Errorf("got %s", named(got))
	}
}

func TestScanOfTLS13(t *testing.T) {
	cert := catest.New(t).Issue(t, catest.Leaf{})
	scan, _ := serve(t, &tls.Config{Certificates: []tls.Certificate{cert}, CurvePreferences: []tls.CurveID{tls.CurveP384, tls.X25519MLKEM768}})
	f, err := scan.Suites(within(t), tls.VersionTLS13, hello.Suites(tls.VersionTLS13))
	got := suites(f)
	slices.Sort(got)
	if want := []uint16{0x1301, 0x1302, 0x1303}; err != nil || !slices.Equal(got, want) || f.Order != hello.ByServer {
		t.Errorf("got %s, order %s, %v", named(got), f.Order, err)
	}
	g, err := scan.Groups(within(t), tls.VersionTLS13, hello.Groups())
	if err != nil || len(g.Answers) != 2 || g.Answers[0].Group != tls.X25519MLKEM768 || g.Answers[1].Group != tls.CurveP384 {
		t.Errorf("groups: got %+v, %v", g, err)
	}
}

func TestScanOfGroupsInTLS12(t *testing.T) {
	for name, leaf := range map[string]catest.Leaf{"RSA": {Key: catest.RSA2048}, "ECDSA": {}} {
		cert := catest.New(t).Issue(t, leaf)
		want := []tls.CurveID{tls.X25519, tls.CurveP521}
		scan, _ := serve(t, &tls.Config{Certificates: []tls.Certificate{cert}, CurvePreferences: want})
		f, err := scan.Groups(within(t), tls.VersionTLS12, hello.Groups())
		var got []tls.CurveID
		for _, a := range f.Answers {
			got = append(got, a.Group)
		}
		slices.Sort(got)
		slices.Sort(want)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
}

func TestScanCostsFewConnections(t *testing.T) {
	cert := catest.New(t).Issue(t, catest.Leaf{Key: catest.RSA2048})
	scan, count := serve(t, &tls.Config{Certificates: []tls.Certificate{cert}})
	f, err := scan.Suites(within(t), tls.VersionTLS12, hello.Suites(tls.VersionTLS12))
	chunks := (len(hello.Suites(tls.VersionTLS12)) + 99) / 100
	if n := len(f.Answers); err != nil || n < 5 || int(count.Load()) > n+chunks+2 {
		t.Errorf("%d connections for %d suites, %v", count.Load(), n, err)
	}
}

func TestAScanEndsWithTheConnections(t *testing.T) {
	cert := catest.New(t).Issue(t, catest.Leaf{Key: catest.RSA2048})
	scan, _ := serve(t, &tls.Config{Certificates: []tls.Certificate{cert}})
	dial, left, busy := scan.Dial, 3, errors.New("421 busy")
	scan.Dial = func(ctx context.Context) (net.Conn, error) {
		if left--; left < 0 {
			return nil, busy
		}
		return dial(ctx)
	}
	f, err := scan.Suites(within(t), tls.VersionTLS12, hello.Suites(tls.VersionTLS12))
	if !errors.Is(err, busy) || len(f.Answers) != 3 || f.Order != hello.Unknown {
		t.Errorf("got %d answers, order %s, %v", len(f.Answers), f.Order, err)
	}
}

// A server that has only an older version says no to this one, though it answers.
func TestAnOlderVersionIsARefusal(t *testing.T) {
	cert := catest.New(t).Issue(t, catest.Leaf{Key: catest.RSA2048})
	scan, count := serve(t, &tls.Config{Certificates: []tls.Certificate{cert}, CipherSuites: every(), MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	f, err := scan.Suites(within(t), tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_AES_256_CBC_SHA})
	if err != nil || len(f.Answers) != 0 || count.Load() != 1 {
		t.Errorf("got %s in %d connections, %v", named(suites(f)), count.Load(), err)
	}
}

// stubborn dials to a server that always chooses the same suite.
func stubborn(context.Context) (net.Conn, error) {
	return script{Reader: strings.NewReader(handshake(serverHello(tls12, "\x00\x2f", plain), done))}, nil
}

func TestAServerThatChoosesWhatWasNotOfferedEndsTheScan(t *testing.T) {
	offered := []uint16{0x0035, 0x002f, 0x009c}
	f, err := hello.Scan{Dial: stubborn}.Suites(within(t), tls.VersionTLS12, offered)
	if err != nil || !slices.Equal(suites(f), []uint16{0x002f}) || f.Order != hello.Unknown {
		t.Errorf("got %s, order %s, %v", named(suites(f)), f.Order, err)
	}
	if !slices.Equal(offered, []uint16{0x0035, 0x002f, 0x009c}) {
		t.Errorf("the caller's list has become %x", offered)
	}
}

// counted tells of each connection that is closed.
type counted struct {
	net.Conn
	closed *atomic.Int32
}

func (c counted) Close() error {
	c.closed.Add(1)
	return c.Conn.Close()
}

func TestAScanClosesItsConnectionsAndOffersAHundredAtATime(t *testing.T) {
	cert := catest.New(t).Issue(t, catest.Leaf{Key: catest.RSA2048})
	var most, closed atomic.Int32
	scan, count := serve(t, &tls.Config{Certificates: []tls.Certificate{cert}, GetConfigForClient: func(i *tls.ClientHelloInfo) (*tls.Config, error) {
		most.Store(max(most.Load(), int32(len(i.CipherSuites))))
		return nil, nil
	}})
	dial := scan.Dial
	scan.Dial = func(ctx context.Context) (net.Conn, error) {
		conn, err := dial(ctx)
		return counted{conn, &closed}, err
	}
	if _, err := scan.Suites(within(t), tls.VersionTLS12, hello.Suites(tls.VersionTLS12)); err != nil {
		t.Fatal(err)
	}
	if closed.Load() != count.Load() || most.Load() != 101 { // with the one that signals renegotiation
		t.Errorf("%d of %d connections are closed; %d suites at a time", closed.Load(), count.Load(), most.Load())
	}
}

// What was found is kept when the server's order cannot be asked for any more.
func TestNothingIsLostWhenAScanBreaksOff(t *testing.T) {
	cert := catest.New(t).Issue(t, catest.Leaf{Key: catest.RSA2048})
	scan, count := serve(t, &tls.Config{Certificates: []tls.Certificate{cert}, CipherSuites: every()})
	list := hello.Suites(tls.VersionTLS12)
	slices.Reverse(list) // the server's favourites stand in the last part
	all, err := scan.Suites(within(t), tls.VersionTLS12, list)
	if err != nil {
		t.Fatal(err)
	}
	dial, total, want := scan.Dial, count.Load(), suites(all)
	slices.Sort(want)
	for stop := total - int32(len(want)); stop < total; stop++ {
		left := stop
		scan.Dial = func(ctx context.Context) (net.Conn, error) {
			if left--; left < 0 {
				return nil, errors.New("421 busy")
			}
			return dial(ctx)
		}
		f, err := scan.Suites(within(t), tls.VersionTLS12, list)
		got := suites(f)
		slices.Sort(got)
		if err == nil || left != -1 || len(slices.Compact(slices.Clone(got))) != len(got) || len(got) == 0 || f.Order == hello.ByServer && !slices.Equal(got, want) {
			t.Errorf("after %d of %d connections: %s, %v", stop, total, named(got), err)
		}
	}
}
