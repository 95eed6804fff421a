package sink

import "sync/atomic"

// Stats is what a server has counted since it was made or last reset.
type Stats struct {
	Accepted   int64 `json:"accepted"`   // connections
	Open       int64 `json:"open"`       // connections open now; Reset leaves it
	Quit       int64 `json:"quit"`       // sessions that ended with QUIT
	Messages   int64 `json:"messages"`   // messages whose last byte has come
	Bytes      int64 `json:"bytes"`      // of message bodies; dots still stuffed unless somebody looked
	Handshakes int64 `json:"handshakes"` // TLS handshakes that succeeded
	Resumed    int64 `json:"resumed"`    // of these, resumed ones
	TLSFailed  int64 `json:"tls_failed"` // TLS handshakes that failed
	VerifyOK   int64 `json:"verify_ok"`  // verified messages with the right sum
	VerifyBad  int64 `json:"verify_bad"` // verified messages with a wrong sum or none
	Duplicates int64 `json:"duplicates"` // verified messages whose id had come before
	XClient    int64 `json:"xclient"`    // XCLIENT commands
	Ehlo       int64 `json:"ehlo"`       // EHLO commands
}

type counters struct {
	accepted, open, quit           atomic.Int64
	messages, bytes                atomic.Int64
	handshakes, resumed, tlsFailed atomic.Int64
	ok, bad, duplicates            atomic.Int64
	xclient, ehlo                  atomic.Int64
}

// Stats returns the counters. Each is exact; together they are a moment's
// picture only while no session is busy.
func (s *Server) Stats() Stats {
	c := &s.counters
	return Stats{
		Accepted: c.accepted.Load(), Open: c.open.Load(), Quit: c.quit.Load(),
		Messages: c.messages.Load(), Bytes: c.bytes.Load(),
		Handshakes: c.handshakes.Load(), Resumed: c.resumed.Load(), TLSFailed: c.tlsFailed.Load(),
		VerifyOK: c.ok.Load(), VerifyBad: c.bad.Load(), Duplicates: c.duplicates.Load(),
		XClient: c.xclient.Load(), Ehlo: c.ehlo.Load(),
	}
}

// Reset sets all counters but Open to zero, forgets the ids seen, and says
// whether messages that begin from now on are verified.
func (s *Server) Reset(verify bool) {
	c := &s.counters
	for _, v := range []*atomic.Int64{
		&c.accepted, &c.quit, &c.messages, &c.bytes, &c.handshakes, &c.resumed,
		&c.tlsFailed, &c.ok, &c.bad, &c.duplicates, &c.xclient, &c.ehlo,
	} {
		v.Store(0)
	}
	s.verify.ids.Clear()
	s.verify.on.Store(verify)
}
