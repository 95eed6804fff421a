package telemetry

import (
	"crypto/tls"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"postern/proxy"
	"postern/tls/level"
)

// deliveryMetrics are about attempts to hand a message to a server.
type deliveryMetrics struct {
	total           counts[byDelivery]
	failures        counts[byCause]
	secured         counts[bySecurity]
	clear           counts[byReason]
	resumed, reused counts[byListener]
	observed        counts[byListener]
	phases          spread[byPhase]
}

func (m *maker) deliveries() deliveryMetrics {
	return deliveryMetrics{
		total: counter[byDelivery](m, "postern.deliveries", "{delivery}",
			"Attempts to hand a message to a server, by what was asked of it and what became of them."),
		failures: counter[byCause](m, "postern.delivery.failures", "{delivery}",
			"Those attempts that did not deliver, by why."),
		secured: counter[bySecurity](m, "postern.deliveries.secured", "{delivery}",
			"Those attempts that used TLS, by its version, cipher suite and group."),
		clear: counter[byReason](m, "postern.deliveries.clear", "{delivery}",
			"Those attempts that came to a server without TLS, by why there was none."),
		resumed: counter[byListener](m, "postern.deliveries.resumed", "{delivery}",
			"Those attempts whose TLS session was a resumed one."),
		reused: counter[byListener](m, "postern.deliveries.reused", "{delivery}",
			"Those attempts that used a connection kept from an earlier message."),
		observed: counter[byListener](m, "postern.deliveries.would.refuse", "{delivery}",
			"Those attempts that remember = \"enforce\" would have refused."),
		phases: histogram[byPhase](m, "postern.delivery.phase.duration", "s",
			"How long the phases of these attempts took.", stepSeconds),
	}
}

// Delivery implements proxy.Observer. Destination, host and address stay out of
// the labels.
func (t *Telemetry) Delivery(listener string, d proxy.Delivery) {
	t.deliveries.total.add(deliveryKey(listener, d), 1)
	if d.Cause != "" {
		t.deliveries.failures.add(byCause{listener, d.Cause}, 1)
	}
	switch {
	case d.Version != 0:
		t.deliveries.secured.add(bySecurity{listener, d.Version, d.Cipher, d.Group}, 1)
	case d.Address != "":
		t.deliveries.clear.add(byReason{listener, whyClear(d)}, 1)
	}
	if d.Would != "" {
		t.deliveries.observed.add(byListener{listener}, 1)
	}
	if d.Resumed {
		t.deliveries.resumed.add(byListener{listener}, 1)
	}
	if d.Reused {
		t.deliveries.reused.add(byListener{listener}, 1)
	}
	t.phases(d)
}

// phases records those that there were: a connection that was kept needs no
// look-up and no handshake, and a zero would make them seem fast.
func (t *Telemetry) phases(d proxy.Delivery) {
	for _, p := range [...]struct {
		name string
		took time.Duration
	}{{"dns", d.DNS}, {"connect", d.Connect}, {"tls", d.Handshake}, {"smtp", d.SMTP}} {
		if p.took > 0 {
			t.deliveries.phases.seconds(byPhase{p.name}, p.took)
		}
	}
}

// byDelivery has the words of package proxy where the labels have small letters,
// so that those are made once.
type byDelivery struct {
	listener string
	level    level.Level
	source   string // of the decision; empty: it did not come to one
	result   string
	trust    string // Postfix's word; empty without TLS
}

func deliveryKey(listener string, d proxy.Delivery) byDelivery {
	k := byDelivery{listener: listener, result: deliveryResult(d.Code), trust: d.Trust}
	if d.Decision != nil {
		k.level, k.source = d.Decision.Level, string(d.Decision.Source)
	}
	return k
}

func (k byDelivery) attributes() []attribute.KeyValue {
	asked := undecided
	if k.source != "" {
		asked = k.level.String()
	}
	return append(byListener{k.listener}.attributes(),
		attribute.String("level", asked), attribute.String("source", orElse(k.source, undecided)),
		attribute.String("result", k.result), attribute.String("trust", orElse(strings.ToLower(k.trust), inClear)))
}

// deliveryResult is what the class of the reply means to the sending mail
// server: 2xx, it is delivered; 4xx, it tries again; 5xx, it bounces.
func deliveryResult(code int) string {
	switch replyClass(code) {
	case 2:
		return "delivered"
	case 4:
		return "deferred"
	case 5:
		return "refused"
	}
	return "gone"
}

// whyClear is why a server was used without TLS.
func whyClear(d proxy.Delivery) string {
	if d.Clear == "" && d.Decision != nil && d.Decision.Level == level.None {
		return "level_none"
	}
	return orElse(d.Clear, "unknown")
}

type bySecurity struct {
	listener string
	version  uint16
	cipher   string
	group    tls.CurveID
}

func (k bySecurity) attributes() []attribute.KeyValue {
	return append(byListener{k.listener}.attributes(),
		attribute.String("version", nameOr(k.version, tls.VersionName)),
		attribute.String("cipher", orElse(k.cipher, none)),
		attribute.String("group", nameOr(k.group, tls.CurveID.String)))
}

type byReason struct{ listener, reason string }

func (k byReason) attributes() []attribute.KeyValue {
	return append(byListener{k.listener}.attributes(), attribute.String("reason", k.reason))
}

type byPhase struct{ phase string }

func (k byPhase) attributes() []attribute.KeyValue {
	return []attribute.KeyValue{attribute.String("phase", k.phase)}
}
