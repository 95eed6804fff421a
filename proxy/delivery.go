package proxy

import (
	"context"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"

	"postern/smtpwire"
	"postern/tls/level"
	"postern/tls/policy"
)

// Why there is no TLS where it was to be tried, apart from what can fail.
const (
	clearNotOffered = "not offered"
	clearSkip       = "skip"
	clearFallback   = "fallback" // the client was told that this attempt goes in clear
)

// report tells of an attempt with the part's server.
func (p *parcel) report(r smtpwire.Reply, cause Cause) {
	l := p.leg
	d := Delivery{Destination: p.dest.domain, Host: l.host.name, Address: l.address, Decision: l.decision,
		TLS: l.token(), Cipher: l.sec.cipher, Version: l.sec.version, Group: l.sec.group, Resumed: l.sec.resumed, Reused: l.reused > 0, Clear: l.whyClear(), Would: l.verdict.Would,
		DNS: l.took.dns, Connect: l.took.connect, Handshake: l.took.tls, SMTP: l.took.smtp,
		Code: r.Code, DSN: enhancedOf(r), Recipients: p.accepted, Bytes: p.message.Bytes, Cause: cause}
	if d.Rejected = p.rejected; p.rejected > 0 && p.accepted > 0 {
		d.Rejection = p.rejection.Quote()
	}
	if l.sec.active() {
		d.Trust = l.verdict.Trust.String()
	}
	p.s.out.Gateway.tell(d, sender{session: p.s.id, client: p.s.who.Client.String()}, l, r)
	l.took = phases{} // another message on it has its own
}

// report tells of an attempt that did not come to a server that could be used.
func (g *Gateway) report(dest *destination, h *host, who sender, f *failure, took phases) {
	d := Delivery{Destination: dest.domain, DNS: took.dns, Connect: took.connect, Handshake: took.tls, SMTP: took.smtp,
		Code: f.reply.Code, DSN: enhancedOf(f.reply), Cause: f.cause}
	if h != nil {
		d.Host, d.Address, d.Decision, d.TLS = h.name, f.address, h.decision, h.token(f)
	}
	g.tell(d, who, nil, f.reply)
}

// whyClear is clear as one of a few words, without what the server said.
func (l *outLeg) whyClear() string {
	switch l.clear {
	case "", clearSkip, clearFallback:
		return l.clear
	case clearNotOffered:
		return "not_offered"
	}
	return "failed"
}

// token is Postfix 3.11's word for the TLS of a delivery: the level that was asked
// for, with ":none" where mail went in clear although TLS was to be tried.
func (l *outLeg) token() string {
	switch asked := l.decision.Level.String(); {
	case l.sec.active() || l.decision.Level == level.None:
		return asked
	default:
		return asked + ":none"
	}
}

// token for an attempt that failed: "?" where the level could not be found out, "/!"
// and what was missing where it was not met.
func (h *host) token(f *failure) string {
	asked := h.decision.Level.String()
	switch f.cause {
	case CausePolicy:
		return asked + "?"
	case CauseNoSTARTTLS:
		return asked + "/!starttls"
	case CauseTLS, CauseInjection:
		return asked + "/!handshake"
	case CauseCertificate:
		return asked + "/!certificate"
	}
	return asked
}

// tell writes the line of an attempt and tells the Observer. The reply has the
// server's queue id; addresses of mail are in neither.
func (g *Gateway) tell(d Delivery, who sender, l *outLeg, r smtpwire.Reply) {
	g.o.Observer.Delivery(g.o.Outbound, d)
	lvl := slog.LevelInfo
	if d.Cause == CauseCertificate || d.Cause == CauseNoSTARTTLS || d.Cause == CauseInjection || d.Cause == CausePolicy || d.Would != "" || l != nil && (l.verdict.Grace || l.missed) {
		lvl = slog.LevelWarn
	}
	ctx := context.Background()
	if !g.o.Log.Enabled(ctx, lvl) {
		return
	}
	attrs := make([]slog.Attr, 0, 24)
	handler := g.o.Log.Handler()
	if l != nil && l.messages > 0 { // of many messages most of the line is the same
		handler = l.storyOf(handler, d, who, g)
	} else {
		attrs = d.identity(attrs, who, g)
	}
	attrs = d.outcome(attrs, r)
	if l != nil {
		attrs = l.attrs(attrs)
	}
	slog.New(handler).LogAttrs(ctx, lvl, "delivery", attrs...)
}

// story is what the start of a delivery's line depends on, which is put into words once
// for all messages of one session on one leg.
type story struct {
	session, destination, tls, decision string
	source                              policy.Source
}

func (l *outLeg) storyOf(h slog.Handler, d Delivery, who sender, g *Gateway) slog.Handler {
	now := story{session: who.session, destination: d.Destination, tls: d.TLS, decision: d.Decision.Key(), source: d.Decision.Source}
	if l.told == nil || now != l.story {
		l.told, l.story = h.WithAttrs(d.identity(nil, who, g)), now
	}
	return l.told
}

