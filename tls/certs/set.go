package certs

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
)

// ErrNoCertificate is what GetCertificate returns when no source has one.
var ErrNoCertificate = errors.New("no certificate is loaded")

// Set is the certificates of one listener. The zero value is empty. Its methods
// may be called at any time from any goroutine.
type Set struct {
	sources []*Source
	cache   atomic.Pointer[index] // of the current values; made again when one of them changes
}

// NewSet returns a set of these sources. The first is the default: what a client
// gets that asks for no name or for one that no certificate has.
func NewSet(sources ...*Source) *Set {
	return &Set{sources: slices.Clone(sources)}
}

// Usable reports whether there is a certificate to offer TLS with.
func (s *Set) Usable() bool {
	return slices.ContainsFunc(s.sources, func(src *Source) bool { return len(src.Certificates()) > 0 })
}

// GetCertificate chooses the certificate for a client; it is made for
// tls.Config.GetCertificate, with Certificates left empty. In this order:
// a certificate with exactly the name that the client asks for, one with a wildcard
// for it, the default, any other; the first of them that the client can use, and
// ECDSA before RSA where several have the same name. When the client can use none
// of them it gets the first in the same order, and the handshake says why it fails.
//
// An unknown name is never refused (RFC 6066, 3 permits to continue; RFC 7672, 8.1
// asks for it). The only error is ErrNoCertificate.
func (s *Set) GetCertificate(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
	ix := s.index()
	switch len(ix.rest) {
	case 0:
		return nil, ErrNoCertificate
	case 1:
		return ix.rest[0], nil
	}
	// The name has been matched here. SupportsCertificate would refuse every
	// certificate that lacks it, whether or not the client minds.
	client := *h
	client.ServerName = ""
	var first *tls.Certificate
	for _, tier := range ix.tiers(h.ServerName) {
		for _, c := range tier {
			if client.SupportsCertificate(c) == nil {
				return c, nil
			}
		}
		if first == nil && len(tier) > 0 {
			first = tier[0]
		}
	}
	return first, nil
}

// index is the certificates of a set in the order of preference.
type index struct {
	of        []*loaded // the values that it was made from, by source
	exact     map[string][]*tls.Certificate
	wildcard  map[string][]*tls.Certificate // "*.example.org" under ".example.org"
	preferred []*tls.Certificate            // the default: the first and those with its name
	rest      []*tls.Certificate            // all of them, in the order of the sources
}

// index returns the index of the current values. Two goroutines may both make it
// anew after a change; they make the same, or the next handshake makes it again.
func (s *Set) index() *index {
	ix := s.cache.Load()
	if ix == nil || !ix.current(s.sources) {
		ix = newIndex(s.sources)
		s.cache.Store(ix)
	}
	return ix
}

func (ix *index) current(sources []*Source) bool {
	for i, s := range sources {
		if ix.of[i] != s.current.Load() {
			return false
		}
	}
	return true
}

func newIndex(sources []*Source) *index {
	ix := &index{exact: map[string][]*tls.Certificate{}, wildcard: map[string][]*tls.Certificate{}}
	for _, s := range sources {
		value := s.current.Load()
		ix.of = append(ix.of, value)
		for _, c := range value.certs {
			ix.add(c)
		}
	}
	for _, m := range []map[string][]*tls.Certificate{ix.exact, ix.wildcard} {
		for _, certs := range m {
			slices.SortStableFunc(certs, byKey)
		}
	}
	if len(ix.rest) > 0 {
		ix.preferred = ix.withNameOf(ix.rest[0])
	}
	return ix
}

func (ix *index) add(c *tls.Certificate) {
	ix.rest = append(ix.rest, c)
	for _, name := range names(c.Leaf) {
		m, key := ix.place(name)
		if !slices.Contains(m[key], c) {
			m[key] = append(m[key], c)
		}
	}
}

// place returns where a name of a certificate is kept.
func (ix *index) place(name string) (map[string][]*tls.Certificate, string) {
	name = strings.ToLower(name)
	if suffix, ok := strings.CutPrefix(name, "*"); ok && strings.HasPrefix(suffix, ".") {
		return ix.wildcard, suffix
	}
	return ix.exact, name
}

// withNameOf returns the certificates that share c's first name, which makes an
// ECDSA and an RSA certificate for the same server one default.
func (ix *index) withNameOf(c *tls.Certificate) []*tls.Certificate {
	if all := names(c.Leaf); len(all) > 0 {
		m, key := ix.place(all[0])
		return m[key]
	}
	return []*tls.Certificate{c}
}

// tiers returns the candidates for a name, best first.
func (ix *index) tiers(serverName string) [4][]*tls.Certificate {
	t := [4][]*tls.Certificate{2: ix.preferred, 3: ix.rest}
	name := strings.ToLower(serverName)
	t[0] = ix.exact[name]
	// RFC 9525, 6.3: a wildcard stands for one whole label, the leftmost.
	if i := strings.IndexByte(name, '.'); i > 0 {
		t[1] = ix.wildcard[name[i:]]
	}
	return t
}

// names returns the DNS names of a certificate. The common name stands in
// where there are none, as it did for the clients of that time.
func names(leaf *x509.Certificate) []string {
	if len(leaf.DNSNames) == 0 && leaf.Subject.CommonName != "" {
		return []string{leaf.Subject.CommonName}
	}
	return leaf.DNSNames
}

// byKey puts ECDSA first: Go signs with it some twenty times faster than with
// RSA, and the handshake is smaller. Ed25519 is as fast, and rare.
func byKey(a, b *tls.Certificate) int { return keyRank(a) - keyRank(b) }

func keyRank(c *tls.Certificate) int {
	switch c.Leaf.PublicKey.(type) {
	case *ecdsa.PublicKey:
		return 0
	case ed25519.PublicKey:
		return 1
	}
	return 2
}
