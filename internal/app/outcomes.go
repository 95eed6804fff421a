package app

import (
	"postern/outcomes"
	"postern/proxy"
	"postern/tls/report"
)

// counting is the Observer of a gateway: it counts session attempts for reports as well.
type counting struct {
	proxy.Observer
	outcomes *outcomes.Counter
}

// Attempt implements proxy.Observer.
func (c counting) Attempt(outbound string, a proxy.Attempt) {
	c.Observer.Attempt(outbound, a)
	policy, failure, ok := a.Report()
	if !ok {
		return
	}
	c.outcomes.Add(report.Outcome{Domain: a.Decision.Domain, Policy: policy, Failure: failure,
		Sender: a.Sender, Host: a.Host, Address: a.Address, Hello: a.Hello})
}

// gatewayObserver is b.observer, which counts where there is a counter.
func (b builder) gatewayObserver() proxy.Observer {
	if b.outcomes == nil {
		return b.observer
	}
	return counting{b.observer, b.outcomes}
}
