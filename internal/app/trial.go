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
	"postern/store"
)

const (
	trialEvery = time.Hour
	trialAgain = time.Minute              // as long as it is not well
	provenFor  = 5 * 365 * 24 * time.Hour // after the last good trial; a clock far ahead must not end it
	provenKey  = "dnssec/"                // and the servers
	trialProbe = "ietf.org"               // a name that every server can find
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

	mu        sync.Mutex
	servers   string // that all below is about
	last      outcome
	tested    time.Time // the last trial ended
	answering bool      // they answer who asks without DNSSEC
	found     verdict
	running   chan struct{} // closed when the trial that runs has ended; nil: none does
}

// outcome is what came of one trial.
type outcome struct {
	proven   bool   // what is signed comes with its signatures, and with the proofs for what is not
	stripped bool   // answers came without the signatures that belong to them
	why      string // of what was not as it should be
	clock    string // why nothing can be validated by it; "": it will do
}

// run tries at once and then every hour, until ctx ends.
func (t *trial) run(ctx context.Context) {
	for {
		t.try(ctx)
		timer := time.NewTimer(t.pause())
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// pause is the time to the next trial.
func (t *trial) pause() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.found == validates || t.found == unavailable && t.last.stripped {
		return trialEvery
	}
	return trialAgain
}

// known says whether v was found of the servers that are asked now.
func (t *trial) known(v verdict) bool {
	servers := t.asked()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.servers != servers {
		return v == untested
	}
	return t.found == v
}

func (t *trial) asked() string { return strings.Join(t.lookup.plain.Asks(), " ") }

// vouches says whether the servers let DNSSEC through now, as of a minute ago at most.
func (t *trial) vouches(ctx context.Context) bool {
	t.mu.Lock()
	old := time.Since(t.tested) >= trialAgain
	t.mu.Unlock()
	if old {
		t.try(ctx)
	}
	return t.known(validates)
}

// unavailable is for mail whose answer is not to be believed, though the servers
// have just given it one without DNSSEC: whether to go on with that one. Where nobody
// has tried yet it waits for a trial.
func (t *trial) unavailable(ctx context.Context) bool {
	servers := t.asked()
	t.mu.Lock()
	tried := t.servers == servers && !t.tested.IsZero() && (t.found != untested || time.Since(t.tested) < trialAgain)
	t.mu.Unlock()
	if !tried {
		t.try(ctx)
	}
	t.conclude(servers, func() { t.answering = true })
	return t.known(unavailable)
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
	last := t.ask(ctx)
	if last.proven {
		t.prove(servers)
	}
	answering := !last.proven && t.answers(ctx)
	cut := ctx.Err() != nil && !last.proven // it says nothing
	t.conclude(servers, func() {
		close(t.running)
		t.running = nil
		if cut {
			return
		}
		t.last, t.tested, t.answering = last, time.Now(), answering
	})
}

func (t *trial) ask(ctx context.Context) (o outcome) {
	result := t.lookup.checked.SelfTest(ctx)
	var all []string
	said := ""
	for _, f := range result.Findings {
		text := f.Security.String() + ": " + f.Why
		switch {
		case f.Security == f.Want:
		case text == said: // mostly it is one cause for all
			all = append(all, f.Name+" likewise")
		default:
			all, said = append(all, f.Name+" is "+text), text
		}
	}
	o.proven, o.stripped, o.why = result.OK, result.Stripped, strings.Join(all, "; ")
	o.clock = t.lookup.checked.ClockDoubt()
	return o
}

// answers says whether the servers answer who asks without DNSSEC: those that cannot
// be reached have not held anything back. Those of a network of their own may know
// no name that is known to everybody, so mail may know better.
func (t *trial) answers(ctx context.Context) bool {
	_, err := t.lookup.plain.MX(ctx, trialProbe)
	return !isTemporary(err)
}

// conclude learns something about servers, and draws the conclusion from all that is known.
func (t *trial) conclude(servers string, learn func()) {
	expected := t.expected(servers)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.servers != servers { // what was known is about others
		t.servers, t.last, t.tested, t.answering, t.found = servers, outcome{}, time.Time{}, false, untested
	}
	before, clock := t.found, t.last.clock
	learn()
	t.found = t.judge(expected)
	switch mended := clock != "" && t.last.clock == ""; {
	case t.last.clock != "" && clock == "":
		t.tellClock()
	case t.found != untested && (t.found != before || mended):
		t.tell()
	}
}

// judge is the verdict on what is known. t.mu is held.
//
// Servers that answer and cannot get at the keys of the root are those of a network of its
// own: where they never could, mail goes as without DNSSEC, or none would ever go.
func (t *trial) judge(expected bool) verdict {
	switch {
	case t.tested.IsZero():
		return untested
	case t.last.clock != "": // STANDARDS 118: it says nothing of the servers
		return t.found
	case t.last.proven:
		return validates
	case !t.last.stripped && !t.answering: // they cannot be reached now, which does not change what they are
		return t.found
	case expected:
		return withheld
	}
	return unavailable
}

// expected says whether answers must come with their signatures: the operator has
// said so, or they once did. Where that cannot be read they did not: mail flows
// without a memory.
func (t *trial) expected(servers string) bool {
	cfg := t.lookup.from.cfg
	if cfg.DNSSEC != "validate" {
		return false
	}
	if cfg.DNSSECWritten || t.known(validates) || t.known(withheld) {
		return true
	}
	if t.memory == nil {
		return false
	}
	for server := range strings.FieldsSeq(servers) {
		if _, err := t.memory.Get(proofOf(server)); err == nil {
			return true
		}
	}
	return false
}

// proofOf is the key under which it stands that a server lets DNSSEC through. Each has its own: which
// others there are, and in what order, may change at any time.
func proofOf(server string) string {
	sum := sha256.Sum256([]byte(server))
	return provenKey + hex.EncodeToString(sum[:8])
}

// prove remembers that the servers let DNSSEC through.
func (t *trial) prove(servers string) {
	if t.memory == nil {
		return
	}
	var all []store.Change
	for server := range strings.FieldsSeq(servers) {
		all = append(all, store.Change{Key: proofOf(server), Value: []byte(server), Expires: time.Now().Add(provenFor)})
	}
	if err := t.memory.Write(all...); err != nil {
		t.log.Warn("that the resolver lets DNSSEC through could not be written down", "error", err)
	}
}

// tell says what has changed. t.mu is held.
func (t *trial) tell() {
	attrs := []any{"resolver", t.servers, "found", t.last.why}
	switch t.found {
	case validates:
		t.log.Info("DNSSEC: the resolver lets signatures through", attrs[:2]...)
	case unavailable:
		t.log.Warn("DNSSEC is not available: the resolver does not let signatures through, so there is no DANE, and mail goes as without it", append(attrs,
			"hint", "ask one that lets them through, such as Unbound on this machine (servers), or write dnssec = \"off\" if that is meant")...)
	case withheld:
		t.log.Error("the resolver holds DNSSEC signatures back, and should not: mail waits whose DNS cannot be proved", append(attrs,
			"hint", "somebody may be in between; ask another resolver (servers), or write dnssec = \"off\" to do without DANE")...)
	}
	t.observe(t.found == validates)
}

// tellClock says that nothing can be validated for now. t.mu is held.
func (t *trial) tellClock() {
	t.log.Error("DNSSEC: "+t.last.clock+": mail waits for destinations that are known to have TLSA records or must have them, and goes to others as without DNSSEC",
		"hint", "set the clock; whoever can set it wrong, by forged NTP for example, takes DANE away from destinations never seen before")
	t.observe(false)
}

func (t *trial) observe(validates bool) {
	if o, ok := t.observer.(interface{ DNSSEC(validates bool) }); ok {
		o.DNSSEC(validates)
	}
}

// doubt is why mail cannot be taken as it should, or "".
func (t *trial) doubt() string {
	if t == nil {
		return ""
	}
	if clock := t.lookup.checked.ClockDoubt(); clock != "" {
		return "clock: " + clock + ", so that mail waits for known DANE destinations"
	}
	if !t.known(withheld) {
		return ""
	}
	return "resolver: DNSSEC signatures are held back, so that mail waits whose DNS cannot be proved"
}
