package app

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"postern/admin"
	"postern/tls/dane"
)

// judgement is what is known of the TLSA records of one name, and what is to be said of it.
type judgement struct {
	owner   string
	records []dane.Record // that are published, in the order of dane.Sort
	names   dane.Names
	ttl     time.Duration
	files   []tlsKey // of the configuration
	served  []tlsKey // that clients are shown
	next    []tlsKey
	passing []string // certificates that do not outlive the process
	seen    map[string]PublishedTLSA
	unknown notSeen // why seen is empty
	now     time.Time

	findings []TLSAFinding
}

func (j *judgement) say(verdict, about, format string, args ...any) {
	j.findings = append(j.findings, TLSAFinding{verdict, j.owner, about, fmt.Sprintf(format, args...)})
}

func (j *judgement) good(about, format string, args ...any) {
	j.say(findingGood, about, format, args...)
}

// wanting returns false, for what ends with it.
func (j *judgement) wanting(about, format string, args ...any) bool {
	j.say(findingWanting, about, format, args...)
	return false
}

// chains takes what the server shows.
func (j *judgement) chains(at string, chains [][]*x509.Certificate, other, err error) {
	if err != nil {
		j.wanting("served", "the server was not asked for its certificates: %v", err)
		return
	}
	for _, chain := range chains {
		j.served = append(j.served, ofChain("the certificate that "+at+" shows", chain))
	}
	for _, k := range j.files {
		if !hasLeaf(j.served, k.leaf()) {
			why := "a restart or SIGHUP may be due"
			if other != nil {
				why += ", or the server cannot be asked for it: " + other.Error()
			}
			j.say(findingNote, "served", "%s is not shown by %s: %s", k, at, why)
		}
	}
}

func hasLeaf(keys []tlsKey, leaf *x509.Certificate) bool {
	return slices.ContainsFunc(keys, func(k tlsKey) bool { return k.leaf().Equal(leaf) })
}

// sighting is what is to be remembered.
func (j *judgement) sighting() admin.Sighting {
	s := admin.Sighting{Owner: j.owner, TTL: uint32(j.ttl / time.Second)}
	for _, r := range j.records[:min(len(j.records), seenMost)] {
		s.Records = append(s.Records, admin.SightedTLSA{Record: r.String(), InUse: j.matchesAny(r, j.served)})
	}
	return s
}

// remember takes what came of it, which may have come as JSON.
func (j *judgement) remember(seen any) error {
	text, err := json.Marshal(seen)
	if err != nil {
		return err
	}
	var all []PublishedTLSA
	if err := json.Unmarshal(text, &all); err != nil {
		return err
	}
	j.seen = map[string]PublishedTLSA{}
	for _, p := range all {
		j.seen[p.Record] = p
	}
	return nil
}

// judge says what is to be said of records that count.
func (j *judgement) judge() {
	for _, name := range j.passing {
		j.wanting("file", "certificate %q is self_signed, with a new key after each start: no record can name it. Write cert_file and key_file", name)
	}
	for _, k := range j.files {
		if !hasLeaf(j.served, k.leaf()) {
			j.certificate("file", k)
		}
	}
	for _, k := range j.served {
		j.certificate("served", k)
		j.early(k)
	}
	for _, r := range j.records {
		if r.Usable() == nil && !j.matchesAny(r, j.served) && !j.matchesAny(r, j.files) && !j.isNext(r) {
			j.stray(r)
		}
	}
	for _, k := range j.next {
		j.comes(k)
	}
	j.gone()
	j.rollover()
}

// certificate compares a certificate with the records, as a sender does.
func (j *judgement) certificate(about string, k tlsKey) {
	r := dane.MatchChain(j.records, k.chain, j.names, j.now)
	if r.OK {
		j.good(about, "%s matches %s", k, r.Record)
		return
	}
	j.wanting(about, "%s does not pass, and mail waits at its senders: %s. Publish %s", k, r.Why, k.record())
}

func (j *judgement) matches(r dane.Record, k tlsKey) bool {
	return k.leaf() != nil && dane.MatchChain([]dane.Record{r}, k.chain, j.names, j.now).OK
}

func (j *judgement) matchesAny(r dane.Record, keys []tlsKey) bool {
	return slices.ContainsFunc(keys, func(k tlsKey) bool { return j.matches(r, k) })
}

// isNext says whether a record is for a key that comes next. Of a key without a certificate that is
// its own record alone, with either digest or none.
func (j *judgement) isNext(r dane.Record) bool {
	return slices.ContainsFunc(j.next, func(k tlsKey) bool { return j.isFor(r, k) })
}

