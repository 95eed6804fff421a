// Package unbound compares the resolver with Unbound, an independent validator:
// both are given the same servers and the same anchors, and have to think the
// same of every name.
package unbound

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"postern/internal/dnstest"
	"postern/resolve"
	"postern/test/harness"
)

// theirs is what Unbound says of a question: it fails what is bogus, and what it
// cannot find out. Without checking it has an answer in the first case alone.
func theirs(address string, q dnstest.Question) (resolve.Security, error) {
	answer, err := dnstest.Ask(address, q.Name, q.Kind, false)
	switch {
	case err != nil:
		return 0, err
	case answer.Rcode == "SERVFAIL":
		if answer, err = dnstest.Ask(address, q.Name, q.Kind, true); err != nil || answer.Rcode == "SERVFAIL" {
			return resolve.Indeterminate, err
		}
		return resolve.Bogus, nil
	case answer.Authenticated:
		return resolve.Secure, nil
	}
	return resolve.Insecure, nil
}

// ours is what the resolver says, and why.
func ours(ctx context.Context, r *resolve.Resolver, q dnstest.Question) (security resolve.Security, why string) {
	var err error
	switch q.Kind {
	case "MX":
		var a resolve.MXAnswer
		a, err = r.MX(ctx, q.Name)
		security, why = a.Security, a.Why
	case "TXT":
		var a resolve.TXTAnswer
		a, err = r.TXT(ctx, q.Name)
		security, why = a.Security, a.Why
	case "TLSA":
		var a resolve.TLSAAnswer
		a, err = r.TLSA(ctx, q.Name)
		security, why = a.Security, a.Why
	default:
		var a resolve.AddrAnswer
		a, err = r.Addresses(ctx, q.Name, map[string]resolve.Family{"A": resolve.IPv4Only, "AAAA": resolve.IPv6Only}[q.Kind])
		security, why = a.Security, a.Why
	}
	if permanent, ok := errors.AsType[*resolve.PermanentError](err); ok {
		return permanent.Security, permanent.Why
	} else if temporary, ok := errors.AsType[*resolve.TemporaryError](err); ok {
		return temporary.Security, temporary.Error()
	}
	return security, why
}

// unreachable: Unbound calls bogus what it could not get the keys for. Here that
// is Indeterminate (RFC 4035, 4.3).
func unreachable(got, want resolve.Security, why string) bool {
	return got == resolve.Indeterminate && want == resolve.Bogus && strings.Contains(why, "SERVFAIL")
}

func TestEveryNameOfAForestIsJudgedAsUnboundDoes(t *testing.T) {
	t.Parallel()
	zones, questions := dnstest.Forest()
	if len(zones) < 200 || len(questions) < 5000 {
		t.Fatalf("only %d zones and %d questions", len(zones), len(questions))
	}
	s := dnstest.StartSigned(t, zones...)
	address := harness.FreePort(t, "127.0.0.1")
	harness.StartUnbound(t, address, s)
	anchors, err := resolve.ParseAnchors(s.Anchors)
	if err != nil {
		t.Fatal(err)
	}
	r, err := resolve.NewWith(resolve.Options{Servers: []string{s.Address}, DNSSEC: resolve.Validate, Anchors: anchors})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	counts, differ := map[resolve.Security]int{}, 0
	var workers sync.WaitGroup
	next := make(chan dnstest.Question)
	for range 8 {
		workers.Go(func() {
			for q := range next {
				got, why := ours(t.Context(), r, q)
				want, err := theirs(address, q)
				mu.Lock()
				counts[want]++
				if err != nil || got != want && !unreachable(got, want, why) {
					differ++
					t.Errorf("%s %s: %v, and Unbound says %v, %v (%s)", q.Kind, q.Name, got, want, err, why)
				}
				mu.Unlock()
			}
		})
	}
	for _, q := range questions {
		next <- q
	}
	close(next)
	workers.Wait()
	t.Logf("%d zones, %d questions, %d differ; Unbound: %v", len(zones), len(questions), differ, counts)
	for _, security := range []resolve.Security{resolve.Secure, resolve.Insecure, resolve.Bogus, resolve.Indeterminate} {
		if counts[security] == 0 {
			t.Errorf("nothing in the forest is %v", security)
		}
	}
}
