package app

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/internal/catest"
	"postern/tls/dane"
)

// keyring are keys that are called by letters: each has a certificate for mx.example.org by the
// same authority.
type keyring struct {
	ca   *catest.CA
	keys map[string]tlsKey
}

func newKeyring(t *testing.T) keyring {
	t.Helper()
	r := keyring{catest.New(t).Intermediate(t), map[string]tlsKey{}}
	for _, name := range []string{"a", "b", "c", "d"} {
		c := r.ca.Issue(t, catest.Leaf{Names: []string{"mx.example.org"}})
		r.keys[name] = must1(keyOf(name, &c))
	}
	r.keys["issuer"] = ofChain("issuer", []*x509.Certificate{r.ca.Cert})
	return r
}

func (r keyring) all(names string) (all []tlsKey) {
	for name := range strings.FieldsSeq(names) {
		all = append(all, r.keys[name])
	}
	return all
}

// records are 3 1 1 of keys, and 2 1 1 of the issuer.
func (r keyring) records(names string) (all []dane.Record) {
	for _, k := range r.all(names) {
		record := k.record()
		if k.source == "issuer" {
			record = issuer{"", k.leaf()}.record()
		}
		all = append(all, record)
	}
	return dane.Sort(all)
}

// today is when all of it is judged.
var today = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// remembered are what is known of records: "a used 1h, b first 30m ready 2h added, c used 1h gone". Times are
// before today; ready is counted from first.
func (r keyring) remembered(t *testing.T, text string) map[string]PublishedTLSA {
	t.Helper()
	all := map[string]PublishedTLSA{}
	for one := range strings.SplitSeq(text, ", ") {
		words := strings.Fields(one)
		if len(words) == 0 {
			continue
		}
		p := PublishedTLSA{Record: r.records(words[0])[0].String(), First: today.Add(-1000 * time.Hour), Last: today}
		p.Ready = p.First
		for i := 1; i < len(words); i++ {
			var ago time.Duration
			if i+1 < len(words) {
				ago, _ = time.ParseDuration(words[i+1]) // where it is not a time, it is not used
			}
			switch words[i] {
			case "used":
				p.Used = today.Add(-ago)
			case "first":
				p.First, p.Ready = today.Add(-ago), today.Add(-ago)
			case "ready":
				p.Ready = p.First.Add(ago)
			case "added":
				p.Added = true
			case "gone":
				p.Gone = true
			}
		}
		all[p.Record] = p
	}
	return all
}

