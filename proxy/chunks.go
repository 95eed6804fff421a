package proxy

import (
	"context"
	"fmt"
	"time"

	"postern/smtpwire"
)

// chunked is a message that comes with BDAT (RFC 3030). It is passed on in the
// same chunks where the backend knows them and nothing has to be mended, else
// with DATA.
type chunked struct {
	body *smtpwire.Body
	msg  *message
	dots bool // goes out with DATA
	dead bool // refused: the rest is read and thrown away
	// partial: the backend has taken a part and refused another. Until RSET, what
	// came later would be joined to it (RFC 3030, 2).
	partial bool
}

// maxChunk is the largest chunk that is read even if it is refused, in octets.
const maxChunk = 1 << 40

// bdat answers BDAT. Its octets are data whatever becomes of the message: they
// are always read.
func (s *inboundSession) bdat(ctx context.Context, c smtpwire.Command) (answer, error) {
	size, last, err := s.chunkSize(c)
	if err != nil {
		return answer{}, err
	}
	if s.tx.chunks == nil {
		if r, err := s.beginChunks(ctx); err != nil {
			return answer{}, err
		} else if r.Code != 0 {
			return s.discardChunk(size, last, r)
		}
	}
	ch := s.tx.chunks
	if ch.dead {
		return s.discardChunk(size, last, replyNoMessage)
	}
	if ch.dots {
		return answer{}, s.stuffChunk(ch, size, last)
	}
	return answer{}, s.passChunk(ch, size, last)
}

// beginChunks is what happens at the first chunk. A reply says why the message
// cannot come.
func (s *inboundSession) beginChunks(ctx context.Context) (smtpwire.Reply, error) {
	switch {
	case !s.tx.open || !s.live():
		return replyMailFirst, nil
	case s.tx.recipients == 0:
		return replyNoRecipients, nil
	}
	ch := &chunked{body: s.newBody()}
	ch.dots = !s.up.caps.Has("CHUNKING") || s.newlines() == smtpwire.Normalize
	if ch.dots {
		r, err := s.askData()
		if err != nil {
			return r, err
		}
		if r.Code != 354 {
			s.tx.chunks = &chunked{dead: true}
			return r.Clone(), nil
		}
	}
	ch.msg = s.beginMessage(ctx, s.tx.recipients)
	s.tx.chunks = ch
	return smtpwire.Reply{}, nil
}

// discardChunk reads a chunk that nobody wants, and answers it.
func (s *inboundSession) discardChunk(size int64, last bool, r smtpwire.Reply) (answer, error) {
	if err := s.readChunk(size); err != nil {
		return answer{}, err
	}
	if r.Code == 421 {
		return answer{}, end(CauseBackendGone, r)
	}
	if ch := s.tx.chunks; last && ch != nil && !ch.partial {
		s.tx = transaction{open: s.live(), recipients: s.tx.recipients}
	}
	return own(r), nil
}

// chunkSize is what BDAT announces. The error ends the session: without a size nobody
// knows where the next command begins.
func (s *session) chunkSize(c smtpwire.Command) (size int64, last bool, err error) {
	switch size, last, err = smtpwire.ParseChunk(c.Args); {
	case err != nil:
		err = s.refuse(CausePipelining, replySyntax)
	case size > maxChunk:
		err = s.refuse(CauseMessageTooBig, replyTooBig)
	}
	return size, last, err
}

// readChunk reads the octets of a chunk that nobody wants.
func (s *session) readChunk(size int64) error {
	s.down.conn.moving(s.front.Timeouts.Data, s.hardEnd())
	err := smtpwire.DiscardChunk(&s.down.r, size)
	s.down.conn.moving(0, time.Time{})
	switch {
	case isTimeout(err):
		return &ending{reply: replyIdle, cause: CauseSlow, err: err}
	case err != nil:
		return lost(CauseClientGone, err)
	}
	s.tally.behind = s.down.r.Buffered() > 0
	return nil
}

// passChunk passes a chunk on as it came. The trace header goes into the first.
func (s *inboundSession) passChunk(ch *chunked, size int64, last bool) error {
	if err := s.inStep(); err != nil {
		return err
	}
	header := []byte(nil)
	if s.in.Message.TraceHeader && ch.body.Size() == 0 && !ch.begun() {
		header = s.traceHeader(ch.msg.start, s.protocol())
	}
	word := ""
	if last {
		word = " LAST"
	}
	s.up.w.Line(fmt.Appendf(nil, "BDAT %d%s", size+int64(len(header)), word))
	s.up.w.Raw(header)
	s.startMoving()
	bad, err := ch.body.CopyChunk(&s.up.w, &s.down.r, size, last)
	s.stopMoving()
	if bad == nil {
		bad = s.up.w.Flush()
	}
	if last || bad != nil || err != nil {
		return s.endChunks(ch, last, bad, err)
	}
	s.tally.behind = s.down.r.Buffered() > 0
	s.up.conn.within(s.in.Timeouts.Command, s.hardEnd())
	r, err := s.up.reply()
	if err == nil && !expected(smtpwire.BDAT, r) {
		err = smtpwire.ErrReplySyntax
	}
	if err != nil {
		return s.backendGone(err)
	}
	s.say(r)
	if r.Class() != 2 {
		s.tx.chunks = &chunked{dead: true, partial: true}
		ch.msg.reply, ch.msg.Code, ch.msg.Bytes = r.Clone(), r.Code, ch.body.Size()
		s.reportMessage(ch.msg)
	}
	return goneWith(r)
}

// begun says whether a chunk was passed on before, and notes that one is now.
func (ch *chunked) begun() bool {
	before := ch.msg.Bytes < 0
	ch.msg.Bytes = -1
	return before
}

// stuffChunk passes a chunk on as part of a message that goes out with DATA. The
// chunks before the last are answered by us: that is no promise, the last reply
// is the backend's.
func (s *inboundSession) stuffChunk(ch *chunked, size int64, last bool) error {
	if s.in.Message.TraceHeader && !ch.begun() {
		s.up.w.Raw(smtpwire.StuffDots(s.traceHeader(ch.msg.start, s.protocol())))
	}
	s.startMoving()
	bad, err := ch.body.StuffChunk(&s.up.w, &s.down.r, size)
	if bad == nil && err == nil && last {
		bad = ch.body.EndDots(&s.up.w)
	}
	s.stopMoving()
	if last || bad != nil || err != nil {
		return s.endChunks(ch, last, bad, err)
	}
	s.tally.behind = s.down.r.Buffered() > 0
	s.say(octetsReceived(size))
	return nil
}

func octetsReceived(n int64) smtpwire.Reply {
	return smtpwire.NewReply(250, "2.0.0", fmt.Sprintf("%d octets received", n))
}

// giveUp reports a message whose last chunk did not come.
func (s *inboundSession) giveUp(why Cause) {
	if ch := s.tx.chunks; ch != nil && ch.msg != nil {
		ch.msg.Bytes, ch.msg.Cause = ch.body.Size(), why
		s.reportMessage(ch.msg)
		ch.msg = nil
	}
}

// endChunks answers the last chunk, or the one that ended the message early.
func (s *inboundSession) endChunks(ch *chunked, last bool, bad, err error) error {
	ch.msg.Bytes = ch.body.Size()
	s.tx.chunks = nil
	err = s.endMessage(ch.msg, bad, err)
	if !last && err == nil { // what follows of it is read and thrown away
		s.tx.chunks = &chunked{dead: true}
	}
	return err
}
