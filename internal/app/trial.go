package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"strings"
	"sync"
	"time"

	"postern/proxy"
	"postern/resolve"
	"postern/store"
)

const (
	trialEvery = time.Hour
	trialAgain = time.Minute          // as long as it is not well
	trialPause = 10 * time.Second     // between two that mail waits for
	provenFor  = 365 * 24 * time.Hour // after the last good trial
	provenKey  = "dnssec/"            // and the servers
	trialProbe = "ietf.org"           // a name that every server can find
)

// verdict is what a trial has found.
type verdict uint8

const (
	untested    verdict = iota
	validates           // signatures come through
	unavailable         // they never have: mail goes as without DNSSEC
	withheld            // they do not, and they should: what is signed is bogus
)

// trial finds out whether the servers let DNSSEC through (SEM 27). That they do not
// is believed only while they never have, and the operator has not asked for DNSSEC: somebody
// in between who strips signatures looks just like a server that knows none.
type trial struct {
	lookup   *lookup
	memory   store.Store // of the servers that have; nil: none
	log      *slog.Logger
	observer proxy.Observer

	mu       sync.Mutex
	found    verdict
	servers  string        // that it is about
	stripped bool          // they answer, without signatures
	answer   bool          // they have answered somebody who asked without DNSSEC
	why      string        // of what was found
	tested   time.Time     // the last one ended
	running  chan struct{} // closed when the one that runs has ended; nil: none does
}

// run tries at once and then every hour, until ctx ends.
func (t *trial) run(ctx context.Context) {
	for {
		t.try(ctx)
		wait := trialAgain
		if t.known(validates) || t.known(unavailable) && t.isStripped() {
			wait = trialEvery
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// known says whether v was found of the servers that are asked now.
func (t *trial) known(v verdict) bool {
	servers := t.asked()
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.found == v && (v == untested || t.servers == servers)
}

func (t *trial) asked() string { return strings.Join(t.lookup.plain.Asks(), " ") }

// unavailable says whether to go on as without DNSSEC. Where nobody knows yet it
// tries, or waits for who does.
func (t *trial) unavailable(ctx context.Context) bool {
	servers := t.asked()
	t.mu.Lock()
	news := !t.answer
	t.answer = true // or nobody would ask
	settled := t.found != untested && t.servers == servers || time.Since(t.tested) < trialPause && t.running == nil && !news
	t.mu.Unlock()
	if !settled {
		t.try(ctx)
	}
	return t.known(unavailable)
}

func (t *trial) isStripped() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stripped
}

func (t *trial) isAnswering() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.answer
}

// try makes one trial, or waits for the one that is under way.
func (t *trial) try(ctx context.Context) {
	t.mu.Lock()
	if running := t.running; running != nil {
		t.mu.Unlock()
		select {
		case <-running:
		case <-ctx.Done():
		}
		return
	}
	t.running = make(chan struct{})
	t.mu.Unlock()
	servers := t.asked()
	found, stripped, why := t.judge(ctx, servers)
	t.mu.Lock()
	defer t.mu.Unlock()
	changed := found != untested && (found != t.found || servers != t.servers)
	if found != untested {
		t.found, t.servers, t.stripped, t.why = found, servers, stripped, why
	}
	close(t.running)
	t.running, t.tested = nil, time.Now()
	if changed {
		t.tell()
	}
}

// judge tries, and says untested where nothing could be found out.
//
// Servers that answer and cannot get at the keys of the root are those of a network of its
// own: where they never could, mail goes as without DNSSEC, or none would ever go.
func (t *trial) judge(ctx context.Context, servers string) (v verdict, stripped bool, why string) {
	result := t.lookup.checked.SelfTest(ctx)
	var all []string
	proven := false
	for _, f := range result.Findings {
		proven = proven || f.Security == resolve.Secure
		if f.Security != f.Want {
			all = append(all, f.Name+" is "+f.Security.String()+": "+f.Why)
		}
	}
	why = strings.Join(all, "; ")
	expected := t.lookup.from.cfg.DNSSEC == "validate" && (t.lookup.from.cfg.DNSSECWritten || t.proven(servers))
	switch {
	case proven:
		t.prove(servers)
		return validates, false, why
	case ctx.Err() != nil || !result.Stripped && !t.answers(ctx) && (expected || !t.isAnswering()):
		return untested, false, why
	case expected:
		return withheld, result.Stripped, why
	}
	return unavailable, result.Stripped, why
}

// answers says whether the servers answer who asks without DNSSEC: those that cannot
// be reached have not held anything back.
func (t *trial) answers(ctx context.Context) bool {
	_, err := t.lookup.plain.MX(ctx, trialProbe)
	return !isTemporary(err)
}

func proofOf(servers string) string {
	sum := sha256.Sum256([]byte(servers))
	return provenKey + hex.EncodeToString(sum[:8])
}

// prove remembers that the servers let DNSSEC through.
func (t *trial) prove(servers string) {
	if t.memory == nil {
		return
	}
	err := t.memory.Write(store.Change{Key: proofOf(servers), Value: []byte(servers), Expires: time.Now().Add(provenFor)})
	if err != nil {
		t.log.Warn("that the resolver lets DNSSEC through could not be written down", "error", err)
	}
}

// proven says whether they ever did. Where that cannot be read they did not: mail
// flows without a memory.
func (t *trial) proven(servers string) bool {
	if t.known(validates) || t.known(withheld) {
		return true
	}
	if t.memory == nil {
		return false
	}
	_, err := t.memory.Get(proofOf(servers))
	return err == nil
}

// tell says what has changed. t.mu is held.
func (t *trial) tell() {
	attrs := []any{"resolver", t.servers, "found", t.why}
	switch t.found {
	case validates:
		t.log.Info("DNSSEC: the resolver lets signatures through", attrs[:2]...)
	case unavailable:
		t.log.Warn("DNSSEC is not available: the resolver does not let signatures through, so there is no DANE, and mail goes as without it", append(attrs,
			"hint", "ask one that lets them through, such as Unbound on this machine (servers), or write dnssec = \"off\" if that is meant")...)
	case withheld:
		t.log.Error("the resolver holds DNSSEC signatures back, and should not: mail for signed domains waits", append(attrs,
			"hint", "somebody may be in between; ask another resolver (servers), or write dnssec = \"off\" to do without DANE")...)
	}
	if o, ok := t.observer.(interface{ DNSSEC(validates bool) }); ok {
		o.DNSSEC(t.found == validates)
	}
}

// doubt is why mail cannot be taken as it should, or "".
func (t *trial) doubt() string {
	if t == nil || !t.known(withheld) {
		return ""
	}
	return "resolver: DNSSEC signatures are held back, so that mail for signed domains waits"
}
