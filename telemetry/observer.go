package telemetry

import (
	"context"
	"time"

	"postern/proxy"
)

var _ proxy.Observer = (*Telemetry)(nil)

// Step implements proxy.Observer: it measures how long the step takes, and
// gives ctx back as it is. The closure that it returns is the one allocation
// of this package's steady path: it holds two words beside the step's name.
func (t *Telemetry) Step(ctx context.Context, _, step string) (context.Context, func(error)) {
	begin := time.Since(t.started)
	return ctx, func(err error) {
		t.steps.seconds(byStep{step, err != nil}, time.Since(t.started)-begin)
	}
}

// Connected implements proxy.Observer.
func (t *Telemetry) Connected(listener string) {
	t.sessions.total.add(byListener{listener}, 1)
	t.sessions.open.add(byListener{listener}, 1)
}

// Handshake implements proxy.Observer. A handshake without a state and
// without a cause counts as failed.
func (t *Telemetry) Handshake(listener string, h proxy.Handshake) {
	key := handshakeKey(listener, h)
	t.handshakes.total.add(key, 1)
	t.handshakes.duration.seconds(byResult{listener, key.cause}, h.Duration)
	if h.State != nil && h.State.DidResume {
		t.handshakes.resumed.add(byListener{listener}, 1)
	}
}

// Refused implements proxy.Observer.
func (t *Telemetry) Refused(listener string, why proxy.Cause) {
	t.refusals.add(byCause{listener, why}, 1)
}

// BackendFailed implements proxy.Observer.
func (t *Telemetry) BackendFailed(listener, address string, why proxy.Cause) {
	t.backend.add(byBackend{listener, address, why}, 1)
}

// Message implements proxy.Observer.
func (t *Telemetry) Message(listener string, m proxy.Message) {
	key := byOutcome{listener, replyClass(m.Code), m.Secured}
	t.messages.total.add(key, 1)
	t.messages.recipients.add(byListener{listener}, int64(m.Recipients))
	t.messages.size.record(byListener{listener}, float64(m.Bytes))
	t.messages.duration.seconds(key, m.Duration)
}

// Disconnected implements proxy.Observer.
func (t *Telemetry) Disconnected(listener string, s proxy.Summary) {
	t.sessions.open.add(byListener{listener}, -1)
	t.sessions.ended.add(byEnd{listener, s.Cause, s.Secured}, 1)
	t.sessions.bytes.add(byDirection{listener, "in"}, s.BytesIn)
	t.sessions.bytes.add(byDirection{listener, "out"}, s.BytesOut)
	t.sessions.duration.seconds(byListener{listener}, s.Duration)
}