func TestTheFindingsTellTheStory(t *testing.T) {
	r := newKeyring(t)
	for name, c := range map[string]struct {
		published, files, served, next, known string
		want                                  []string // the beginning of each finding, and words of it
	}{
		"all is well":    {"a b", "a", "a", "b", "a used 0s, b", []string{"good served: a (ECDSA P-256) matches 3 1 1", "good next: b (ECDSA P-256) is published|may be put into use"}},
		"no next key":    {"a", "a", "a", "", "a used 0s", []string{"good served: a", "note rollover: a (ECDSA P-256) cannot be replaced at once: only one certificate"}},
		"key and issuer": {"a issuer", "a", "a", "", "a used 0s, issuer used 0s", []string{"good served: a"}},
		"a spare key":    {"a b", "a", "a", "", "a used 0s, b", []string{"good served: a", "note record: 3 1 1|name the next key with --next"}},
		"two certificates, one record": {"a", "a b", "a b", "", "a used 0s", []string{
			"good served: a", "wanting served: b (ECDSA P-256) does not pass, and mail waits|Publish 3 1 1", "note rollover: a (ECDSA P-256) cannot"}},
		"two certificates, two records":  {"a b", "a b", "a b", "", "", []string{"good served: a", "good served: b", "note rollover: a"}},
		"two certificates and an issuer": {"a b issuer", "a b", "a b", "", "", []string{"good served: a", "good served: b"}},
		"not reloaded":                   {"a b", "b", "a", "", "a used 0s, b", []string{"good file: b", "good served: a"}},
		"another one in the file":        {"a", "b", "a", "", "a used 0s", []string{"wanting file: b", "good served: a", "note rollover: a"}},
		"nothing is shown":               {"a", "a", "", "", "", []string{"good file: a", "note rollover: a"}},
		"the issuer alone":               {"issuer", "a", "a", "", "", []string{"good served: a (ECDSA P-256) matches 2 1 1", "note rollover: a (ECDSA P-256) cannot be replaced at once: only issuers"}},

		"next is not there":         {"a", "a", "a", "b", "", []string{"good served: a", "wanting next: b (ECDSA P-256) is not published|Publish 3 1 1|2h0m0s (two TTLs)"}},
		"next by its issuer":        {"issuer", "a", "a", "b", "issuer", []string{"good served: a", "good next: b (ECDSA P-256) is published"}},
		"next, seen now":            {"a b", "a", "a", "b", "a used 0s, b first 0s ready 2h added", []string{"good served: a", "wanting next: b (ECDSA P-256) is published, and was first seen now|Run this again"}},
		"next, waiting":             {"a b", "a", "a", "b", "a used 0s, b first 1h ready 2h added", []string{"good served: a", "wanting next: b (ECDSA P-256) is published, first seen at|it may be put into use from"}},
		"next, ready":               {"a b", "a", "a", "b", "a used 0s, b first 2h ready 2h added", []string{"good served: a", "good next: b"}},
		"next, by two ways":         {"a b issuer", "a", "a", "b", "a used 0s, b first 0s ready 2h added, issuer", []string{"good served: a", "good next: b (ECDSA P-256) is published"}},
		"next, since when?":         {"a b", "a", "a", "b", "", []string{"good served: a", "wanting next: b (ECDSA P-256) is published|it is not known since when: nobody remembers"}},
		"next, in use":              {"a b", "b", "b", "b", "a used 1h, b first 3h ready 2h used 0s added", []string{"good served: b", "note record: 3 1 1|leave it until", "good next: b"}},
		"too early":                 {"a b", "b", "b", "", "a used 1h, b first 1h ready 2h used 0s added", []string{"good served: b", "wanting rollover: b (ECDSA P-256) is in use too early", "note record: 3 1 1"}},
		"too early, but the issuer": {"b issuer", "b", "b", "", "issuer, b first 1h ready 2h used 0s added", []string{"good served: b"}},
		"the first of all":          {"a", "a", "a", "b", "a first 0s ready 2h used 0s", []string{"good served: a", "wanting next: b (ECDSA P-256) is not published"}},

		"stale":                  {"a b", "b", "b", "", "a used 3h, b used 0s", []string{"good served: b", "wanting record: 3 1 1|is stale: its key was last in use"}},
		"not needed":             {"a b d", "a", "a", "b", "a used 0s, b, d", []string{"good served: a", "wanting record: 3 1 1|matches nothing that is shown, configured or named with --next: remove it", "good next: b"}},
		"removed too early":      {"b", "b", "b", "c", "a used 1h gone, b used 0s", []string{"good served: b", "wanting next: c (ECDSA P-256) is not", "wanting rollover: 3 1 1|was removed, and its key was in use|put it back"}},
		"removed in time":        {"b", "b", "b", "c", "a used 3h gone, b used 0s", []string{"good served: b", "wanting next: c (ECDSA P-256) is not"}},
		"a spare that went away": {"a", "a", "a", "c", "b gone, a used 0s", []string{"good served: a", "wanting next: c (ECDSA P-256) is not"}},
	} {
		t.Run(name, func(t *testing.T) {
			j := &judgement{owner: "o", records: r.records(c.published), names: dane.Names{"mx.example.org"}, ttl: time.Hour,
				files: r.all(c.files), served: r.all(c.served), next: r.all(c.next), seen: r.remembered(t, c.known), unknown: "nobody remembers", now: today}
			for i := range j.next { // of a next key there is no certificate yet
				if !strings.Contains(c.published, "issuer") {
					j.next[i].chain = nil
				}
			}
			// The certificates are of now, whenever that is.
			for _, k := range slices.Concat(j.files, j.served, j.next) {
				for _, cert := range k.chain {
					cert.NotBefore, cert.NotAfter = today.Add(-time.Hour), today.Add(time.Hour)
				}
			}
			j.judge()
			if got := findingsText(j.findings); !tells(j.findings, c.want) {
				t.Errorf("it says\n%s", got)
			}
		})
	}
}

func findingsText(findings []TLSAFinding) (text string) {
	for _, f := range findings {
		text += fmt.Sprintf("%s %s: %s\n", f.Verdict, f.About, f.Text)
	}
	return text
}

// tells says whether these are the findings: each begins with the first of the words, and holds the others.
func tells(findings []TLSAFinding, want []string) bool {
	if len(findings) != len(want) {
		return false
	}
	for i, f := range findings {
		text := findingsText([]TLSAFinding{f})
		for n, words := range strings.Split(want[i], "|") {
			if n == 0 && !strings.HasPrefix(text, words) || !strings.Contains(text, words) {
				return false
			}
		}
	}
	return true
}
