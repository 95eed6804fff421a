package proxy

import (
	"context"

	"postern/smtpwire"
)

// outChunks is a message that comes with BDAT. It always goes on with DATA: bare CR
// and LF are mended by default, and the servers may differ in what they know.
type outChunks struct {
	body    *smtpwire.Body
	to      []*parcel
	w       *smtpwire.Writer
	msg     *message
	refusal smtpwire.Reply // when it is set, the rest is read and thrown away
	begun   bool           // the first octets are on their way
}

// bdat answers BDAT. Its octets are data whatever becomes of the message: they are
// always read (RFC 3030, 2).
func (s *outboundSession) bdat(ctx context.Context, c smtpwire.Command) (answer, error) {
	size, last, err := s.chunkSize(c)
	if err != nil {
		return answer{}, err
	}
	if s.chunks == nil {
		if r := s.beginChunks(ctx); r.Code != 0 {
			return answer{}, s.discardChunk(size, last, r)
		}
	}
	if s.chunks.refusal.Code != 0 {
		return answer{}, s.discardChunk(size, last, s.chunks.refusal)
	}
	return answer{}, s.stuffChunk(size, last)
}

// beginChunks is what happens at the first chunk. A reply says why the message cannot
// come.
func (s *outboundSession) beginChunks(ctx context.Context) smtpwire.Reply {
	if r := s.mayBegin(); r.Code != 0 {
		return r
	}
	to, refusal := s.askData()
	if refusal.Code != 0 {
		s.chunks = &outChunks{refusal: refusal}
		return refusal
	}
	s.chunks = &outChunks{body: s.newBody(to), to: to, w: s.writerTo(to), msg: s.beginMessage(ctx, len(s.rcpts))}
	return smtpwire.Reply{}
}

// discardChunk reads a chunk that nobody wants, and answers it.
func (s *outboundSession) discardChunk(size int64, last bool, r smtpwire.Reply) error {
	if err := s.readChunk(size); err != nil {
		return err
	}
	if last && s.chunks != nil {
		s.answerAll(r)
		s.reset()
		return nil
	}
	s.say(r)
	return nil
}

// stuffChunk passes a chunk on. The chunks before the last are answered by us: that is
// no promise, the last reply is the server's.
func (s *outboundSession) stuffChunk(size int64, last bool) error {
	ch := s.chunks
	if s.front.Message.TraceHeader && !ch.begun {
		ch.w.Raw(smtpwire.StuffDots(s.traceHeader(ch.msg.start, s.protocol())))
	}
	ch.begun = true
	s.startMoving(ch.to)
	bad, err := ch.body.StuffChunk(ch.w, &s.down.r, size)
	if bad == nil && err == nil && last {
		bad = ch.body.EndDots(ch.w)
	}
	s.stopMoving(ch.to)
	if last || err != nil {
		s.chunks = nil
		ch.msg.Bytes = ch.body.Size()
		return s.endMessage(ch.msg, bad, err)
	}
	s.tally.behind = s.down.r.Buffered() > 0
	if bad != nil {
		return s.endEarly(ch, bad)
	}
	s.say(octetsReceived(size))
	return nil
}

// endEarly answers a chunk that ended the message: what follows of it is read and thrown
// away.
func (s *outboundSession) endEarly(ch *outChunks, bad error) error {
	r, cause := faulty(bad)
	if cause == "" {
		r, cause = replyBackendLost, CauseUpstreamGone
		for _, p := range ch.to {
			if p.leg != nil {
				p.failed(bad)
			}
			if p.message.reply.Code != 0 {
				r = p.message.reply
			}
		}
	}
	ch.msg.Bytes, ch.msg.reply, ch.msg.Code, ch.msg.Cause = ch.body.Size(), r, r.Code, cause
	s.dropAll(r, cause, ch.msg.Bytes)
	s.reportMessage(ch.msg)
	s.chunks = &outChunks{refusal: r}
	s.say(r)
	return nil
}
