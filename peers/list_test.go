package peers

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"postern/store"
)

// tellAll is a memory with some of everything.
func tellAll(t *testing.T) *correspondence {
	c := begin(t)
	c.becomesRemembered(mx1)
	c.Secured("example.org", mx1, invalid)
	c.fails(mx2, true)
	c.clear(mx2)
	c.rejected(mx1)
	h := c.m.Handshakes()
	h.Secured(alice, mail, valid)
	h.Failed(bob, "Mail.Example.ORG")
	c.passes(time.Minute)
	h.Failed(bob, mail)
	return c
}

func (c *correspondence) lists() []Summary {
	c.Helper()
	lines, err := c.m.List()
	if err != nil {
		c.Fatal(err)
	}
	return lines
}

func TestListTellsTheStory(t *testing.T) {
	c := tellAll(t)
	now := c.clock.now().Add(-time.Minute)
	start := now.Add(-36 * time.Hour)
	want := []Summary{
		{Kind: "host", Name: "mx1.example.com:25", FirstSeen: start, LastSeen: now, Secured: 4, Version: "TLS 1.2", Trust: "Untrusted"},
		{Kind: "host", Name: "mx2.example.com:25", FirstSeen: now, LastSeen: now, Clear: 1, Failed: 1, SkipUntil: now.Add(time.Hour)},
		{Kind: "domain", Name: "example.com", FirstSeen: start, LastSeen: now, Secured: 3, Failed: 2, Remembered: []string{mx1.Name}, Outage: now},
		{Kind: "domain", Name: "example.org", FirstSeen: now, LastSeen: now},
		{Kind: "client", Name: "192.0.2.1", Hello: mail, FirstSeen: now, LastSeen: now, Secured: 1, Version: "TLS 1.3", Trust: "Verified"},
		{Kind: "client", Name: "192.0.2.2", Hello: mail, FirstSeen: now, LastSeen: now.Add(time.Minute), Failed: 2, SkipUntil: now.Add(time.Minute + hold)},
		{Kind: "address", Name: "192.0.2.1", FirstSeen: now, LastSeen: now, Secured: 1},
	}
	for range 2 {
		if got, same := text(t, c.lists()), text(t, want); got != same {
			t.Errorf("%s\nwant %s", got, same)
		}
		c.restart()
	}
}

func TestListShowsWhatTheStoreDoesNotTake(t *testing.T) {
	c, f := beginFragile(t)
	c.becomesRemembered(mx1)
	if err := c.m.Flush(); err != nil {
		t.Fatal(err)
	}
	f.full.Store(true)
	c.secured(mx1)
	c.m.forget(mx1.ref(), named(mx1.Name))
	c.secured(mx2)
	if lines := c.lists(); len(lines) != 2 || lines[0].Name != "mx2.example.com:25" || lines[1].Name != domain {
		t.Errorf("%+v", lines)
	}
}

func TestShowSaysAllThatIsKept(t *testing.T) {
	c := tellAll(t)
	records, err := c.m.Show("MX1.example.com.")
	if err != nil || len(records) != 3 {
		t.Fatalf("%+v, %v", records, err)
	}
	const want = `{"kind":"host","name":"mx1.example.com:25","host":{` +
		`"seen":{"count":5,"first":"2026-01-01T12:00:00Z","last":"2026-01-03T00:00:00Z"},` +
		`"secured":{"count":4,"first":"2026-01-01T12:00:00Z","last":"2026-01-03T00:00:00Z"},` +
		`"forward_secret":{"count":3,"first":"2026-01-01T12:00:00Z","last":"2026-01-02T12:00:00Z"},` +
		`"valid":{"count":3,"first":"2026-01-01T12:00:00Z","last":"2026-01-02T12:00:00Z"},` +
		`"versions":[{"name":"TLS 1.3","count":3,"first":"2026-01-01T12:00:00Z","last":"2026-01-02T12:00:00Z"},` +
		`{"name":"TLS 1.2","count":1,"first":"2026-01-03T00:00:00Z","last":"2026-01-03T00:00:00Z"}],` +
		`"suites":[{"name":"TLS_AES_128_GCM_SHA256","count":3,"first":"2026-01-01T12:00:00Z","last":"2026-01-02T12:00:00Z"},` +
		`{"name":"TLS_RSA_WITH_AES_128_GCM_SHA256","count":1,"first":"2026-01-03T00:00:00Z","last":"2026-01-03T00:00:00Z"}],` +
		`"groups":[{"name":"X25519MLKEM768","count":3,"first":"2026-01-01T12:00:00Z","last":"2026-01-02T12:00:00Z"}],` +
		`"verdicts":[{"name":"Verified","count":3,"first":"2026-01-01T12:00:00Z","last":"2026-01-02T12:00:00Z"},` +
		`{"name":"Untrusted","count":1,"first":"2026-01-03T00:00:00Z","last":"2026-01-03T00:00:00Z"}],` +
		`"rejected":{"count":1,"first":"2026-01-03T00:00:00Z","last":"2026-01-03T00:00:00Z"},` +
		`"why":"expected a certificate for mx1.example.com, saw none"}}`
	if got := text(t, records[0]); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if d := records[1]; d.Kind != "domain" || d.Name != domain || d.Domain.Hosts[0].Since.IsZero() || d.Domain.Outage.IsZero() {
		t.Errorf("%+v", d)
	}
}

