package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"syscall"
	"time"

	"postern/peers"
	"postern/tls/grade"
)

// secured is what is kept of a finished handshake.
type secured struct {
	version  uint16 // 0: no TLS
	suite    uint16
	cipher   string // the suite's name
	group    tls.CurveID
	resumed  bool
	verdict  string
	name     string // of the client's certificate, its subject
	sni      string
	unproven bool // no command came inside TLS yet
}

// facts are what is remembered of a handshake.
func (t secured) facts() peers.Facts {
	return peers.Facts{Version: t.version, Suite: t.suite, Group: t.group, ForwardSecret: grade.ForwardSecret(t.version, t.suite),
		Resumed: t.resumed, Trust: t.verdict}
}

// suiteNames are what tls.CipherSuiteName knows, which makes a list of all for each
// name.
var suiteNames = func() map[uint16]string {
	names := make(map[uint16]string)
	for _, list := range [][]*tls.CipherSuite{tls.CipherSuites(), tls.InsecureCipherSuites()} {
		for _, s := range list {
			names[s.ID] = s.Name
		}
	}
	return names
}()

func suiteName(id uint16) string {
	if name, ok := suiteNames[id]; ok {
		return name
	}
	return tls.CipherSuiteName(id)
}

func (t secured) active() bool { return t.version != 0 }

// secure is the step between the 220 to STARTTLS, or accept, and the first
// command inside TLS. A failed handshake ends the connection (RFC 3207, 4.1).
func (s *inboundSession) secure(ctx context.Context) error {
	_, done := s.in.Observer.Step(ctx, s.in.Name, StepSecure)
	var ahead []byte
	if s.in.Mode == TLSImplicit { // the first octets may have come with a PROXY header
		ahead = s.down.r.Peek()
	}
	s.down.conn.begin(ahead)
	s.down.r.Release()
	s.down.conn.owner = s
	s.down.conn.within(s.in.Timeouts.StartTLS, time.Time{})
	sent, start := s.down.conn.out, time.Now()
	t := tls.Server(s.down.conn, s.in.TLS.forClient(s.submission()))
	err := t.Handshake()
	s.down.conn.owner = nil
	if err != nil {
		cause := handshakeCause(err, s.down.conn.out-sent, s.down.conn.greeted)
		s.in.Handshake.Failed(s.who.Client.Addr(), s.hello.name)
		s.in.Observer.Handshake(s.in.Name, Handshake{Cause: cause, Duration: time.Since(start)})
		done(err)
		return lost(cause, err)
	}
	s.down.tls = t
	s.down.over(t)
	state := t.ConnectionState()
	s.forget()
	s.sec = secured{version: state.Version, suite: state.CipherSuite, cipher: suiteName(state.CipherSuite),
		group: state.CurveID, resumed: state.DidResume,
		sni: traceSNI(state.ServerName), unproven: true, verdict: s.in.TLS.judgeClient(state.PeerCertificates)}
	if len(state.PeerCertificates) > 0 {
		s.sec.name = state.PeerCertificates[0].Subject.CommonName
	}
	s.in.Observer.Handshake(s.in.Name, Handshake{State: &state, Duration: time.Since(start)})
	done(nil)
	return nil
}

// judgeName looks, at each EHLO inside TLS, whether a trusted certificate of the
// client names it.
func (s *inboundSession) judgeName() {
	if s.sec.verdict != verdictTrusted && s.sec.verdict != verdictVerified {
		return
	}
	s.sec.verdict = verdictTrusted
	if leaf := s.down.tls.ConnectionState().PeerCertificates[0]; leaf.VerifyHostname(s.hello.name) == nil {
		s.sec.verdict = verdictVerified
	}
}

// prove notes, at the first command inside TLS, that the handshake succeeded:
// in TLS 1.3 a client's refusal of us may come after its Finished, and some
// clients close without a word (SEM 31).
func (s *inboundSession) prove() {
	if !s.sec.unproven {
		return
	}
	s.sec.unproven = false
	s.in.Handshake.Secured(s.who.Client.Addr(), s.tally.firstHello, s.sec.facts())
}

// disprove notes that no command came, which then is why the session ended.
func (s *inboundSession) disprove(err error) error {
	var e *ending
	if !s.sec.unproven || !errors.As(err, &e) || e.cause != CauseClientGone || s.srv.stopping() {
		return err
	}
	s.sec.unproven = false
	s.in.Handshake.Failed(s.who.Client.Addr(), s.tally.firstHello)
	s.in.Observer.Refused(s.in.Name, CauseClosedOnFlight)
	return lost(CauseClosedOnFlight, err)
}

// alertRecord is the length of a TLS record that holds an alert in clear.
const alertRecord = 7

// handshakeCause puts the failure of a handshake into one of the causes. sent is
// what we have sent in it, in octets; greeted, that there was a ClientHello.
func handshakeCause(err error, sent int64, greeted bool) Cause {
	var notTLS tls.RecordHeaderError
	var op *net.OpError
	switch {
	case isTimeout(err):
		return CauseStalled
	case errors.As(err, &notTLS):
		return CauseNotTLS
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		if sent > alertRecord {
			return CauseClosedOnFlight
		}
		return CauseClientGone
	case errors.As(err, &op) && op.Op == "remote error":
		return CauseRejectedByPeer
	case greeted && sent <= alertRecord: // we gave up before our ServerHello
		return CauseNoSharedCipher
	}
	return CauseHandshake
}
