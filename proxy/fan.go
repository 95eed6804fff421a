package proxy

import (
	"errors"
	"time"

	"postern/smtpwire"
)

// writerTo is what the message is written to.
func (s *outboundSession) writerTo(to []*parcel) *smtpwire.Writer {
	if len(to) == 1 {
		return &to[0].leg.w
	}
	w := new(smtpwire.Writer)
	w.Reset(fan{s, to})
	return w
}

// fan writes a message to several servers at once, each block to all before the next:
// so it needs no memory but the block, whose octets are not kept. A server that does not
// take a block in time is left behind (SEM 21).
type fan struct {
	s  *outboundSession
	to []*parcel
}

// Write implements io.Writer. It fails when nobody is left.
func (f fan) Write(block []byte) (int, error) {
	var left []*parcel
	for _, p := range f.to {
		if p.leg != nil {
			left = append(left, p)
		}
	}
	inParallel(f.s, left, func(p *parcel) {
		start := time.Now()
		err := p.leg.w.Through(block)
		if p.took = time.Since(start); err != nil {
			p.failed(err)
		}
	})
	f.holdUp(left)
	for _, p := range left {
		if p.leg != nil {
			return len(block), nil
		}
	}
	return 0, errNobodyLeft
}

// holdUp counts by how long the slowest server has held up the others. One that takes
// octets all the time, and slowly, is left behind like one that takes none.
func (f fan) holdUp(all []*parcel) {
	var slowest *parcel
	var second time.Duration
	for _, p := range all {
		switch {
		case p.leg == nil:
		case slowest == nil:
			slowest = p
		case p.took > slowest.took:
			second, slowest = slowest.took, p
		default:
			second = max(second, p.took)
		}
	}
	if slowest == nil || len(all) < 2 {
		return
	}
	if slowest.late += slowest.took - second; slowest.late >= fanPatience {
		slowest.failed(errTooSlow)
	}
}

// startMoving and stopMoving stand around the copying of message data.
func (s *outboundSession) startMoving(to []*parcel) {
	s.down.conn.moving(s.front.Timeouts.Data, s.hardEnd())
	patience := s.front.Timeouts.Data
	if s.out.LMTP {
		patience = min(patience, fanPatience)
	}
	for _, p := range to {
		if p.leg != nil {
			p.leg.conn.moving(patience, s.hardEnd())
		}
	}
}

func (s *outboundSession) stopMoving(to []*parcel) {
	s.down.conn.moving(0, time.Time{})
	for _, p := range to {
		if p.leg != nil {
			p.leg.conn.moving(0, time.Time{})
		}
	}
}

var errTooSlow = errors.New("it takes the message too slowly, and others wait")
