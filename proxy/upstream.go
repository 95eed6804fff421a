package proxy

import (
	"errors"
	"fmt"
	"time"

	"postern/smtpwire"
)

// upstream is a leg to a server that we speak to as a client.
type upstream struct {
	leg
	address string
	caps    *smtpwire.Capabilities // nil: it knows HELO only, or nobody said hello
}

// pipelining says whether a group of commands may be sent in one write.
func (u *upstream) pipelining() bool { return u.caps.Has("PIPELINING") }

// refusesEHLO: STANDARDS 15. 421 is no such refusal.
func refusesEHLO(r smtpwire.Reply) bool {
	switch r.Code {
	case 500, 501, 502, 504, 550:
		return true
	}
	return false
}

// ask sends one command and reads its reply, which is valid until the next.
func (u *upstream) ask(command string) (smtpwire.Reply, error) {
	u.w.Line([]byte(command))
	if err := u.w.Flush(); err != nil {
		return smtpwire.Reply{}, err
	}
	return u.reply()
}

// reply reads one reply.
func (u *upstream) reply() (smtpwire.Reply, error) {
	return smtpwire.ReadReply(&u.r, nil)
}

// quit takes leave and closes the leg. The reply is not waited for: it can only
// be a farewell, and every reply before it was read, so that closing loses
// nothing that we said.
func (u *upstream) quit() {
	u.w.Line([]byte("QUIT"))
	u.conn.within(lookAfterClient, time.Time{})
	u.conn.cork()
	u.w.Flush()
	u.close()
}

// answeredEarly says whether an answer to the message came with the 354.
func (u *upstream) answeredEarly() bool {
	return u.r.Buffered() > 0 && u.r.Peek()[0] == '2'
}

var errEarlyReply = errors.New("the server spoke before the end of the message")

// quiet is an error when the server has said something that was not asked for.
//
// Over TLS, octets that are there may be a session ticket or a new key, which are
// nothing that was said. So what is there is read, with a moment for the rest of it.
func (u *upstream) quiet() error {
	switch {
	case u.r.Buffered() > 0:
		return errEarlyReply
	case !u.conn.unread():
		return nil
	case u.tls == nil:
		return errEarlyReply
	}
	pace, last := u.conn.pace, u.conn.paceLast
	u.conn.moving(0, time.Time{})
	u.conn.within(restOfRecord, time.Time{})
	err := u.r.Wait()
	u.conn.within(lookAfterClient, time.Time{})
	u.conn.moving(pace, last)
	switch {
	case err == nil:
		return errEarlyReply
	case isTimeout(err):
		return nil
	}
	return err
}

// restOfRecord is the time for what belongs to octets that have come.
const restOfRecord = 20 * time.Millisecond

// lastWords is what a server said that closed while we were still writing to
// it, if it was a refusal; else the zero Reply.
func (u *upstream) lastWords() smtpwire.Reply {
	u.conn.within(lingerTimeout, time.Time{})
	if r, err := u.reply(); err == nil && (r.Class() == 4 || r.Class() == 5) {
		return r.Clone()
	}
	return smtpwire.Reply{}
}

// While a server thinks about a message, we look now and then whether the
// client still waits. One that has closed its side may have closed only that, so
// it gets some time more.
const (
	lookAfterClient = 10 * time.Second
	hungUpGrace     = time.Minute
)

var errClientHungUp = errors.New("the client hung up before the reply to its message")

func isClientGone(err error) bool { return errors.Is(err, errClientHungUp) }

// finalReply waits for the reply to a message (SEM 22). hungUp says whether the
// client that it is for has hung up.
func (u *upstream) finalReply(t Timeouts, hungUp func() bool) (smtpwire.Reply, error) {
	last := time.Now().Add(t.Final)
	var gone time.Time
	for {
		u.conn.within(min(lookAfterClient, t.Final), last)
		err := u.r.Wait()
		now := time.Now()
		switch {
		case err == nil:
			u.conn.within(t.Command, time.Time{})
			r, err := u.reply()
			if err == nil && r.Class() == 3 {
				err = smtpwire.ErrReplySyntax
			}
			return r, err
		case !isTimeout(err) || !now.Before(last.Add(-margin(t.Final))):
			return smtpwire.Reply{}, fmt.Errorf("no reply to the message: %w", err)
		case !hungUp():
		case gone.IsZero():
			gone = now
		case now.Sub(gone) > hungUpGrace:
			return smtpwire.Reply{}, errClientHungUp
		}
	}
}
