package telemetry

import (
	"context"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// A labels value is the key of one series of a metric.
type labels interface {
	comparable
	attributes() []attribute.KeyValue
}

// counts is a metric that counts, one number per set of labels. Adding is a
// look-up and an atomic addition; OpenTelemetry reads the numbers when it
// collects.
type counts[K labels] struct {
	series *memo[K, *count]
}

type count struct {
	n      atomic.Int64
	labels metric.MeasurementOption
}

func newCounts[K labels]() counts[K] {
	return counts[K]{newMemo(func(key K) *count {
		return &count{labels: labelsOf(key)}
	})}
}

func (c counts[K]) add(key K, n int64) { c.series.get(key).n.Add(n) }

// observe is what OpenTelemetry calls when it collects.
func (c counts[K]) observe(_ context.Context, o metric.Int64Observer) error {
	for _, s := range c.series.all() {
		o.Observe(s.n.Load(), s.labels)
	}
	return nil
}

// spread is a metric that shows how values are distributed, one distribution
// per set of labels.
type spread[K labels] struct {
	histogram metric.Float64Histogram
	// The options are kept as the slice that Record takes: it is then passed
	// on, not made anew for each call.
	series *memo[K, []metric.RecordOption]
}

func newSpread[K labels](h metric.Float64Histogram) spread[K] {
	return spread[K]{histogram: h, series: newMemo(func(key K) []metric.RecordOption {
		return []metric.RecordOption{labelsOf(key)}
	})}
}

func (s spread[K]) record(key K, value float64) {
	s.histogram.Record(context.Background(), value, s.series.get(key)...)
}

// seconds records a duration. A negative one, from a clock that was set back,
// counts as none.
func (s spread[K]) seconds(key K, d time.Duration) {
	s.record(key, max(d, 0).Seconds())
}

func labelsOf[K labels](key K) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(key.attributes()...))
}