// identity is what the line of an attempt begins with: who, where to, and how safely.
func (d *Delivery) identity(attrs []slog.Attr, who sender, g *Gateway) []slog.Attr {
	attrs = append(attrs, slog.String("outbound", g.o.Outbound), slog.String("session", who.session), slog.String("client", who.client),
		slog.String("destination", d.Destination))
	if d.Host != "" {
		attrs = append(attrs, slog.String("host", d.Host))
	}
	if d.Address != "" {
		attrs = append(attrs, slog.String("address", d.Address))
	}
	return d.attrs(attrs)
}

// outcome is what came of an attempt.
func (d *Delivery) outcome(attrs []slog.Attr, r smtpwire.Reply) []slog.Attr {
	if d.Reused {
		attrs = append(attrs, slog.Bool("reused", true))
	}
	attrs = phase(attrs, "dns", d.DNS)
	attrs = phase(attrs, "connect", d.Connect)
	attrs = phase(attrs, "handshake", d.Handshake)
	attrs = phase(attrs, "smtp", d.SMTP)
	if d.Bytes > 0 {
		attrs = append(attrs, slog.Int64("size", d.Bytes))
	}
	attrs = append(attrs, slog.Int("recipients", d.Recipients), slog.String("dsn", d.DSN), slog.String("reply", forLog(r)))
	if d.Rejected > 0 {
		attrs = append(attrs, slog.Int("rejected", d.Rejected))
	}
	if d.Rejection != "" {
		attrs = append(attrs, slog.String("rejection", d.Rejection))
	}
	if d.Cause != "" {
		attrs = append(attrs, slog.String("cause", string(d.Cause)))
	}
	return attrs
}

// maxLogged is more than a reply of our own has, in octets, and enough of a stranger's.
const maxLogged = 600

func forLog(r smtpwire.Reply) string {
	s := r.String()
	if len(s) > maxLogged {
		s = s[:maxLogged] + "…"
	}
	return s
}

// phase is the time that a part of a delivery took, where there was that part.
func phase(attrs []slog.Attr, name string, d time.Duration) []slog.Attr {
	if d == 0 {
		return attrs
	}
	return append(attrs, slog.String(name, d.Round(10*time.Microsecond).String()))
}

// attrs are the decision and what came of it.
func (d *Delivery) attrs(attrs []slog.Attr) []slog.Attr {
	if d.Decision == nil {
		return attrs
	}
	attrs = append(attrs, slog.String("tls", d.TLS), slog.String("source", string(d.Decision.Source)))
	if d.Decision.Place != "" && d.Decision.Source == policy.SourceOperator {
		attrs = append(attrs, slog.String("rule", d.Decision.Place))
	}
	if d.Version == 0 {
		return attrs
	}
	attrs = append(attrs, slog.String("peer", d.Trust), slog.String("version", versionName(d.Version)), slog.String("cipher", d.Cipher))
	if d.Group != 0 {
		attrs = append(attrs, slog.String("group", d.Group.String()))
	}
	if d.Resumed {
		attrs = append(attrs, slog.Bool("resumed", true))
	}
	return attrs
}

// attrs are what is strange about a leg.
func (l *outLeg) attrs(attrs []slog.Attr) []slog.Attr {
	if l.clear != "" {
		attrs = append(attrs, slog.String("clear", l.clear))
	}
	if l.missed {
		attrs = append(attrs, slog.String("warning", "this server has offered STARTTLS before, and does not now"))
	}
	if l.verdict.Would != "" {
		attrs = append(attrs, slog.String("would_refuse", l.verdict.Would))
	}
	if l.verdict.Grace {
		attrs = append(attrs, slog.String("warning", "the certificate has expired; it passes for a while because the destination is remembered"))
	}
	return attrs
}

// enhancedOf is the enhanced status code of a reply (RFC 3463), or what its class says.
func enhancedOf(r smtpwire.Reply) string {
	word, _, _ := strings.Cut(r.Text(), " ")
	if parts := strings.Split(word, "."); len(parts) == 3 && len(word) <= 11 && strings.Trim(word, "0123456789.") == "" {
		return word
	}
	switch r.Class() {
	case 2:
		return "2.0.0"
	case 5:
		return "5.0.0"
	}
	return "4.0.0"
}

// warnOnce says whether a day has passed since the last warning about split messages
// (SEM 18).
func (g *Gateway) warnOnce() bool {
	now := time.Now().Unix()
	last := g.warned.Load()
	return now-last >= 24*60*60 && g.warned.CompareAndSwap(last, now)
}

// caught keeps a defect of ours in one delivery from ending all others.
func (g *Gateway) caught() {
	if p := recover(); p != nil {
		g.o.Log.Error("internal error, please report it", "outbound", g.o.Outbound, "panic", p, "stack", string(debug.Stack()))
	}
}
