package proxy

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"postern/smtpwire"
)

// Convey says how the backend learns who the client is (SEM 9, 10).
type Convey uint8

// The ways.
const (
	ConveyNone Convey = iota
	ConveyProxyV1
	ConveyProxyV2
	ConveyXCLIENT
	ConveyTransparent // it sees the client's own address on the connection
)

// BackendOptions is what NewBackends is made of.
type BackendOptions struct {
	Addresses  []string // host:port
	RoundRobin bool     // else the first that works
	Convey     Convey
	Inbound    string // name, for Observer and log
	Hostname   string // EHLO name of probes
	Timeouts   Timeouts
	Names      NameLookup // for ConveyXCLIENT
	Mark       uint32     // of our sockets (SO_MARK); 0: none
	Observer   Observer
	Log        *slog.Logger
}

// Backends are the servers behind an inbound: where they are, which of them
// work, and what they can do as their last EHLO said it.
type Backends struct {
	o       BackendOptions
	targets []*target
	turn    atomic.Uint32
	common  atomic.Pointer[smtpwire.Capabilities]
	auth    atomic.Bool // AUTH was offered to somebody

	mu     sync.Mutex // of what follows
	offers map[offerKey]*offer
}

// target is one backend.
type target struct {
	address string
	down    atomic.Bool
	suspect atomic.Bool // it refused a client; a probe will tell
	seen    atomic.Pointer[seen]
}

// seen is a backend's last EHLO reply. Backends say the same each time but for the
// first line, which may greet the client: so it is parsed once.
type seen struct {
	lines []byte
	caps  *smtpwire.Capabilities
}

// NewBackends makes the backends of an inbound; nothing is dialled before Run.
func NewBackends(o BackendOptions) *Backends {
	b := &Backends{o: o, offers: make(map[offerKey]*offer)}
	for _, a := range o.Addresses {
		b.targets = append(b.targets, &target{address: a})
	}
	return b
}

// probeEvery is the time between probes of a backend that does not work.
const probeEvery = 10 * time.Second

