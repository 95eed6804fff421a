package proxy

import (
	"sync"

	"postern/smtpwire"
)

// push adds an answer to the group. The zero answer was said already.
func (s *session) push(a answer) {
	if a.relay || a.later != nil || a.reply.Code != 0 {
		s.group = append(s.group, a)
		s.count(a.reply)
	}
}

// count counts a refusal of ours: so many are a fault of the client.
func (s *session) count(r smtpwire.Reply) {
	if r.Class() == 5 && !s.role.excuses(r) {
		s.tally.errors++
	}
}

// replyBuffers hold the replies that settle reads, for the moment.
var replyBuffers = sync.Pool{New: func() any { return new([512]byte) }}

// settle says the answers of the group, in order, when all that they wait for has
// been done. They leave with the next Flush.
func (s *session) settle() error {
	if len(s.group) == 0 {
		return nil
	}
	if err := s.role.forward(); err != nil {
		return err
	}
	buf := replyBuffers.Get().(*[512]byte)
	defer replyBuffers.Put(buf)
	group := s.group
	s.group = s.group[:0]
	for _, a := range group {
		switch {
		case a.later != nil:
			if s.say(*a.later); a.later.Code == 421 {
				return end(CauseUpstreamGone, smtpwire.Reply{})
			}
		case !a.relay:
			s.say(a.reply)
		default:
			r, silent, err := s.role.relayed(a, buf[:0])
			if r.Code != 0 && !silent {
				s.down.w.Raw(r.Lines)
			}
			if silent || err != nil {
				return err
			}
		}
	}
	if cap(s.group) > keepGroup {
		s.group = nil
	}
	return nil
}

// keepGroup is the size of group that a session keeps.
const keepGroup = 8

// say queues a reply of our own.
func (s *session) say(r smtpwire.Reply) {
	if r.Class() > 3 {
		s.tally.refused++
	}
	s.down.w.Raw(r.Lines)
}
