package app

import (
	"errors"
	"io"
	"testing"
)

// A command that cannot be meant ends with 2, one that finds something wanting with 1 (docs/dane-records.md).
func TestAMistakeInTheCommandIsNoFinding(t *testing.T) {
	w := newWorld(t)
	file := w.written(t, inMemory+w.resolver()+w.outbound(""))
	for name, do := range map[string]func() error{
		"explain, an outbound that is not there": func() error {
			return Explain(t.Context(), ExplainOptions{Domain: "example.com", Outbound: "nope", Config: file, Out: io.Discard, Log: io.Discard})
		},
		"tlsa, without an inbound": func() error {
			return TLSA(t.Context(), TLSAOptions{Config: file, Out: io.Discard, Log: io.Discard})
		},
		"dns-records, a mode that is none": func() error {
			return DNSRecords(t.Context(), DNSRecordsOptions{TLSAOptions: TLSAOptions{Config: file, Out: io.Discard, Log: io.Discard}, Mode: "foo", Domains: []string{"example.com"}})
		},
		"dns-records, no domain": func() error {
			return DNSRecords(t.Context(), DNSRecordsOptions{TLSAOptions: TLSAOptions{Config: file, Out: io.Discard, Log: io.Discard}, Domains: []string{"a..b"}})
		},
	} {
		if err := do(); !errors.As(err, new(*UsageError)) || Hint(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
