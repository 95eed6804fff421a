package app

import (
	"encoding/json"
	"errors"
	"testing"
)

// SEM 27: that a resolver keeps signatures to itself is told first, with what to do.
func TestExplainSaysWhyThereIsNoDNSSEC(t *testing.T) {
	for written, want := range map[string]struct {
		status string
		err    error
		words  []string
	}{
		"": {"unavailable", nil, []string{
			"DNSSEC  not available: no signatures come through 127.0.0.1:", "so there is no DANE", "what to do: name a resolver",
			"TLSA records   do not count: nobody can tell", "DNSSEC is not available",
		}},
		`dnssec = "validate"`: {"withheld", ErrReported, []string{
			"DNSSEC        held back: no signatures come through 127.0.0.1:", "mail for signed domains waits", "what to do: name a resolver", "451 4.7.5",
		}},
		`dnssec = "off"`: {"off", nil, []string{"may, because nobody asks for more"}},
	} {
		w := newWorld(t)
		w.signed(t, "")
		w.dns = bare(t)
		file := w.written(t, inMemory+w.resolverWith(written)+w.outbound(""))
		text, _, err := explained(t, ExplainOptions{Domain: "example.com", Config: file})
		if !errors.Is(err, want.err) {
			t.Errorf("%s: %v", written, err)
		}
		wantWords(t, written, text, want.words...)
		text, _, _ = explained(t, ExplainOptions{Domain: "example.com", Config: file, JSON: true})
		var all []Explanation
		must(json.Unmarshal([]byte(text), &all))
		if d := all[0].DNSSEC; d.Status != want.status || len(d.Servers) != 1 || d.Servers[0] != w.dns.Address || (d.Why == "") != (want.status == "off") {
			t.Errorf("%s: %+v", written, d)
		}
	}
}

func TestExplainSaysNothingOfDNSSECThatWorks(t *testing.T) {
	w := newWorld(t)
	w.signed(t, w.tlsa(true))
	p := w.begin(t, inMemory+w.admin()+w.resolverWith("")+w.outbound(""))
	p.log.await(t, "DNSSEC: the resolver lets signatures through")
	text, _, err := explained(t, ExplainOptions{Domain: "example.com", Config: p.file, JSON: true})
	must(err)
	wantWords(t, "beside", text, `"dnssec":{"status":"validates"`)
	must(p.stop())
	text, _, err = explained(t, ExplainOptions{Domain: "example.com", Config: p.file, JSON: true})
	must(err)
	wantWords(t, "without", text, `"dnssec":{"status":"untested"`)
}

func TestAResolverThatIsTrustedIsSaidToBe(t *testing.T) {
	w := newWorld(t)
	w.signed(t, "")
	file := w.written(t, inMemory+w.resolverWith(`dnssec = "trust-ad"`)+w.outbound(""))
	text, _, _ := explained(t, ExplainOptions{Domain: "example.com", Config: file, JSON: true})
	wantWords(t, "explain", text, `"dnssec":{"status":"trusts"`)
}