func (j *judgement) isFor(r dane.Record, k tlsKey) bool {
	return j.matches(r, k) || r.Usage == dane.UsageEE && r.Selector == dane.SelectorSPKI && r.String() == dane.FromKey(k.spki, r.MatchingType).String()
}

// early looks for a key that was put into use before everybody could know of it: a resolver may
// still have the records from before, and none of them matches.
func (j *judgement) early(k tlsKey) {
	var until time.Time
	for _, r := range j.records {
		p, known := j.seen[r.String()]
		if !known || !j.matches(r, k) {
			continue
		}
		if !p.Added || !j.now.Before(p.Ready) {
			return
		}
		until = p.Ready
	}
	if !until.IsZero() {
		j.wanting("rollover", "%s is in use too early: until %s resolvers may have the records from before, and mail of their clients waits. Go back to the key of before if you can", k, upTo(until))
	}
}

// stray judges a record that is for nothing that is known here: the key of before, one that comes next, or a
// mistake.
func (j *judgement) stray(r dane.Record) {
	p, used := j.seen[r.String()], false
	used = !p.Used.IsZero()
	leave := p.Used.Add(2 * j.ttl)
	switch {
	case used && j.now.Before(leave):
		j.say(findingNote, "record", "%s is for a key that was in use until %s: leave it until %s", r, when(p.Used), upTo(leave))
	case used:
		j.wanting("record", "%s is stale: its key was last in use at %s. Remove it", r, when(p.Used))
	case len(j.next) > 0:
		j.wanting("record", "%s matches nothing that is shown, configured or named with --next: remove it", r)
	default:
		j.say(findingNote, "record", "%s matches nothing that is shown or configured: name the next key with --next if it is that, or else remove it", r)
	}
}

// comes says whether a next key can be put into use.
func (j *judgement) comes(k tlsKey) {
	var ready, first time.Time
	found := false
	for _, r := range j.records {
		if !j.isFor(r, k) {
			continue
		}
		p, known := j.seen[r.String()]
		if !known {
			j.wanting("next", "%s is published, as %s, and it is not known since when: %s", k, r, j.unknown)
			return
		}
		if !found || p.Ready.Before(ready) {
			found, ready, first = true, p.Ready, p.First
		}
	}
	switch {
	case !found:
		j.wanting("next", "%s is not published. Publish %s, and put the key into use %v (two TTLs) later", k, k.record(), 2*j.ttl)
	case j.now.Before(ready) && first.Equal(j.last()):
		j.wanting("next", "%s is published, and was first seen now: it may be put into use from %s on. Run this again then, or from cron", k, upTo(ready))
	case j.now.Before(ready):
		j.wanting("next", "%s is published, first seen at %s: it may be put into use from %s on", k, when(first), upTo(ready))
	default:
		j.good("next", "%s is published, first seen at %s, and may be put into use", k, when(first))
	}
}

// last is when the records were last seen: now, by the clock of who remembers.
func (j *judgement) last() (last time.Time) {
	for _, p := range j.seen {
		last = later(last, p.Last)
	}
	return last
}

// gone looks for records that were taken away while resolvers could still send somebody to their key.
func (j *judgement) gone() {
	for _, record := range slices.Sorted(maps.Keys(j.seen)) {
		p := j.seen[record]
		if leave := p.Used.Add(2 * j.ttl); p.Gone && !p.Used.IsZero() && j.now.Before(leave) && !j.isShown(p.Record) {
			j.wanting("rollover", "%s was removed, and its key was in use until %s: put it back until %s (two TTLs)", p.Record, when(p.Used), upTo(leave))
		}
	}
}

// isShown says whether a record that is gone is of a certificate that clients still get: that it does
// not pass is said already.
func (j *judgement) isShown(text string) bool {
	r, err := dane.Parse(text)
	return err == nil && j.matchesAny(r, j.served)
}

// rollover says whether each key that is in use could be changed at all (STANDARDS 91).
func (j *judgement) rollover() {
	if len(j.next) > 0 {
		return // each was judged
	}
	keys := j.served
	if len(keys) == 0 {
		keys = j.files
	}
	for _, k := range keys {
		// What another one of two certificates uses is no spare.
		others := slices.DeleteFunc(slices.Clone(j.records), func(r dane.Record) bool { return !j.matches(r, k) && j.matchesAny(r, keys) })
		if ok, why := dane.Rollover(others); !ok {
			j.say(findingNote, "rollover", "%s cannot be replaced at once: %s", k, why)
			return
		}
	}
}

// upTo is a time that must be over: as people read it, not a minute less.
func upTo(t time.Time) string { return when(t.Add(time.Minute - 1).Truncate(time.Minute)) }
