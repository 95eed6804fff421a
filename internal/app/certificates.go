package app

import (
	"errors"
	"net"
	"reflect"
	"slices"
	"strconv"

	"postern/config"
	"postern/proxy"
	"postern/tls/certs"
	"postern/tls/grade"
)

// source is a certificate block and what it was built into.
type source struct {
	cfg config.Certificate
	*certs.Source
}

// certificates reads all files anew, so that a reload takes what lies there
// now. A self-signed one is kept: its key is what clients may have noted.
func (b builder) certificates() (all []source, err error) {
	for _, c := range b.cfg.Certificates {
		s, wrong := b.certificate(c)
		if wrong != nil {
			err = errors.Join(err, wrong)
			continue
		}
		all = append(all, source{c, s})
	}
	return all, err
}

func (b builder) certificate(c config.Certificate) (*certs.Source, error) {
	if len(c.SelfSigned) == 0 {
		return certs.FromFiles(c.Name, c.CertFile, c.KeyFile)
	}
	if b.old != nil {
		for _, s := range b.old.sources {
			if reflect.DeepEqual(s.cfg, c) {
				return s.Source, nil
			}
		}
	}
	return certs.SelfSigned(c.Name, c.SelfSigned)
}

// set returns the certificates of these names, which config has checked.
func (p *plan) set(names []string) *certs.Set {
	var some []*certs.Source
	for _, name := range names {
		for _, s := range p.sources {
			if s.cfg.Name == name {
				some = append(some, s.Source)
			}
		}
	}
	return certs.NewSet(some...)
}

// all returns the sources, to watch them.
func (p *plan) certificates() []*certs.Source {
	var all []*certs.Source
	for _, s := range p.sources {
		all = append(all, s.Source)
	}
	return all
}

func (b builder) termination(in config.Inbound, set *certs.Set) (*proxy.Termination, error) {
	o := proxy.TerminationOptions{Certificates: set, RequestCertificate: in.ClientCertificates == "request"}
	var err error
	if o.Grade, err = grade.Parse(in.Grade); err != nil {
		return nil, err
	}
	if in.ForwardSecrecy != "" {
		secrecy, err := grade.ParseForwardSecrecy(in.ForwardSecrecy)
		if err != nil {
			return nil, err
		}
		o.ForwardSecrecy = &secrecy
	}
	if o.RequestCertificate && in.ClientRoots != "system" {
		if _, o.Roots, err = readRoots("client_roots", in.ClientRoots); err != nil {
			return nil, err
		}
	}
	if sessionTickets(in, b.sockets[in.Name]) {
		o.Tickets = b.tickets
	}
	return proxy.NewTermination(o), nil
}

// sessionTickets is what the configuration says, else off on port 25 and on
// elsewhere (SEM 34). sockets are the ports that systemd has opened for it.
func sessionTickets(in config.Inbound, sockets []int) bool {
	if in.SessionTickets != nil {
		return *in.SessionTickets
	}
	on25 := slices.ContainsFunc(in.Listen, func(address string) bool { return port(address) == 25 })
	return !on25 && !slices.Contains(sockets, 25)
}

// port returns the port of host:port, 0 when there is none.
func port(address string) int {
	_, text, _ := net.SplitHostPort(address)
	n, _ := strconv.Atoi(text)
	return n
}
