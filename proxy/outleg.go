package proxy

import (
	"context"
	"log/slog"
	"time"

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
