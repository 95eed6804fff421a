package app

import (
	"crypto/x509"
	"errors"
	"slices"
	"strings"

	"postern/config"
	"postern/tls/certs"
)

// edge is a server as TLSA records are about it: the names and ports that it is known by, and
// its keys.
type edge struct {
	inbound string // "" for what comes from files
	cfg     config.Inbound
	set     *certs.Set // that chooses between its certificates; nil: all are meant
	names   []string
	ports   []uint16
	current []tlsKey
	next    []tlsKey
	issuers []issuer
	asked   bool     // issuers were asked for
	passing []string // certificates whose key is gone with the process
}

// issuer is an authority, and where it was found.
type issuer struct {
	source string
	cert   *x509.Certificate
}

var errNoEdge = errors.New("no inbound of this configuration shows a certificate")

// edges are the inbounds that show certificates, or the one that is asked for.
func (o TLSAOptions) edges(cfg *config.Config, p *plan) (all []edge, err error) {
	var known []string
	for _, in := range p.inbounds {
		known = append(known, in.name)
		if in.certs == nil || o.Inbound != "" && o.Inbound != in.name {
			continue
		}
		e := edge{inbound: in.name, cfg: in.cfg, set: in.certs}
		for _, s := range p.sources {
			if slices.Contains(in.cfg.Certificates, s.cfg.Name) {
				err = errors.Join(err, e.take(s))
			}
		}
		if e.names, e.ports = o.namesOf(cfg.Hostname, e), o.portsOf(in.cfg.Listen); len(e.names) == 0 {
			err = errors.Join(err, misuse("Say which host its MX records name: --name mx1.example.org.", "inbound %q: hostname is no name of a host", in.name))
		}
		all = append(all, e)
	}
	switch {
	case err != nil:
		return nil, err
	case o.Inbound != "" && !slices.Contains(known, o.Inbound):
		return nil, misuse("There is: "+strings.Join(known, ", ")+".", "there is no inbound %q", o.Inbound)
	case len(all) == 0:
		return nil, misuse("Give it one, or name PEM files: postern tlsa fullchain.pem --name mx1.example.org", "%w", errNoEdge)
	}
	return all, o.complete(all)
}

// take adds the keys of a certificate block.
func (e *edge) take(s source) error {
	if len(s.cfg.SelfSigned) > 0 {
		e.passing = append(e.passing, s.cfg.Name)
		return nil
	}
	for _, c := range s.Certificates() {
		k, err := keyOf("certificate \""+s.cfg.Name+"\"", c)
		if err != nil {
			return err
		}
		e.current = append(e.current, k)
	}
	return nil
}

// fromFiles are the edges of PEM files: one for each set of names.
func (o TLSAOptions) fromFiles() (all []edge, err error) {
	for _, file := range o.Files {
		k, wrong := readKey(file)
		if wrong != nil {
			err = errors.Join(err, wrong)
			continue
		}
		e := edge{current: []tlsKey{k}, ports: o.portsOf(nil)}
		if e.names = o.namesOf("", e); len(e.names) == 0 {
			err = errors.Join(err, misuse("Say which host it is for: --name mx1.example.org.", "%s names no host", file))
		}
		same := slices.IndexFunc(all, func(other edge) bool { return slices.Equal(other.names, e.names) })
		if same >= 0 {
			all[same].current = append(all[same].current, k)
			continue
		}
		all = append(all, e)
	}
	if err != nil {
		return nil, err
	}
	return all, o.complete(all)
}

// complete adds what comes next, and the issuers.
func (o TLSAOptions) complete(all []edge) (err error) {
	var next []tlsKey
	for _, file := range o.Next {
		k, wrong := readKey(file)
		err = errors.Join(err, wrong)
		next = append(next, k)
	}
	var authorities []issuer
	if o.IssuerFile != "" {
		some, wrong := readIssuers(o.IssuerFile)
		err = errors.Join(err, wrong)
		for _, c := range some {
			authorities = append(authorities, issuer{o.IssuerFile, c})
		}
	}
	for i := range all {
		e := &all[i]
		e.next, e.asked = next, o.Issuer || o.IssuerFile != ""
		e.issuers = slices.Clone(authorities)
		if o.Issuer {
			e.issuers = append(e.issuers, e.sent()...)
		}
	}
	return err
}

// sent are the issuers that stand behind the certificates in their files.
func (e edge) sent() (all []issuer) {
	for _, k := range slices.Concat(e.current, e.next) {
		if len(k.chain) > 1 {
			all = append(all, issuer{"issuer in " + k.source, k.chain[1]})
		}
	}
	return all
}

// namesOf are the names that are asked for; else the host name of the configuration, where it is one, else those of the
// certificates.
func (o TLSAOptions) namesOf(hostname string, e edge) []string {
	if len(o.Names) > 0 {
		return o.Names
	}
	if hostname != "" && !strings.HasPrefix(hostname, "[") {
		return []string{hostname}
	}
	var all []string
	for _, k := range e.current {
		for _, name := range k.names {
			if !slices.Contains(all, name) {
				all = append(all, name)
			}
		}
	}
	return all
}

const smtpPort = 25

// portsOf are those that are asked for; else those that are listened on; 0 is none, and without any it
// is that of SMTP.
func (o TLSAOptions) portsOf(listen []string) (all []uint16) {
	if len(o.Ports) > 0 {
		return o.Ports
	}
	for _, address := range listen {
		if n := uint16(port(address)); n != 0 && !slices.Contains(all, n) {
			all = append(all, n)
		}
	}
	if len(all) == 0 {
		all = []uint16{smtpPort}
	}
	return all
}
