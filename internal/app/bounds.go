package app

import (
	"log/slog"
	"sync"
	"time"

	"postern/store"
)

// stateQuotas is what each kind of entry may take of the state, 64 MiB in all. What is written
// because of what strangers publish, or have mail sent to, has its room beside the others',
// and cannot push out what protects mail: that is pinned.
var stateQuotas = []store.Quota{
	{Prefix: provenKey, MaxBytes: 1 << 20},     // pinned: servers that let DNSSEC through
	{Prefix: tlsaKey, MaxBytes: 8 << 20},       // pinned: who had TLSA records
	{Prefix: policyPrefix, MaxBytes: 20 << 20}, // MTA-STS policies: those to enforce are pinned
	{Prefix: "domain/", MaxBytes: 8 << 20},     // package peers: those that are remembered are pinned
	{Prefix: "host/", MaxBytes: 12 << 20},      // package peers
	{Prefix: seenKey, MaxBytes: 1 << 20},       // pinned: TLSA records of our own
}

// stateRest is for what is in no quota: the clients of inbounds.
const stateRest = 14 << 20

// protections is what the entries are that are pinned, for people.
var protections = map[string]string{
	provenKey:    "that a resolver lets DNSSEC through",
	tlsaKey:      "which destinations have TLSA records",
	seenKey:      "since when TLSA records of our own are published",
	policyPrefix: "MTA-STS policies to enforce",
	"domain/":    "whose certificates must be valid",
}

// crowdedAgain is how often it is said that there is no room for more of the same.
const crowdedAgain = time.Hour

// stateBounds says in the log where what protects mail has no room.
func stateBounds(log *slog.Logger) store.Bounds {
	var mu sync.Mutex
	last := map[string]time.Time{}
	crowded := func(prefix string) {
		mu.Lock()
		defer mu.Unlock()
		if said, ok := last[prefix]; ok && time.Since(said) < crowdedAgain {
			return
		}
		last[prefix] = time.Now()
		log.Error("the state has no room to keep more of what protects mail: what it holds stays, and what is new may be forgotten", "what", protections[prefix],
			"hint", "somebody may have mail sent to very many domains of his own: look in the log for them")
	}
	return store.Bounds{MaxBytes: stateRest, Quotas: stateQuotas, Crowded: crowded}
}
