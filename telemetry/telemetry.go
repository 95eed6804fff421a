// Package telemetry turns what happens in the proxy into metrics, and is the
// only package that imports OpenTelemetry.
//
// It implements the Observer of package proxy. One set of instruments feeds
// every output; so far there is one, a page for Prometheus. docs/metrics.md
// lists the metrics, and a test holds that page to what is really exposed.
//
// Three rules shape it:
//
//   - A label is something that the operator wrote (the name of an inbound or outbound,
//     the address of a backend) or one of a few fixed words (a cause, a TLS
//     version). Nothing that a peer sent becomes a label, neither address nor
//     domain: it would let strangers fill our memory, and Prometheus' too, and
//     a metrics page is no place for who writes to whom.
//   - A session makes about ten calls, beside a TLS handshake that costs
//     245 µs. So a set of labels is built once and then found by a map look-up
//     without a lock, and counts are atomics that OpenTelemetry reads when
//     somebody scrapes. Only the distributions pass through its SDK.
//   - Nothing is global: no default registry, no global provider, no
//     configuration from the environment.
//
// Not done here: traces. Step measures how long a step took and leaves the
// context as it was.
package telemetry

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/contrib/instrumentation/runtime"
	"go.opentelemetry.io/otel/attribute"
	otelprom "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/exemplar"
	"go.opentelemetry.io/otel/sdk/resource"
)

// Build says which postern this is. It becomes the labels of
// postern_build_info.
type Build struct {
	Version  string // of the release, "devel" when built from a work tree
	Revision string // of the source, may be empty
	Go       string // the toolchain, as runtime.Version gives it
}

// Telemetry holds the instruments. It implements proxy.Observer; its methods
// may be called from any number of goroutines.
type Telemetry struct {
	instruments

	started  time.Time // what Step measures from
	provider *sdk.MeterProvider
	registry *prometheus.Registry
}

// New makes the instruments. An error means that two of them collide, or that
// the runtime cannot be measured: neither depends on the configuration.
// Shutdown releases what New started.
func New(build Build) (*Telemetry, error) {
	t := &Telemetry{started: time.Now(), registry: prometheus.NewRegistry()}
	exporter, err := otelprom.New(
		otelprom.WithRegisterer(t.registry),
		otelprom.WithoutScopeInfo(),
		otelprom.WithoutTargetInfo(),
	)
	if err != nil {
		return nil, fmt.Errorf("making the Prometheus exporter: %w", err)
	}
	t.provider = sdk.NewMeterProvider(
		sdk.WithReader(exporter),
		sdk.WithExemplarFilter(exemplar.AlwaysOffFilter),
		// Given, so that OTEL_RESOURCE_ATTRIBUTES and the like are not read.
		sdk.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "postern"),
			attribute.String("service.version", build.Version),
		)),
	)
	if err := t.register(build); err != nil {
		return nil, fmt.Errorf("registering the metrics: %w", err)
	}
	return t, nil
}

// register makes the instruments of the proxy, the runtime and the process.
func (t *Telemetry) register(build Build) error {
	meter := t.provider.Meter("postern", metric.WithInstrumentationVersion(build.Version))
	var err error
	if t.instruments, err = newInstruments(meter); err != nil {
		return err
	}
	if err := registerBuild(meter, build); err != nil {
		return err
	}
	if err := runtime.Start(runtime.WithMeterProvider(t.provider)); err != nil {
		return err
	}
	// Open files against their limit: what a proxy runs out of first.
	return t.registry.Register(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
}

// Handler serves the metrics in Prometheus' text format. At most four scrapes
// run at once, each for at most 10 seconds; others get 503. What cannot be
// read (/proc, say) is left out; the rest is served.
func (t *Telemetry) Handler() http.Handler {
	return promhttp.HandlerFor(t.registry, promhttp.HandlerOpts{
		MaxRequestsInFlight: 4,
		Timeout:             10 * time.Second,
		ErrorHandling:       promhttp.ContinueOnError,
	})
}

// Shutdown stops measuring; calls of the Observer's methods stay safe. The
// error is ctx's when it ends first, or says that it was called before.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	return t.provider.Shutdown(ctx)
}
