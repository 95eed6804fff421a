package proxy

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

// poolKey is what two messages must have in common to go over one connection: the
// server, what the decision asks, and who we say that we are (SEM 23). PROXY headers
// are never sent by an outbound.
type poolKey struct {
	host     string
	address  netip.Addr // set where the client has chosen it
	port     uint16
	decision string
	hello    string
	session  string // set where connections are not kept beyond a client's session
}

func (g *Gateway) poolKey(h *host, who sender) poolKey {
	k := poolKey{host: h.name, port: h.port, decision: h.decision.Key(), hello: who.hello}
	if h.addrs != nil {
		k.address = h.addrs[0]
	}
	if g.o.ReuseIdle <= 0 {
		k.session = who.session
	}
	return k
}

// The bounds of what is kept.
const (
	keptPerKey = 10
	keptInAll  = 1000
	// keptForSession is how long a connection is kept for its own session where
	// reuse is off.
	keptForSession = 5 * time.Second
)

// pool keeps connections that ended a transaction cleanly, for a moment.
type pool struct {
	idle time.Duration

	mu   sync.Mutex
	kept map[poolKey][]*outLeg // the latest last
	// ofSession are the keys that end with a session.
	ofSession map[string]map[poolKey]bool
	count     int
	closed    bool
	sweep     *time.Timer // nil while nothing is kept
}

func newPool(idle time.Duration) *pool {
	if idle <= 0 {
		idle = keptForSession
	}
	return &pool{idle: idle, kept: make(map[poolKey][]*outLeg), ofSession: make(map[string]map[poolKey]bool)}
}

// put keeps a connection; one that there is no room for is ended.
func (p *pool) put(l *outLeg) {
	p.mu.Lock()
	if p.closed || p.count >= keptInAll || len(p.kept[l.key]) >= keptPerKey {
		p.mu.Unlock()
		l.shut(true)
		return
	}
	defer p.mu.Unlock()
	l.keptAt = time.Now()
	p.kept[l.key] = append(p.kept[l.key], l)
	p.count++
	if s := l.key.session; s != "" {
		if p.ofSession[s] == nil {
			p.ofSession[s] = make(map[poolKey]bool)
		}
		p.ofSession[s][l.key] = true
	}
	if p.sweep == nil {
		p.sweep = time.AfterFunc(p.idle, p.expire)
	}
}

// take gives the connection that was kept last, or nil. One that the server has
// closed, or said something on, is of no use.
func (p *pool) take(k poolKey) *outLeg {
	for {
		l := p.pop(k)
		if l == nil {
			return nil
		}
		if l.r.Buffered() == 0 && !l.conn.stirred() || !l.conn.hungUp() && l.quiet() == nil {
			return l
		}
		l.shut(false)
	}
}

func (p *pool) pop(k poolKey) *outLeg {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.kept[k]
	if len(all) == 0 {
		return nil
	}
	l := all[len(all)-1]
	p.count--
	if p.kept[k] = all[:len(all)-1]; len(all) == 1 {
		delete(p.kept, k)
	}
	return l
}

// expire ends what was kept for too long.
func (p *pool) expire() {
	p.mu.Lock()
	var over []*outLeg
	now := time.Now()
	for k, all := range p.kept {
		n := 0
		for n < len(all) && now.Sub(all[n].keptAt) >= p.idle {
			n++
		}
		over = append(over, all[:n]...)
		if p.kept[k] = all[n:]; n == len(all) {
			delete(p.kept, k)
		}
	}
	p.count -= len(over)
	if p.sweep = nil; p.count > 0 {
		p.sweep = time.AfterFunc(max(p.idle/4, 10*time.Millisecond), p.expire)
	}
	p.mu.Unlock()
	takeLeave(over)
}

// endOne ends a connection to a destination that is not in use, to make room.
func (p *pool) endOne(destination string) {
	p.mu.Lock()
	var over *outLeg
	for k, all := range p.kept {
		for i, l := range all {
			if l.domain != destination || over != nil {
				continue
			}
			over = l
			p.count--
			if p.kept[k] = slices.Delete(all, i, i+1); len(all) == 1 {
				delete(p.kept, k)
			}
			break
		}
	}
	p.mu.Unlock()
	if over != nil {
		over.shut(true)
	}
}

// endAll ends every connection that is not in use, to make room.
func (p *pool) endAll() {
	p.mu.Lock()
	all := p.kept
	p.kept, p.count = make(map[poolKey][]*outLeg), 0
	p.mu.Unlock()
	for _, legs := range all {
		takeLeave(legs)
	}
}

func takeLeave(legs []*outLeg) {
	for _, l := range legs {
		l.shut(true)
	}
}

// ended ends what was kept for one client's session alone.
func (p *pool) ended(session string) {
	p.mu.Lock()
	var over []*outLeg
	for k := range p.ofSession[session] {
		over = append(over, p.kept[k]...)
		p.count -= len(p.kept[k])
		delete(p.kept, k)
	}
	delete(p.ofSession, session)
	p.mu.Unlock()
	takeLeave(over)
}

// close ends everything, and keeps nothing from now on.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	if p.sweep != nil {
		p.sweep.Stop()
		p.sweep = nil
	}
	p.mu.Unlock()
	p.endAll()
}