// Run learns what the backends can do, and looks after those that are down,
// until ctx ends.
func (b *Backends) Run(ctx context.Context) {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		for _, t := range b.targets {
			if suspect := t.suspect.Swap(false); suspect || t.seen.Load() == nil || t.down.Load() {
				b.probe(ctx, t)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// probe speaks with one backend as SEM 2 says: as it will see clients, with no
// client behind it.
func (b *Backends) probe(ctx context.Context, t *target) {
	defer func() {
		if p := recover(); p != nil {
			b.o.Log.Error("internal error, please report it", "inbound", b.o.Inbound, "panic", p, "stack", string(debug.Stack()))
		}
	}()
	up, err := b.reach(ctx, t, introduction{hello: b.o.Hostname, probe: true})
	if err == nil && up.verdict.Code != 0 {
		up.close()
		err = refusal{cause: CauseBackendGreeting, reply: up.verdict}
	}
	if err != nil {
		if ctx.Err() == nil {
			b.failed(t, err)
		}
		return
	}
	up.quit()
}

// Ready says whether some backend has been seen and works.
func (b *Backends) Ready() bool {
	for _, t := range b.targets {
		if t.seen.Load() != nil && !t.down.Load() {
			return true
		}
	}
	return false
}

// known says whether any backend has ever been seen.
func (b *Backends) known() bool { return b.common.Load() != nil }

// order is the targets in the order to try: those that work first.
func (b *Backends) order() []*target {
	if len(b.targets) == 1 {
		return b.targets
	}
	first := 0
	if b.o.RoundRobin {
		first = int(b.turn.Add(1)-1) % len(b.targets)
	}
	order := make([]*target, 0, len(b.targets))
	for _, down := range []bool{false, true} {
		for i := range b.targets {
			if t := b.targets[(first+i)%len(b.targets)]; t.down.Load() == down {
				order = append(order, t)
			}
		}
	}
	return order
}

// dial opens a connection to a backend and introduces the client. The error is
// that of the last backend tried.
func (b *Backends) dial(ctx context.Context, who introduction) (up *backendLeg, err error) {
	targets := b.suited(who)
	if len(targets) == 0 {
		return nil, refusal{cause: CauseBackendXCLIENT, hint: hintFamily}
	}
	for _, t := range targets {
		if up, err = b.reach(ctx, t, who); err == nil {
			b.works(t)
			return up, nil
		}
		if ctx.Err() != nil { // it is us who stop
			return nil, err
		}
		if r := (refusal{}); errors.As(err, &r) && r.personal {
			// Only this client may be meant: it must not close the door for others.
			b.o.Observer.BackendFailed(b.o.Inbound, t.address, r.cause)
			t.suspect.Store(true)
			continue
		}
		b.failed(t, err)
	}
	return nil, err
}

// failed notes that a backend does not work, and says so once.
func (b *Backends) failed(t *target, err error) {
	b.o.Observer.BackendFailed(b.o.Inbound, t.address, causeOf(err))
	if !t.down.Swap(true) {
		b.o.Log.Warn("backend does not answer as it should", "inbound", b.o.Inbound, "backend", t.address, "error", err)
	}
}

// works notes that a backend works, and says so where it did not.
func (b *Backends) works(t *target) {
	if t.down.Load() && t.down.Swap(false) {
		b.o.Log.Info("backend is back", "inbound", b.o.Inbound, "backend", t.address)
	}
}

var crlf = []byte("\r\n")

// learn keeps what an EHLO reply offered, and gives it back in parsed form.
func (b *Backends) learn(t *target, r smtpwire.Reply) *smtpwire.Capabilities {
	_, lines, _ := bytes.Cut(r.Lines, crlf)
	if old := t.seen.Load(); old != nil && bytes.Equal(old.lines, lines) {
		b.works(t)
		return old.caps
	}
	s := &seen{lines: bytes.Clone(lines), caps: smtpwire.ParseCapabilities(r)}
	b.works(t)
	if s.caps.Has("AUTH") {
		b.auth.Store(true)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	t.seen.Store(s)
	b.common.Store(b.intersection())
	clear(b.offers)
	return s.caps
}

// intersection is what all backends that have been seen can do.
func (b *Backends) intersection() *smtpwire.Capabilities {
	var all []*smtpwire.Capabilities
	for _, t := range b.targets {
		if s := t.seen.Load(); s != nil {
			all = append(all, s.caps)
		}
	}
	if len(all) == 1 {
		return all[0]
	}
	var list []smtpwire.Capability
	for _, c := range all[0].List() {
		if params, ok := commonParams(c, all); ok {
			list = append(list, smtpwire.Capability{Keyword: c.Keyword, Params: params})
		}
	}
	return smtpwire.MakeCapabilities(list...)
}

// commonParams finds what all offer of one capability: the least SIZE, the
// mechanisms of AUTH that all have; others must be the same everywhere.
func commonParams(c smtpwire.Capability, all []*smtpwire.Capabilities) (string, bool) {
	params := c.Params
	for _, other := range all[1:] {
		p, ok := other.Get(c.Keyword)
		switch {
		case !ok:
			return "", false
		case c.Keyword == "SIZE":
			params = lesserSize(params, p)
		case c.Keyword == "AUTH":
			params = commonWords(params, p)
		case params != p:
			return "", false
		}
	}
	return params, c.Keyword != "AUTH" || params != ""
}

// lesserSize compares two values of SIZE; none and 0 are no limit.
func lesserSize(a, b string) string {
	x, _ := smtpwire.ParseSize([]byte(a))
	y, _ := smtpwire.ParseSize([]byte(b))
	if x == 0 || y != 0 && y < x {
		x = y
	}
	return strconv.FormatInt(x, 10)
}

func commonWords(a, b string) string {
	var both []string
	for _, w := range strings.Fields(a) {
		for _, v := range strings.Fields(b) {
			if strings.EqualFold(w, v) {
				both = append(both, w)
				break
			}
		}
	}
	return strings.Join(both, " ")
}
