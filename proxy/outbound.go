package proxy

import (
	"bytes"
	"context"
	"log/slog"
	"net/netip"
	"time"

	"postern/smtpwire"
)

// Outbound is what one outbound does: the gateway that a mail server of ours
// hands its mail to, in clear.
type Outbound struct {
	Front
	From    []netip.Prefix        // who may use it; nobody else (SEM 17)
	Also    func(netip.Addr) bool // who else may; nil: nobody
	LMTP    bool                  // speaks LMTP (RFC 2033): a reply for each recipient, and many destinations
	DSN     bool                  // DSN is offered, although nobody knows yet whether it can be kept (SEM 5)
	Gateway *Gateway

	offer *offer
}

func (out *Outbound) ready() Service {
	c := *out
	c.complete("outbound")
	c.told = slog.LevelDebug
	c.offer = c.compose()
	return &c
}

func (out *Outbound) settings() *Front { return &out.Front }

func (out *Outbound) open(base session) *session {
	s := &outboundSession{session: base, out: out}
	s.role = s
	return &s.session
}

func (out *Outbound) silent(netip.Addr) bool { return false }

// compose makes the EHLO reply. It is the same for all, because the destination is
// not known yet; what that lacks in the end is mended, or refused at RCPT (SEM 5).
func (out *Outbound) compose() *offer {
	list := []smtpwire.Capability{{Keyword: "PIPELINING"}, sizeOffer(out.Message.MaxSize), {Keyword: "8BITMIME"},
		{Keyword: "ENHANCEDSTATUSCODES"}, {Keyword: "SMTPUTF8"}}
	if out.DSN {
		list = append(list, smtpwire.Capability{Keyword: "DSN"})
	}
	if !out.LMTP && out.Gateway.oneDomain() {
		list = append(list, smtpwire.Capability{Keyword: "LIMITS", Params: "RCPTDOMAINMAX=1"}) // RFC 9422
	}
	list = append(list, smtpwire.Capability{Keyword: "CHUNKING"})
	return &offer{caps: smtpwire.MakeCapabilities(list...), reply: ehloReply(out.Hostname, list)}
}

// outboundSession is a session with a mail server of ours. Where a message goes is
// known only when its recipients are: MAIL is held until then (SEM 6, 16).
type outboundSession struct {
	session
	out      *Outbound
	original netip.AddrPort // that the client wanted to reach, with RouteOriginal

	mail    *heldMail    // nil: no transaction
	asked   []*recipient // of this transaction, their replies not known yet
	until   time.Time    // when the client must have them
	parcels []*parcel    // of this transaction
	rcpts   []*recipient // of this transaction that were accepted, in order
	chunks  *outChunks   // a message that comes with BDAT is under way
}

// heldMail is a MAIL command whose destination is not known yet.
type heldMail struct {
	line     []byte
	envelope smtpwire.Envelope // parts of line
	utf8     bool
	size     int64 // 0: not said
}

// recipient is one RCPT command and what became of it.
type recipient struct {
	line     []byte
	envelope smtpwire.Envelope // parts of line
	domain   string            // A-label; empty where the address has none
	reply    smtpwire.Reply    // to RCPT
	parcel   *parcel
}

// begin is the whole session: there is no TLS on this side.
func (s *outboundSession) begin(ctx context.Context) {
	who, conn := s.who, s.down.conn
	end, loop := s.out.Gateway.o.Loops.arrive(who.Peer, func() (netip.AddrPort, bool) { return s.out.Gateway.redirectedTo(who, conn) })
	defer end()
	err := s.welcome(ctx, loop)
	if err == nil {
		err = s.talk(ctx)
	}
	s.finish(err)
}

// welcome is everything up to the 220. Who is not named in from gets no further:
// the gateway would relay for the world. It is told to try later, because nothing is
// wrong with the mail.
func (s *outboundSession) welcome(ctx context.Context, loop bool) error {
	if err := s.accept(); err != nil {
		return err
	}
	if loop { // SEM 24
		s.front.Log.Error("connection refused: postern itself has opened it, and "+hintLoop, s.front.named(), "client", s.who.Client.String())
		return s.refuse(CauseLoop, replyLoop)
	}
	if !s.out.lets(s.who.Client.Addr()) {
		s.front.Log.Warn("client refused: its address is not in from", s.front.named(), "client", s.who.Client.String())
		return s.refuse(CauseFrom, smtpwire.NewReply(421, "4.7.1", s.who.Client.Addr().Unmap().String()+" may not send through this gateway"))
	}
	if s.out.Gateway.o.Route == RouteOriginal {
		to, ok := s.out.Gateway.redirectedTo(s.who, s.down.conn)
		if !ok || s.out.Gateway.ours(to) {
			s.front.Log.Warn("connection refused: it was not redirected here", s.front.named(), "client", s.who.Client.String(), "to", s.who.Local.String())
			return s.refuse(CauseNotRedirected, replyNotRedirected)
		}
		s.original = to
	}
	return s.greet(ctx)
}

// lets says whether a client may use the gateway.
func (out *Outbound) lets(client netip.Addr) bool {
	return contains(out.From, client) || out.Also != nil && out.Also(client.Unmap())
}

func (s *outboundSession) heard() {}

// excuses implements role. What comes of the recipients or of the message is nothing
// that our own mail server does wrong; it would take the 421 in the end for all
// destinations (SEM 20).
func (s *outboundSession) excuses(r smtpwire.Reply) bool {
	return r.Code > 504 || bytes.Equal(r.Lines, replyNoRecipientsLMTP.Lines)
}

// relayed is never asked: no answer of an outbound waits in an upstream leg.
func (s *outboundSession) relayed(answer, []byte) (smtpwire.Reply, bool, error) {
	return replyBackendClosed, false, end(CauseBackendGone, smtpwire.Reply{})
}

func (s *outboundSession) drop(why Cause) {
	s.abandonAll(why)
	s.out.Gateway.pool.ended(s.id)
}

func (s *outboundSession) cut() {
	for _, p := range s.parcels {
		if p.leg != nil {
			p.leg.conn.Close()
			p.leg.shut(false)
			p.leg = nil
		}
	}
	s.out.Gateway.pool.ended(s.id)
}

// tell implements role.
func (s *outboundSession) tell(attrs []slog.Attr) []slog.Attr {
	if s.original.IsValid() {
		attrs = append(attrs, slog.String("original", s.original.String()))
	}
	return attrs
}

// reset ends the transaction. Legs within a message are closed, the others can take
// another one (SEM 22, 23).
func (s *outboundSession) reset() {
	for _, p := range s.parcels {
		p.settleLeg()
	}
	s.mail, s.asked, s.parcels, s.rcpts, s.chunks = nil, nil, nil, nil, nil
}

// abandonAll is reset for a transaction that was not finished: deliveries that had
// begun are reported.
func (s *outboundSession) abandonAll(why Cause) {
	if ch := s.chunks; ch != nil && ch.refusal.Code == 0 {
		ch.msg.Bytes, ch.msg.Cause = ch.body.Size(), why
		s.reportMessage(ch.msg)
	}
	for _, p := range s.parcels {
		p.abandoned(why)
	}
	s.reset()
}

// deadline is when the client must have its replies to the RCPTs of the group.
func (s *outboundSession) deadline() time.Time { return s.until }
