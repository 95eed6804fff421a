package peers

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"postern/store"
)

// FuzzRecord puts anything whatever into the store. Sessions must go on with
// it, a damaged record must be dropped with one line, and what is written back
// must be readable, within bounds, and not in the future.
func FuzzRecord(f *testing.F) {
	f.Add(`{"seen":{"count":3,"first":"2026-01-01T12:00:00Z","last":"2026-01-03T00:00:00Z"},"hosts":[{"name":"mx1.example.com","port":25,"seen":{"count":3},"valid":{"count":3,"first":"2026-01-01T12:00:00Z","last":"2026-01-02T12:00:00Z"},"remembered_since":"2026-01-02T12:00:00Z"}]}`)
	f.Add(`{"seen":{"count":2,"last":"2027-01-01T12:00:00Z"},"secured":{"count":1,"last":"2035-01-01T00:00:00Z"},"skip":{"until":"2999-01-01T00:00:00Z","hold_ns":9000000000000000000},"versions":[{"name":"TLS 1.3","count":-9}]}`)
	f.Add(`{"seen":{"count":1,"last":"0001-01-01T00:00:00Z"},"failing":"2026-01-01T00:00:00Z","held":"9999-12-31T23:59:59Z"}`)
	f.Add(`{"seen":{"count":9223372036854775807,"last":"2026-01-01T00:00:00+23:59"},"hosts":[{},{},{}]}`)
	f.Add("")
	f.Add("null")
	f.Add("\xff\x00{")
	now := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, value string) {
		s := store.NewMemory(func() time.Time { return now })
		keys := []string{mx1.ref().key(), domainRef(domain).key(), clientRef(alice, mail).key(), addressRef(alice).key()}
		for _, key := range keys {
			if err := s.Write(store.Change{Key: key, Value: []byte(value)}); err != nil {
				t.Fatal(err)
			}
		}
		var log bytes.Buffer
		m := New(Options{Store: s, Now: func() time.Time { return now }, Log: slog.New(slog.NewTextHandler(&log, nil))})
		useAll(t, m, now)
		if n := strings.Count(log.String(), "a damaged record is dropped"); n > len(keys) {
			t.Errorf("%d lines: %s", n, &log)
		}
		if err := m.Flush(); err != nil {
			t.Fatal(err)
		}
		for _, key := range keys {
			checkStored(t, s, key, now)
		}
	})
}

// useAll does everything that sessions do.
func useAll(t *testing.T, m *Memory, now time.Time) {
	o, h := m.Outbound(DefaultRules()), m.Handshakes()
	if s := o.Standing(mx1); s.SkipUntil.Sub(now) > longestHold {
		t.Errorf("%+v", s)
	}
	if r := o.Remembered(domain, mx1); r.Expires.Sub(now) > DefaultRules().Remember.Expire+skew {
		t.Errorf("%+v", r)
	}
	o.TLSFailed(domain, mx1, "stalled")
	o.WentClear(domain, mx1)
	o.Rejected(domain, mx1, "no STARTTLS")
	o.AskedForTLS(mx1)
	o.Secured(domain, mx1, valid)
	h.Avoid(alice, mail)
	h.Failed(alice, mail)
	h.UsedForwardSecrecy(alice, mail)
	h.Secured(alice, mail, valid)
	if _, err := m.List(); err != nil {
		t.Error(err)
	}
}

func checkStored(t *testing.T, s store.Store, key string, now time.Time) {
	value, err := s.Get(key)
	if err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	r, _ := parseKey(key)
	record, repaired, err := decode(r.kind, value, now)
	if err != nil || repaired {
		t.Fatalf("%s: %v, repaired %v: %s", key, err, repaired, value)
	}
	if d, ok := record.(*DomainRecord); ok && len(d.Hosts) > maxDomainHosts {
		t.Errorf("%d hosts", len(d.Hosts))
	}
}
