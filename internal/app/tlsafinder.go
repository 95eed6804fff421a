package app

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"time"

	"postern/store"
	"postern/tls/dane"
)

const (
	tlsaKey   = "tlsa/"             // and the host and port
	tlsaFor   = 30 * 24 * time.Hour // that a host had usable records counts for so long (SEM 27)
	tlsaAgain = 24 * time.Hour      // after which it is written down again
)

var errWithheld = errors.New("there were some in the last 30 days, and the resolver holds DNSSEC signatures back now")

// tlsaFinder implements policy.DANE. It remembers the hosts that have TLSA records,
// so that they cannot be made to have none by a resolver without DNSSEC (SEM 27).
type tlsaFinder struct {
	lookup dane.Lookup
	names  *lookup
	memory store.Store // nil: nothing is remembered
	log    *slog.Logger
}

// Find implements policy.DANE.
func (t *tlsaFinder) Find(ctx context.Context, mx dane.MXInfo) (dane.Finding, error) {
	f, err := t.lookup.Find(ctx, mx)
	if err != nil || t.memory == nil {
		return f, err
	}
	key := tlsaKey + net.JoinHostPort(mx.Host, strconv.Itoa(int(mx.Port)))
	switch {
	case f.Status == dane.Usable:
		t.note(key)
	case f.Status == dane.NotApplicable && t.names.trial.known(unavailable) && t.noted(key) < tlsaFor:
		return dane.Finding{}, &dane.LookupError{Name: dane.Owner(mx.Host, mx.Port), Type: "TLSA", Err: errWithheld}
	}
	return f, nil
}

// noted is how long ago that was; of what never was, or cannot be read, it is very long.
func (t *tlsaFinder) noted(key string) time.Duration {
	text, err := t.memory.Get(key)
	if err != nil {
		return tlsaFor
	}
	at, err := time.Parse(time.RFC3339, string(text))
	if err != nil {
		return tlsaFor
	}
	return time.Since(at)
}

func (t *tlsaFinder) note(key string) {
	if age := t.noted(key); age >= 0 && age < tlsaAgain {
		return
	}
	now := time.Now().UTC()
	err := t.memory.Write(store.Change{Key: key, Value: []byte(now.Format(time.RFC3339)), Expires: now.Add(tlsaFor)})
	if err != nil {
		t.log.Warn("that a host has TLSA records could not be written down", "error", err)
	}
}
