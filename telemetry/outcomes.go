package telemetry

import (
	"go.opentelemetry.io/otel/attribute"

	"postern/proxy"
)

// outcomeMetrics are about what destinations publish, and whether sessions met it.
type outcomeMetrics struct {
	dane, dnssec counts[byWord]
	sts          counts[byMode]
}

func (m *maker) outcomes() outcomeMetrics {
	return outcomeMetrics{
		dane: counter[byWord](m, "postern.dane.result", "{attempt}",
			"Session attempts with mail servers, by what DANE came to."),
		sts: counter[byMode](m, "postern.mta.sts.result", "{attempt}",
			"Session attempts with mail servers, by what MTA-STS came to."),
		dnssec: counter[byWord](m, "postern.dnssec.result", "{answer}",
			"Answers of the DNS about the way to mail servers, by what DNSSEC says of them."),
	}
}

// Attempt implements proxy.Observer.
func (t *Telemetry) Attempt(outbound string, a proxy.Attempt) {
	if word := a.DANE(); word != "" {
		t.outcomes.dane.add(byWord{outbound, word}, 1)
	}
	if word, mode := a.STS(); word != "" {
		t.outcomes.sts.add(byMode{byWord{outbound, word}, mode}, 1)
	}
}

// Resolved implements proxy.Observer.
func (t *Telemetry) Resolved(outbound, security string) {
	t.outcomes.dnssec.add(byWord{outbound, security}, 1)
}

type byWord struct{ listener, result string }

func (k byWord) attributes() []attribute.KeyValue {
	return append(byListener{k.listener}.attributes(), attribute.String("result", k.result))
}

type byMode struct {
	byWord
	mode string
}

func (k byMode) attributes() []attribute.KeyValue {
	return append(k.byWord.attributes(), attribute.String("mode", k.mode))
}
