package app

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"postern/internal/catest"
	"postern/internal/dnstest"
)

// stsTrouble is something wrong with what example.com publishes. The policy names another host
// than its MX record does, so that mail waits where it counts.
type stsTrouble struct {
	record []string
	page   http.HandlerFunc
	happen func(t *testing.T, h *policyHost)
	why    string // what is told of it; the mail goes out
}

const notNamed = "451 4.7.5 mx.DOMAIN: not among the MX hosts that the MTA-STS policy of DOMAIN names"

const policyURL = "https://mta-sts.example.com/.well-known/mta-sts.txt"

// stsTroubles are those for which there is no policy (RFC 8461, 3; STANDARDS 122 to 129).
func stsTroubles() map[string]stsTrouble {
	one, other := []string{`"v=STSv1; id=1;"`}, asks("enforce", "mx.example.net")
	return map[string]stsTrouble{
		"no record":           {record: nil, why: "_mta-sts.example.com has no TXT record that begins with v=STSv1;"},
		"two records":         {record: []string{one[0], `"v=STSv1; id=2;"`}, why: "_mta-sts.example.com: 2 TXT records begin with v=STSv1; where there must be one"},
		"an id with a hyphen": {record: []string{`"v=STSv1; id=2026-11;"`}, why: `the TXT record has the id "2026-11", which is not 1 to 32 letters and digits`},
		"an id too long":      {record: []string{`"v=STSv1; id=` + strings.Repeat("1", 33) + `;"`}, why: "which is not 1 to 32 letters and digits"},
		"no id":               {record: []string{`"v=STSv1; ID=1;"`}, why: "the TXT record has no id"},
		"SERVFAIL": {record: one, happen: func(_ *testing.T, h *policyHost) { h.dns.Break("", "TXT", dnstest.ServFail) },
			why: "the TXT record _mta-sts.example.com cannot be looked up: SERVFAIL from "},
		"a megabyte": {record: one, page: text(other + strings.Repeat("x: y\n", 200000)), why: policyURL + " has more than 65536 octets"},
		"a redirect": {record: one, page: func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/there", http.StatusFound) },
			why: policyURL + ` answers 302 and points to "/there", and redirects must not be followed`},
		"a page that is not there": {record: one, page: http.NotFound, why: policyURL + " answers 404 instead of 200"},
		"HTML":                     {record: one, page: typed("text/html", other), why: policyURL + ` has the media type "text/html" instead of text/plain`},
		"no media type":            {record: one, page: typed("", other), why: policyURL + ` has the media type "" instead of text/plain`},
		"a negative age":           {record: one, page: text(strings.Replace(other, "604800", "-5", 1)), why: `max_age "-5" is not a number of seconds of 1 to 10 digits`},
		"an age of eleven digits":  {record: one, page: text(strings.Replace(other, "604800", "31557600000", 1)), why: `max_age "31557600000" is not a number of seconds of 1 to 10 digits`},
		"no age":                   {record: one, page: text(strings.Replace(other, "max_age", "maxage", 1)), why: "the policy has no max_age"},
		"mode none first":          {record: one, page: text(strings.Replace(other, "mode", "mode: none\nmode", 1)), why: "mode none"},
		"mode testing":             {record: one, page: text(asks("testing", "mx.example.net")), why: "mode testing"},
		"another name's certificate": {record: one, page: text(other), happen: func(t *testing.T, h *policyHost) { h.certificate(t, "www.example.com") },
			why: "the certificate of mta-sts.example.com is not valid for that name: x509: certificate is valid for www.example.com, not mta-sts.example.com"},
		"a certificate of nobody": {record: one, page: text(other), happen: func(t *testing.T, h *policyHost) {
			ca := h.ca
			h.ca = catest.New(t)
			h.certificate(t, "mta-sts.example.com")
			h.ca = ca
		}, why: "the certificate of mta-sts.example.com is not valid: x509: certificate signed by unknown authority"},
	}
}

