package proxy

import (
	"context"
	"sync"

	"postern/resolve"
	"postern/tls/policy"
)

// mxAnswer is what policy wants to know of the MX records that led to a host.
type mxAnswer struct {
	canonical        string // where CNAMEs lead from the domain
	implicit, secure bool   // see policy.MXInput
	security, why    string
}

func answered(a resolve.MXAnswer) mxAnswer {
	return mxAnswer{a.Canonical, a.Implicit, a.Security == resolve.Secure, a.Security.String(), a.Why}
}

// named is of a host that the operator named: there is no MX record that could be forged.
var named = mxAnswer{implicit: true, secure: true}

// input is what policy decides by.
func (h *host) input(domain string) policy.MXInput {
	return policy.MXInput{Domain: domain, Canonical: h.mx.canonical, Host: h.name, Port: h.port,
		Implicit: h.mx.implicit, MXSecure: h.mx.secure, MXSecurity: h.mx.security, MXWhy: h.mx.why}
}

// atOnce is how many hosts of a destination are decided about at the same time.
const atOnce = 8

// decide asks policy about all hosts, several at a time: the name servers of one of them that do
// not answer must not hold up the mail as long as all of them together.
func (g *Gateway) decide(ctx context.Context, domain string, hosts []*host) {
	if len(hosts) == 1 {
		hosts[0].decision = g.o.Policy.DecideMX(ctx, hosts[0].input(domain))
		return
	}
	var all sync.WaitGroup
	places := make(chan struct{}, atOnce)
	failed := make(chan any, 1)
	for _, h := range hosts {
		places <- struct{}{}
		all.Go(func() {
			defer func() {
				if defect := recover(); defect != nil {
					select {
					case failed <- defect:
					default:
					}
				}
				<-places
			}()
			h.decision = g.o.Policy.DecideMX(ctx, h.input(domain))
		})
	}
	all.Wait()
	select {
	case defect := <-failed: // for whoever asked: it costs one session
		panic(defect)
	default:
	}
}

// decideKnown is decide for hosts that are only known by name.
func (g *Gateway) decideKnown(ctx context.Context, domain string, names []knownHost, port uint16) (all []*policy.Decision) {
	hosts := make([]*host, 0, len(names))
	for _, known := range names {
		hosts = append(hosts, &host{name: known.name, port: port, mx: known.mx})
	}
	g.decide(ctx, domain, hosts)
	for _, h := range hosts {
		all = append(all, h.decision)
	}
	return all
}

// strictest is the decision that asks for the most, of hosts that share an address: the
// least would be for everybody to choose who can name a host of his own for it. What could not be found out
// may ask for more than all others.
func strictest(all []*policy.Decision) *policy.Decision {
	most := all[0]
	for _, d := range all[1:] {
		if most.Err == nil && (d.Err != nil || d.Level > most.Level) {
			most = d
		}
	}
	return most
}
