package telemetry

import (
	"context"
	"errors"
	"sync/atomic"

	"go.opentelemetry.io/otel/metric"
)

// dnssecMetric is whether the DNS servers let signatures through.
type dnssecMetric struct{ validates *atomic.Int64 }

const dnssecUnknown = -1 // as long as it is, there is no series

func (m *maker) dnssec() dnssecMetric {
	d := dnssecMetric{new(atomic.Int64)}
	d.validates.Store(dnssecUnknown)
	_, err := m.meter.Int64ObservableGauge("postern.dnssec.validates",
		metric.WithDescription("1: the DNS servers let DNSSEC signatures through. 0: they hold them back."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			if v := d.validates.Load(); v != dnssecUnknown {
				o.Observe(v)
			}
			return nil
		}))
	m.err = errors.Join(m.err, err)
	return d
}

// DNSSEC notes whether the DNS servers let signatures through.
func (t *Telemetry) DNSSEC(validates bool) {
	var v int64
	if validates {
		v = 1
	}
	t.dnssec.validates.Store(v)
}
