package telemetry

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// The upper bounds of the buckets.
var (
	// A handshake costs a fraction of a millisecond and one or two round
	// trips; timeouts.starttls ends it at 30 s by default.
	handshakeSeconds = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
	// Steps and messages go from a backend on loopback to one that scans a
	// message up to the 10 to 15 minutes that RFC 5321, 4.5.3.2.6, allows.
	stepSeconds = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 240, 900}
	// Sessions go from a scanner's to timeouts.session, 2 h by default.
	sessionSeconds = []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 1800, 7200}
	messageBytes   = []float64{1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20}
)

// instruments are the metrics of the proxy, in groups.
type instruments struct {
	sessions   sessionMetrics
	handshakes handshakeMetrics
	messages   messageMetrics
	deliveries deliveryMetrics
	refusals   counts[byCause]
	backend    counts[byBackend]
	steps      spread[byStep]
	dnssec     dnssecMetric
	outcomes   outcomeMetrics
}

type sessionMetrics struct {
	total, open counts[byListener]
	ended       counts[byEnd]
	bytes       counts[byDirection]
	duration    spread[byListener]
}

type handshakeMetrics struct {
	total    counts[byHandshake]
	resumed  counts[byListener]
	duration spread[byResult]
}

type messageMetrics struct {
	total      counts[byOutcome]
	recipients counts[byListener]
	size       spread[byListener]
	duration   spread[byOutcome]
}

func newInstruments(meter metric.Meter) (instruments, error) {
	m := maker{meter: meter}
	i := instruments{
		sessions:   m.sessions(),
		handshakes: m.handshakes(),
		messages:   m.messages(),
		deliveries: m.deliveries(),
		dnssec:     m.dnssec(),
		outcomes:   m.outcomes(),
		refusals: counter[byCause](&m, "postern.refusals", "{refusal}",
			"Connections, handshakes, commands and messages that postern itself refused."),
		backend: counter[byBackend](&m, "postern.backend.failures", "{failure}",
			"Attempts to reach or use a backend that failed."),
		steps: histogram[byStep](&m, "postern.step.duration", "s",
			"How long the steps of sessions took.", stepSeconds),
	}
	return i, m.err
}

func (m *maker) sessions() sessionMetrics {
	return sessionMetrics{
		total: counter[byListener](m, "postern.sessions", "{session}",
			"Client connections that were accepted to be served."),
		open: upDown[byListener](m, "postern.sessions.open", "{session}",
			"Client connections being served now."),
		ended: counter[byEnd](m, "postern.sessions.ended", "{session}",
			"Sessions that are over, by why they ended."),
		bytes: counter[byDirection](m, "postern.session.bytes", "By",
			"Octets of finished sessions from (in) and to (out) the clients."),
		duration: histogram[byListener](m, "postern.session.duration", "s",
			"How long finished sessions lasted.", sessionSeconds),
	}
}

func (m *maker) handshakes() handshakeMetrics {
	return handshakeMetrics{
		total: counter[byHandshake](m, "postern.handshakes", "{handshake}",
			"TLS handshakes with clients that ended, well or not."),
		resumed: counter[byListener](m, "postern.handshakes.resumed", "{handshake}",
			"TLS handshakes that resumed an earlier session."),
		duration: histogram[byResult](m, "postern.handshake.duration", "s",
			"How long TLS handshakes with clients took.", handshakeSeconds),
	}
}

func (m *maker) messages() messageMetrics {
	return messageMetrics{
		total: counter[byOutcome](m, "postern.messages", "{message}",
			"Messages, by the final reply that the client got."),
		recipients: counter[byListener](m, "postern.message.recipients", "{recipient}",
			"Recipients of those messages that the backend accepted."),
		size: histogram[byListener](m, "postern.message.size", "By",
			"Size of messages as the client sent them.", messageBytes),
		duration: histogram[byOutcome](m, "postern.message.duration", "s",
			"Time from DATA or the first BDAT to the final reply.", stepSeconds),
	}
}

// maker makes instruments and gathers the errors, so that a list of
// instruments reads as a list.
type maker struct {
	meter metric.Meter
	err   error
}

func counter[K labels](m *maker, name, unit, help string) counts[K] {
	c := newCounts[K]()
	_, err := m.meter.Int64ObservableCounter(name,
		metric.WithUnit(unit), metric.WithDescription(help), metric.WithInt64Callback(c.observe))
	m.err = errors.Join(m.err, err)
	return c
}

func upDown[K labels](m *maker, name, unit, help string) counts[K] {
	c := newCounts[K]()
	_, err := m.meter.Int64ObservableUpDownCounter(name,
		metric.WithUnit(unit), metric.WithDescription(help), metric.WithInt64Callback(c.observe))
	m.err = errors.Join(m.err, err)
	return c
}

func histogram[K labels](m *maker, name, unit, help string, bounds []float64) spread[K] {
	h, err := m.meter.Float64Histogram(name,
		metric.WithUnit(unit), metric.WithDescription(help), metric.WithExplicitBucketBoundaries(bounds...))
	m.err = errors.Join(m.err, err)
	return newSpread[K](h)
}

// registerBuild makes the metric that is always 1 and says in its labels what
// runs, so that a dashboard can show when it changed.
func registerBuild(meter metric.Meter, build Build) error {
	set := metric.WithAttributeSet(attribute.NewSet(
		attribute.String("version", build.Version),
		attribute.String("revision", build.Revision),
		attribute.String("go", build.Go),
	))
	_, err := meter.Int64ObservableGauge("postern.build.info",
		metric.WithDescription("Always 1: the labels say which postern runs."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(1, set)
			return nil
		}))
	return err
}
