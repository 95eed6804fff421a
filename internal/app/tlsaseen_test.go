package app

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/admin"
	"postern/store"
)

// sighted is a memory of TLSA records, and its clock.
type sighted struct {
	tlsaSeen
	at time.Time
}

func newSighted() *sighted {
	s := &sighted{at: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}
	s.now = func() time.Time { return s.at }
	s.state = store.NewMemory(s.now)
	return s
}

const seenOwner = "_25._tcp.mx.example.org"

// fakeRecord is a TLSA record of a key that is called by a letter.
func fakeRecord(name string) string {
	return "3 1 1 " + strings.Repeat(fmt.Sprintf("%02x", name[0]), 32)
}

// sees reports the records of these keys, those with a star as in use, and returns what is known in short:
// "a+2h ready" is a record that is there since two hours ago, and ready.
func (s *sighted) sees(t *testing.T, ttl time.Duration, names string) string {
	t.Helper()
	report := admin.Sighting{Owner: seenOwner, TTL: uint32(ttl / time.Second)}
	short := map[string]string{}
	for _, name := range strings.Fields(names) {
		name, used := strings.CutSuffix(name, "*")
		report.Records = append(report.Records, admin.SightedTLSA{Record: fakeRecord(name), InUse: used})
	}
	for name := range strings.FieldsSeq("a b c") {
		short[fakeRecord(name)] = name
	}
	var all []string
	for _, p := range must1(s.note(report)) {
		text := fmt.Sprintf("%s+%v", short[p.Record], s.at.Sub(p.First))
		if !s.at.Before(p.Ready) {
			text += " ready"
		} else {
			text += fmt.Sprintf(" in %v", p.Ready.Sub(s.at))
		}
		if !p.Used.IsZero() {
			text += fmt.Sprintf(" used %v", s.at.Sub(p.Used))
		}
		if p.Added {
			text += " added"
		}
		if p.Gone {
			text += " gone"
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

func TestSinceWhenARecordIsPublishedIsRemembered(t *testing.T) {
	s := newSighted()
	for _, step := range []struct {
		after time.Duration
		ttl   time.Duration
		names string
		want  string
	}{
		{0, time.Hour, "a*", "a+0s in 2h0m0s used 0s"},
		{time.Hour, time.Hour, "a*", "a+1h0m0s in 1h0m0s used 0s"},
		{24 * time.Hour, time.Hour, "a* b", "a+25h0m0s ready used 0s, b+0s in 2h0m0s added"},
		{2*time.Hour - 1, time.Hour, "a* b", "a+26h59m59.999999999s ready used 0s, b+1h59m59.999999999s in 1ns added"},
		{1, time.Hour, "a* b", "a+27h0m0s ready used 0s, b+2h0m0s ready added"},
		// The key is changed, and the old record is taken away at once.
		{time.Hour, time.Hour, "b*", "b+3h0m0s ready used 0s added, a+28h0m0s ready used 1h0m0s gone"},
		{3 * time.Hour, time.Hour, "b*", "b+6h0m0s ready used 0s added"},
		// What comes back is new.
		{time.Hour, time.Hour, "a b*", "a+0s in 2h0m0s added, b+7h0m0s ready used 0s added"},
	} {
		s.at = s.at.Add(step.after)
		if got := s.sees(t, step.ttl, step.names); got != step.want {
			t.Errorf("%s: %s, not %s", step.names, got, step.want)
		}
	}
}

// Who lowers the TTL before a change has still to wait for those who have the records by the old one.
func TestATTLThatWasLoweredIsNotBelievedAtOnce(t *testing.T) {
	s := newSighted()
	s.sees(t, 24*time.Hour, "a*")
	s.at = s.at.Add(time.Hour)
	s.sees(t, time.Minute, "a*")
	if got, want := s.sees(t, time.Minute, "a* b"), "a+1h0m0s in 47h0m0s used 0s, b+0s in 23h0m0s added"; got != want {
		t.Errorf("%s, not %s", got, want)
	}
	s.at = s.at.Add(23 * time.Hour)
	if got, want := s.sees(t, time.Minute, "a* b"), "a+24h0m0s in 24h0m0s used 0s, b+23h0m0s ready added"; got != want {
		t.Errorf("%s, not %s", got, want)
	}
}

func TestARecordThatVanishesIsNewWhenItComesBack(t *testing.T) {
	s := newSighted()
	s.sees(t, time.Hour, "a* b")
	s.at = s.at.Add(time.Hour)
	s.sees(t, time.Hour, "a*")
	s.at = s.at.Add(30 * time.Minute)
	if got, want := s.sees(t, time.Hour, "a* b"), "a+1h30m0s in 30m0s used 0s, b+0s in 2h0m0s added"; got != want {
		t.Errorf("%s, not %s", got, want)
	}
}

func TestOnlyTLSARecordsAreRemembered(t *testing.T) {
	s := newSighted()
	many := make([]admin.SightedTLSA, seenMost+1)
	for i := range many {
		many[i].Record = fakeRecord("a")
	}
	for name, bad := range map[string]admin.Sighting{
		"no owner":      {},
		"a long owner":  {Owner: strings.Repeat("x", 256)},
		"a slash":       {Owner: "a/b"},
		"many records":  {Owner: "a", Records: many},
		"no record":     {Owner: "a", Records: []admin.SightedTLSA{{Record: "hello"}}},
		"no hex digits": {Owner: "a", Records: []admin.SightedTLSA{{Record: "3 1 1 xy"}}},
	} {
		if _, err := s.note(bad); err == nil {
			t.Errorf("%s is noted", name)
		}
	}
	long := admin.Sighting{Owner: seenOwner, TTL: 60, Records: []admin.SightedTLSA{{Record: "3 0 0 " + strings.Repeat("ab", 40000)}, {Record: "3 0 0 " + strings.Repeat("cd", 40000)}}}
	first := must1(s.note(long))
	s.at = s.at.Add(time.Minute)
	if again := must1(s.note(long)); len(again) != 2 || !again[0].First.Equal(first[0].First) || again[1].Record != long.Records[1].Record {
		t.Errorf("records that are long: %d", len(again))
	}
}
