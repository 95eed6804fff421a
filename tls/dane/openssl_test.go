package dane_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"postern/tls/dane"
)

// compared counts the comparisons with OpenSSL: with -count the certificates are the same again.
var compared atomic.Int32

func findOpenSSL(t *testing.T) (program string) {
	t.Helper()
	program, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("there is no openssl")
	}
	if compared.Add(1) > 2 {
		t.Skip("compared already in this process")
	}
	return program
}

// TestOpenSSLAgreesOnCombinations is for what nobody thought of: chains with something left out or put in, and
// records of any of them. The differences that are known are left out.
func TestOpenSSLAgreesOnCombinations(t *testing.T) {
	program, c, random := findOpenSSL(t), newCast(t), rand.New(rand.NewPCG(1, 2))
	actors := slices.DeleteFunc(slices.Sorted(maps.Keys(c)), func(n string) bool { return n == "leaf-any" || n == "leaf-wild-part" })
	for range 80 {
		s := c.randomSetup(random, actors)
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			r := dane.MatchChain(s.records, s.chain, s.names, time.Now())
			if theirs := openSSL(t, program, listen(t, c.serving(t, s.sent)), host, s.records); theirs != r.OK {
				t.Errorf("OpenSSL says %v, we say %s: %s", theirs, outcome(r), r.Why)
			}
		})
	}
}

// randomSetup makes a chain that might be meant, and up to three records, mostly of usage 2.
func (c cast) randomSetup(random *rand.Rand, actors []string) setup {
	anyone := func() string { return actors[random.IntN(len(actors))] }
	issuer := map[string]string{}
	for _, r := range roles() {
		issuer[r.name] = r.by
	}
	name := anyone()
	sent, path := []string{name}, []string{name}
	for name != issuer[name] {
		name = issuer[name]
		path = append(path, name)
		if random.IntN(5) > 0 {
			sent = append(sent, name)
		}
		if random.IntN(8) == 0 {
			sent = append(sent, anyone())
		}
	}
	s := setup{sent: strings.Join(sent, " "), names: dane.Names{host}}
	for _, n := range sent {
		s.chain = append(s.chain, c[n].cert)
	}
	s.name = s.sent + ":"
	for range 1 + random.IntN(3) {
		of, usage := path[random.IntN(len(path))], uint8(dane.UsageTA)
		if random.IntN(6) == 0 {
			of = anyone()
		}
		if random.IntN(6) == 0 {
			usage = dane.UsageEE
		}
		r := dane.From(c[of].cert, usage, uint8(random.IntN(2)), uint8(random.IntN(3)))
		s.records = append(s.records, r)
		s.name += fmt.Sprintf(" %d %d %d %s", r.Usage, r.Selector, r.MatchingType, of)
	}
	return s
}

// TestOpenSSLAgrees shows every set-up to OpenSSL's own DANE, which is the one that Postfix uses.
// Set-ups that say "(ours)" must differ, so that what we do otherwise is known.
func TestOpenSSLAgrees(t *testing.T) {
	program, c := findOpenSSL(t), newCast(t)
	for _, s := range setups(t, c) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			addr := listen(t, c.serving(t, s.sent))
			theirs := slices.ContainsFunc(orNobody(s.names), func(name string) bool { return openSSL(t, program, addr, name, s.records) })
			ours := strings.HasPrefix(s.want, "ok")
			if differs := strings.Contains(s.name, "(ours)"); (ours != theirs) != differs {
				t.Errorf("OpenSSL says %v, we say %s", theirs, s.want)
			}
		})
	}
}

// orNobody is a name that no certificate has where there is none.
func orNobody(names dane.Names) []string {
	if len(names) == 0 {
		return []string{"nobody.invalid"}
	}
	return names
}

// openSSL says whether its client accepts the server under a name. Where it finds no usable record it fails.
func openSSL(t *testing.T, program, addr, name string, records []dane.Record) bool {
	t.Helper()
	args := []string{"s_client", "-connect", addr, "-dane_tlsa_domain", strings.ToLower(strings.TrimSuffix(name, ".")),
		"-dane_ee_no_namechecks", "-verify_return_error", "-brief"}
	for _, r := range records {
		if r.Usage >= dane.UsageTA { // the others need public authorities
			args = append(args, "-dane_tlsa_rrdata", r.String())
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	if ctx.Err() != nil {
		t.Fatal(ctx.Err())
	}
	matched := strings.Contains(string(out), "DANE TLSA ")
	if accepted := err == nil && matched && strings.Contains(string(out), "Verification: OK"); accepted || testing.Verbose() {
		t.Logf("%v: %s", err, strings.TrimSpace(string(out)))
		return accepted
	}
	return false
}

// listen serves TLS until the test ends and returns the address.
func listen(t testing.TB, server *tls.Config) string {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serve(conn)
		}
	}()
	return l.Addr().String()
}

// serve writes an octet, which brings TLS 1.3's tickets along, and waits for the other side to leave.
func serve(conn net.Conn) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := fmt.Fprint(conn, "x"); err == nil {
		conn.Read(make([]byte, 1))
	}
}
