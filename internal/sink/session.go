package sink

import (
	"bufio"
	"crypto/tls"
	"errors"
	"net"
	"strings"
)

const (
	readSize   = 32 << 10 // the buffer of one session; also the longest command line
	flushAbove = 16 << 10 // pending replies leave at this size even inside a group
)

var (
	errQuit     = errors.New("the client said QUIT")
	errInjected = errors.New("plaintext behind STARTTLS: discarded with its connection")
)

// session is one connection.
type session struct {
	srv    *Server
	nc     net.Conn // the current layer
	raw    net.Conn // the socket
	br     *bufio.Reader
	out    []byte // replies not yet sent
	mode   mode
	secure bool
	ehlo   string // what EHLO is answered in the current layer
	env    Message
	body   body
}

func newSession(srv *Server, nc net.Conn, m mode) *session {
	s := &session{srv: srv, nc: nc, raw: nc, br: bufio.NewReaderSize(nc, readSize), mode: m}
	s.env.RemoteAddr = nc.RemoteAddr()
	return s
}

// run speaks from the greeting to QUIT. Its error says why it ended, nil for
// a QUIT.
func (s *session) run() error {
	if s.mode == implicitTLS {
		if err := s.handshake(); err != nil {
			return err
		}
	}
	err := s.say("220 " + s.srv.name() + " ESMTP sink")
	for err == nil {
		err = s.command()
	}
	if errors.Is(err, errQuit) {
		return nil
	}
	return err
}

// command reads and answers one command.
func (s *session) command() error {
	l, err := s.br.ReadSlice('\n')
	if err != nil {
		return err
	}
	if s.srv.Trace != nil {
		s.srv.Trace.Printf("TLS %v C: %q", s.secure, l)
	}
	switch verb := verbOf(l); verb {
	case "EHLO", "HELO":
		return s.hello(verb, string(l))
	case "XCLI":
		return s.xclient(string(l))
	case "STAR":
		return s.starttls()
	case "MAIL", "RCPT", "RSET":
		return s.envelope(verb, l)
	case "NOOP":
		return s.say("250 2.0.0 ok")
	case "VRFY":
		return s.say("252 2.5.0 send some mail")
	case "DATA":
		return s.data()
	case "BDAT":
		return s.bdat(string(l))
	case "QUIT":
		return s.quit()
	}
	return s.say("500 5.5.2 unknown")
}

// say queues one reply. It is sent when the client has no more commands
// waiting: one write per group (RFC 2920, 3.2).
func (s *session) say(reply string) error {
	s.out = append(s.out, reply...)
	s.out = append(s.out, '\r', '\n')
	if s.br.Buffered() == 0 || len(s.out) > flushAbove {
		return s.flush()
	}
	return nil
}

func (s *session) flush() error {
	if len(s.out) == 0 {
		return nil
	}
	_, err := s.nc.Write(s.out)
	s.out = s.out[:0]
	return err
}

func (s *session) hello(verb, line string) error {
	s.reset()
	if s.srv.OnMessage != nil {
		s.env.Hello = argument(line)
	}
	if verb == "HELO" {
		return s.say("250 " + s.srv.name())
	}
	s.srv.counters.ehlo.Add(1)
	if s.ehlo == "" {
		lines := append([]string{s.srv.name()}, s.srv.capabilities()...)
		if s.mode == offerSTARTTLS && !s.secure {
			lines = append(lines, "STARTTLS")
		}
		s.ehlo = multiline(lines)
	}
	return s.say(s.ehlo)
}

// multiline is the 250 reply of several lines, without the last CRLF
// (RFC 5321, 4.2.1).
func multiline(lines []string) string {
	last := len(lines) - 1
	var b strings.Builder
	for _, l := range lines[:last] {
		b.WriteString("250-" + l + "\r\n")
	}
	return b.String() + "250 " + lines[last]
}

// xclient believes the client, and greets again as Postfix does.
func (s *session) xclient(line string) error {
	s.srv.counters.xclient.Add(1)
	if s.srv.OnMessage != nil {
		attrs := map[string]string{}
		for k, v := range s.env.XCLIENT { // a Message handed out shares the old map
			attrs[k] = v
		}
		parseXCLIENT(line, attrs)
		s.env.XCLIENT = attrs
	}
	return s.say("220 " + s.srv.name() + " ESMTP sink")
}

func (s *session) starttls() error {
	if s.mode != offerSTARTTLS || s.secure {
		return s.say("502 5.5.1 no STARTTLS here")
	}
	// RFC 3207, 4.2: what the client sent before TLS must not be used after.
	if s.br.Buffered() > 0 {
		return errInjected
	}
	reply := "220 2.0.0 go ahead"
	if s.srv.Inject {
		reply += "\r\n250-INJECTED.bench.test\r\n250 INJECTED"
	}
	if err := s.say(reply); err != nil {
		return err
	}
	return s.handshake()
}

func (s *session) handshake() error {
	t := tls.Server(s.raw, s.srv.TLS)
	if err := t.Handshake(); err != nil {
		s.srv.counters.tlsFailed.Add(1)
		return err
	}
	s.srv.counters.handshakes.Add(1)
	if t.ConnectionState().DidResume {
		s.srv.counters.resumed.Add(1)
	}
	s.nc, s.secure, s.ehlo = t, true, ""
	s.env = Message{RemoteAddr: s.env.RemoteAddr, Secured: true}
	s.br.Reset(t)
	return nil
}

// envelope takes any of MAIL, RCPT and RSET, and notes who a message is from
// and for when somebody wants to know.
func (s *session) envelope(verb string, line []byte) error {
	if verb != "RCPT" {
		s.reset()
	}
	if s.srv.OnMessage != nil {
		switch verb {
		case "MAIL":
			s.env.From = parsePath(string(line))
		case "RCPT":
			s.env.To = append(s.env.To, parsePath(string(line)))
		}
	}
	return s.say("250 2.0.0 ok")
}

// reset ends the transaction.
func (s *session) reset() {
	s.env.From, s.env.To = "", nil
	s.body.abandon()
}

func (s *session) quit() error {
	s.srv.counters.quit.Add(1)
	s.out = append(s.out, "221 2.0.0 bye\r\n"...)
	if err := s.flush(); err != nil {
		return err
	}
	return errQuit
}
