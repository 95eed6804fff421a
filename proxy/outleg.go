package proxy

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"postern/smtpwire"
	"postern/tls/policy"
)

// outLeg is the leg to a mail server of a destination.
type outLeg struct {
	upstream
	g        *Gateway
	host     *host
	decision *policy.Decision
	sec      secured
	verdict  policy.Verdict
	clear    string // why there is no TLS although it was to be tried: "skip", or what failed
	missed   bool   // it has done TLS within 30 days, and did not offer it
	domain   string // that it was opened for
	key      poolKey
	reused   int
	took     phases
	release  func()      // gives its place back
	leave    func() bool // ends what cut began
	until    time.Time   // when the envelope must have been answered
	born     time.Time
	story    story        // that told begins with
	told     slog.Handler // nil before the first line
	messages int
	keptAt   time.Time
	dirty    bool   // has a transaction that must be reset
	session  string // of the client that used it last
}

// shut closes the leg. Where it is in step with the server, leave is taken first.
func (l *outLeg) shut(inStep bool) {
	l.safe()
	if inStep {
		l.quit()
	} else {
		l.close()
	}
	if l.release != nil {
		l.release()
		l.release = nil
	}
}

// cut has the leg closed when ctx ends: who uses it waits for the server, perhaps for
// long. safe is the end of that.
func (l *outLeg) cut(ctx context.Context) {
	l.leave = context.AfterFunc(ctx, func() { l.conn.Conn.Close() })
}

func (l *outLeg) safe() {
	if l.leave != nil {
		l.leave()
		l.leave = nil
	}
}

// The bounds of one connection, so that on a busy destination too it is looked now and then
// where mail should go and what the server can do.
const (
	maxAge      = 5 * time.Minute
	maxMessages = 1000
)

// worn says whether the connection should not be used again. One that is in clear
// because TLS failed is for the message that it was made for (SEM 30).
func (l *outLeg) worn() bool {
	return l.messages >= maxMessages || time.Since(l.born) >= maxAge || l.clear != "" && l.clear != clearNotOffered
}

// command is one that is said to a server. took gets the reply, which is valid for the
// moment, and says whether to go on.
type command struct {
	verb smtpwire.Verb
	line []byte
	took func(smtpwire.Reply) bool
}

// commandsAtOnce bounds what is sent before replies are read: both sides would block
// on each other when the buffers between them are full.
const commandsAtOnce = 100

// converse says commands, many at once where the server takes that, and reads their
// replies. After an error nobody knows where the server is.
func (l *outLeg) converse(until time.Time, commands []command) error {
	window := 1
	if l.pipelining() {
		window = commandsAtOnce
	}
	for goOn := true; goOn && len(commands) > 0; {
		group := commands[:min(window, len(commands))]
		commands = commands[len(group):]
		for _, c := range group {
			l.w.Line(c.line)
		}
		l.conn.within(l.g.o.Timeouts.Command, until)
		l.w.Flush() // a failure shows when the reply is read, and there may be one
		for _, c := range group {
			l.conn.within(l.g.o.Timeouts.Command, until)
			r, err := l.reply()
			if err == nil && !expected(c.verb, r) {
				err = smtpwire.ErrReplySyntax
			}
			if err != nil {
				return err
			}
			goOn = c.took(r) && goOn
			if r.Code == 421 {
				return farewell{r.Bounded(maxRelayed)}
			}
		}
	}
	return nil
}

// gone is why a leg is no more: what the server said last, or the error.
func (l *outLeg) gone(err error) *failure {
	text := "the connection was lost: " + plainly(err)
	if said := (farewell{}); errors.As(err, &said) {
		text = said.Error()
	}
	return failing(CauseUpstreamGone, 451, "4.4.2", l.where()+": "+text, err)
}

// farewell is the end of a connection that the server announced: nothing comes behind
// a 421 (RFC 5321, 3.8).
type farewell struct{ reply smtpwire.Reply }

func (f farewell) Error() string { return "it closed the connection: " + f.reply.String() }

// where names the server in a reply.
func (l *outLeg) where() string { return l.host.name }

// notAs421 keeps a server's 421 from the client, which would leave all destinations
// alone for a while because of one (SEM 20).
func (l *outLeg) notAs421(r smtpwire.Reply) smtpwire.Reply {
	if r.Code != 421 {
		return r
	}
	return l.gone(farewell{r}).reply
}
