package proxy

import (
	"context"
	"log/slog"
	"time"
)

// report writes the session's line and tells the Observer. Quiet is what ended
// before a command came, scanners by the thousand, and the health checks of load
// balancers.
func (s *session) report(e *ending) {
	d := time.Since(s.tally.started)
	s.front.Observer.Disconnected(s.front.Name, Summary{Messages: s.tally.messages, BytesIn: s.down.conn.in, BytesOut: s.down.conn.out,
		Duration: d, Secured: s.sec.active(), Cause: e.cause, ClientEnd: e.cause == "" || e.cause == CauseClientGone})
	level := slog.LevelInfo
	if s.helloForLog() == "" && e.cause == CauseClientGone || s.isHealthCheck(e) {
		level = slog.LevelDebug
	}
	if !s.front.Log.Enabled(context.Background(), level) {
		return
	}
	attrs := make([]slog.Attr, 0, 8)
	if s.tally.login != "" {
		attrs = append(attrs, slog.String("auth", s.tally.login))
	}
	attrs = append(attrs, slog.Int("messages", s.tally.messages), slog.Int("refused", s.tally.refused), slog.Int64("bytes_in", s.down.conn.in),
		slog.Int64("bytes_out", s.down.conn.out), took(d), slog.String("outcome", outcome(e)))
	if e.err != nil {
		attrs = append(attrs, slog.String("error", e.err.Error()))
	}
	slog.New(s.story()).LogAttrs(context.Background(), level, "session", attrs...)
}

// isHealthCheck says whether a load balancer looked whether we are well, and we were.
func (s *session) isHealthCheck(e *ending) bool {
	return s.who.balancer && s.tally.messages == 0 && s.tally.refused == 0 && (e.cause == "" || e.cause == CauseClientGone)
}

// took is a duration in words: as a number, the unit would depend on the format.
func took(d time.Duration) slog.Attr { return slog.String("took", d.Round(time.Microsecond).String()) }

// story is the log with what all lines of this session begin with. It is put into
// words once, until EHLO or TLS change it.
func (s *session) story() slog.Handler {
	if s.tally.story != nil {
		return s.tally.story
	}
	attrs := make([]slog.Attr, 0, 12)
	attrs = append(attrs, s.front.named(), slog.String("session", s.id), slog.String("client", s.who.Client.String()))
	if s.who.Peer != s.who.Client {
		attrs = append(attrs, slog.String("via", s.who.Peer.String()))
	}
	attrs = append(attrs, slog.String("hello", s.helloForLog()))
	s.tally.story = s.front.Log.Handler().WithAttrs(s.role.tell(attrs))
	return s.tally.story
}

func (s *session) helloForLog() string {
	if s.hello.name == "" {
		return s.tally.firstHello
	}
	return s.hello.name
}

func outcome(e *ending) string {
	if e.cause == "" {
		return "quit"
	}
	return string(e.cause)
}

// attrs are the facts of TLS, with Postfix's word for the client's certificate.
func (t secured) attrs(attrs []slog.Attr) []slog.Attr {
	if !t.active() {
		return append(attrs, slog.String("tls", "none"))
	}
	attrs = append(attrs, slog.String("tls", versionName(t.version)), slog.String("cipher", t.cipher))
	if t.group != 0 {
		attrs = append(attrs, slog.String("group", t.group.String()))
	}
	if t.resumed {
		attrs = append(attrs, slog.Bool("resumed", true))
	}
	if t.sni != "" {
		attrs = append(attrs, slog.String("sni", t.sni))
	}
	return append(attrs, slog.String("peer", t.verdict))
}

// reportMessage writes a message's line and tells the Observer. Neither holds
// an address: sender and recipients are in the backend's log, whose reply, with
// its queue id, is here.
func (s *session) reportMessage(m *message) {
	m.Duration = time.Since(m.start)
	m.done(nil)
	s.front.Observer.Message(s.front.Name, m.Message)
	if !s.front.Log.Enabled(context.Background(), s.front.told) {
		return
	}
	attrs := make([]slog.Attr, 0, 5)
	attrs = append(attrs, slog.Int64("size", m.Bytes), slog.Int("recipients", m.Recipients), took(m.Duration), slog.String("reply", forLog(m.reply)))
	if m.Cause != "" {
		attrs = append(attrs, slog.String("cause", string(m.Cause)))
	}
	slog.New(s.story()).LogAttrs(context.Background(), s.front.told, "message", attrs...)
}

// logBackend writes why this client could not be taken to a backend.
func (s *session) logBackend(err error) {
	s.front.Log.Warn("no backend for a client", "inbound", s.front.Name, "session", s.id, "client", s.who.Client.String(), "error", err)
}
