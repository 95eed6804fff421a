package app

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"postern/config"
	"postern/store"
	"postern/tls/mtasts"
)

// stranger is a policy as large as policies may be, for a year.
func stranger(t *testing.T, mode string) mtasts.Entry {
	t.Helper()
	text := "version: STSv1\nmode: " + mode + "\n"
	for i := range 130 {
		text += fmt.Sprintf("mx: mx%d.mail.example.com\n", i)
	}
	p := must1(mtasts.ParsePolicy([]byte(text + "max_age: 31557600\n")))
	return mtasts.Entry{ID: "1", Policy: strings.Join(p.Lines, "\n"), Fetched: time.Now()}
}

func TestStrangersCannotPushOutWhatProtectsMail(t *testing.T) {
	for _, mode := range []string{"testing", "enforce"} {
		var log bytes.Buffer
		s := must1(openState(config.State{Kind: "memory"}, slog.New(slog.NewTextHandler(&log, nil)), false))
		cache := policyCache{s}
		must(cache.Put("victim.com", mtasts.Entry{ID: "1", Policy: "version: STSv1\nmode: enforce\nmx: mx.victim.com\nmax_age: 86400\n"}, time.Now().Add(day)))
		finder := newTLSAFinder(tlsaNames{}, s, slog.New(slog.DiscardHandler))
		finder.note(tlsaKey + "victim.com")
		(&trial{memory: s}).prove("192.0.2.1:53")

		const many = 7000 // 28 MiB
		entry, year := stranger(t, mode), time.Now().Add(365*day)
		for i := range many {
			must(cache.Put(fmt.Sprintf("d%d.evil.org", i), entry, year))
		}
		for i := range many * 10 {
			finder.note(fmt.Sprintf("%sd%d.evil.org", tlsaKey, i))
		}
		if _, ok, err := cache.Get("victim.com"); !ok {
			t.Errorf("%s: the policy is gone: %v", mode, err)
		}
		for _, key := range []string{tlsaKey + "victim.com", proofOf("192.0.2.1:53")} {
			if _, err := s.Get(key); err != nil {
				t.Errorf("%s: %s: %v", mode, key, err)
			}
		}
		if got, want := strings.Count(log.String(), "MTA-STS policies to enforce"), map[string]int{"enforce": 1}[mode]; got != want {
			t.Errorf("%s: said %d times:\n%s", mode, got, &log)
		}
		if got := strings.Count(log.String(), "level=ERROR"); got != strings.Count(log.String(), "what=") || !strings.Contains(log.String(), "which destinations have TLSA records") {
			t.Errorf("%s: %s", mode, &log)
		}
	}
}

const day = 24 * time.Hour

// What is crowded is said by its name, and the rooms are those of 64 MiB.
func TestTheRoomsOfTheState(t *testing.T) {
	sum := int64(stateRest)
	for _, q := range stateQuotas {
		sum += q.MaxBytes
		if q.Prefix != "host/" && protections[q.Prefix] == "" {
			t.Errorf("%s has no words", q.Prefix)
		}
	}
	if sum != store.DefaultMaxBytes {
		t.Errorf("%d octets in all", sum)
	}
}