func TestANameIsLookedForWhereverItStands(t *testing.T) {
	c := tellAll(t)
	for name, want := range map[string][]string{
		domain:                {"example.com"},
		" Example.ORG. ":      {"example.org"},
		"mx1.example.com":     {"mx1.example.com:25", "example.com", "example.org"},
		"mx1.example.com:25":  {"mx1.example.com:25", "example.com", "example.org"},
		"mx1.example.com:587": nil,
		"mx2.example.com":     {"mx2.example.com:25", "example.com"},
		"192.0.2.1":           {"192.0.2.1", "192.0.2.1"},
		"::ffff:192.0.2.2":    {"192.0.2.2"},
		"192.0.2.3":           nil,
		"":                    nil,
		mail:                  nil,
	} {
		records, err := c.m.Show(name)
		var got []string
		for _, r := range records {
			got = append(got, r.Name)
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %v; want %q", name, got, err, want)
		}
	}
}

func TestForgetForgetsAtOnceAndForGood(t *testing.T) {
	for name, check := range map[string]func(c *correspondence){
		domain: func(c *correspondence) { c.remembers(mx1, false, false); c.known(mx1, true) },
		"mx1.example.com": func(c *correspondence) {
			c.remembers(mx1, false, false)
			c.known(mx1, false)
			if s, _ := c.m.Show(domain); len(s) != 1 || len(s[0].Domain.Hosts) != 1 {
				c.Errorf("%+v", s)
			}
		},
		"mx2.example.com": func(c *correspondence) { c.tried(mx2); c.remembers(mx1, true, false) },
		"192.0.2.1": func(c *correspondence) {
			if c.m.Handshakes().UsedForwardSecrecy(alice, mail) || !c.m.Handshakes().Avoid(bob, mail) {
				c.Error("alice is remembered, or bob is not")
			}
		},
		"192.0.2.2": func(c *correspondence) {
			if c.m.Handshakes().Avoid(bob, mail) {
				c.Error("bob is avoided")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := tellAll(t)
			records, _ := c.m.Show(name)
			if n, err := c.m.Forget(name); n != len(records) || n == 0 || err != nil {
				t.Errorf("%d of %d, %v", n, len(records), err)
			}
			check(c)
			c.restart()
			check(c)
			if n, err := c.m.Forget("unknown.example"); n != 0 || err != nil {
				t.Errorf("%d, %v", n, err)
			}
		})
	}
}

func TestForgettingADomainRemovesItsRecord(t *testing.T) {
	c := tellAll(t)
	if _, err := c.m.Forget(domain); err != nil {
		t.Fatal(err)
	}
	if _, err := c.store.Get("domain/example.com"); err != store.ErrNotFound {
		t.Error(err)
	}
}

func TestARecordOfSomethingElseInTheStoreIsLeftAlone(t *testing.T) {
	c := tellAll(t)
	if err := c.store.Write(store.Change{Key: "sts/example.com", Value: []byte("x")}, store.Change{Key: "host/no-port", Value: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	before := len(c.lists())
	c.restart()
	if n := len(c.lists()); n != before {
		t.Errorf("%d, before %d", n, before)
	}
	for _, key := range []string{"sts/example.com", "host/no-port"} {
		if _, err := c.store.Get(key); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func TestAKeyIsReadBackAsItWasMade(t *testing.T) {
	for _, r := range []ref{
		mx1.ref(), Host{"192.0.2.1", 587}.ref(), Host{"2001:db8::1", 25}.ref(), Host{"", 0}.ref(),
		domainRef(domain), domainRef("a/b"), domainRef(""),
		clientRef(alice, mail), clientRef(bob, ""), clientRef(alice, "a/b:c"), clientRef(alice, "\xff"), addressRef(alice),
	} {
		if back, ok := parseKey(r.key()); !ok || back != r {
			t.Errorf("%q: %+v, %v; want %+v", r.key(), back, ok, r)
		}
	}
	for _, key := range []string{"", "host", "host/", "host/mx", "host/mx:", "host/mx:x", "host/mx:99999", "host/MX:25", "client/", "client/x/y", "address/x", "other/x", "domain/x."} {
		if r, ok := parseKey(key); ok {
			t.Errorf("%q: %+v", key, r)
		}
	}
}

func text(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