// RFC 8461, 3.3; STANDARDS 137: what was never a policy holds up no mail.
func TestMailGoesOnWhereThePolicyOfAFirstContactIsNone(t *testing.T) {
	for what, c := range stsTroubles() {
		h := newPolicyHost(t)
		h.record(c.record...)
		h.serve(c.page)
		if c.happen != nil {
			c.happen(t, h)
		}
		p := h.begin(t, inMemory)
		h.wantReply(t, p, what, "example.com", "")
		x, _, _ := explained(t, ExplainOptions{Domain: "example.com", Config: p.file})
		wantWords(t, what, x, c.why)
		if strings.HasPrefix(c.why, "_mta-sts") && h.fetches() > 0 {
			t.Errorf("%s: the policy was fetched", what)
		}
	}
}

func TestMailWaitsForWhomThePolicyDoesNotName(t *testing.T) {
	other := asks("enforce", "mx.example.net")
	for what, policy := range map[string]string{
		"plain":            other,
		"mode none second": strings.Replace(other, "mode: enforce", "mode: enforce\nmode: none", 1), // RFC 8461, 3.2: the first counts
		"an age too large": strings.Replace(other, "604800", "9999999999", 1),
		"unknown keys":     other + "mx_ports: 25\n",
		"CRLF":             strings.ReplaceAll(other, "\n", "\r\n"),
		"one label more":   asks("enforce", "*.com"),
		"below itself":     asks("enforce", "*.mx.example.com"),
	} {
		h := newPolicyHost(t)
		h.serve(text(policy))
		p := h.begin(t, inMemory)
		h.wantReply(t, p, what, "example.com", notNamed)
	}
}

// STANDARDS 130 and 134: a policy that was seen stands, whatever becomes of what it was read
// from, and over a restart.
func TestAPolicyThatWasSeenStands(t *testing.T) {
	for what, c := range stsTroubles() {
		if strings.HasPrefix(c.why, "mode ") {
			continue // is a policy, too
		}
		h := newPolicyHost(t)
		h.serve(text(asks("enforce", "mx.example.net")))
		p := h.begin(t, h.kept())
		h.wantReply(t, p, what+", before", "example.com", notNamed)
		must(p.stop())
		if h.record(c.record...); len(c.record) == 1 {
			h.record(strings.Replace(c.record[0], "id=1;", "id=2;", 1)) // there is something to fetch
		}
		h.serve(c.page)
		if c.happen != nil {
			c.happen(t, h)
		}
		p = h.begin(t, h.kept())
		h.wantReply(t, p, what, "example.com", notNamed)
		x, _, _ := explained(t, ExplainOptions{Domain: "example.com", Config: p.file})
		wantWords(t, what, x, "mode enforce, for mx.example.net")
		if c.record != nil {
			wantWords(t, what, x, c.why)
		}
		must(p.stop())
	}
}

// STANDARDS 132 and 134: mode none is how a domain takes its policy back, and the mail that was not to
// go is the occasion to look.
func TestModeNoneTakesAPolicyBack(t *testing.T) {
	h := newPolicyHost(t)
	h.serve(text(asks("enforce", "mx.example.net")))
	p := h.begin(t, h.kept())
	h.wantReply(t, p, "enforced", "example.com", notNamed)
	must(p.stop())
	h.record(`"v=STSv1; id=2;"`)
	h.serve(text("version: STSv1\nmode: none\nmax_age: 86400\n"))
	p = h.begin(t, h.kept())
	h.wantReply(t, p, "taken back", "example.com", "")
	x, _, _ := explained(t, ExplainOptions{Domain: "example.com", Config: p.file})
	wantWords(t, "explain", x, "mode none", " may, because nobody asks for more")
}

// SEM 26: a policy host that hangs holds up the first mail alone, and that for a while.
func TestAPolicyHostThatHangsHoldsUpOneMail(t *testing.T) {
	h := newPolicyHost(t)
	release := make(chan struct{})
	h.serve(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
			text(asks("enforce", "mx.example.net"))(w, r)
		case <-r.Context().Done():
		}
	})
	p := h.beginPatient(t, inMemory, 300*time.Millisecond)
	for _, which := range []string{"first", "second", "third"} {
		h.wantReply(t, p, which, "example.com", "")
	}
	x, _, _ := explained(t, ExplainOptions{Domain: "example.com", Config: p.file})
	wantWords(t, "explain", x, "no policy is known yet, and the look for one goes on")
	if n := h.fetches(); n != 1 {
		t.Errorf("fetched %d times", n)
	}
	close(release)
	p.log.await(t, "a new MTA-STS policy", "example.com")
	h.wantReply(t, p, "when it is there", "example.com", notNamed)
}
