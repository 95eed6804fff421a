// Package certs holds the certificates that a server shows: where they come from,
// which of them a client gets, and how they change while the server runs.
//
// A Source is one named certificate of the configuration, with everything that
// belongs to it: a pair of files, or an ECDSA and an RSA certificate for the same
// names. It is replaced by building the new value, validating it and swapping one
// pointer: a handshake sees the old certificate or the new one, never a mixture,
// and a new one that cannot be used leaves the old one in place. Watch does that
// whenever the files change.
//
// A Set is what one listener has of them. It chooses by the name that the client
// asks for (SNI) and by what the client can verify, and it always has an answer: a
// mail client that asks for an unknown name gets the default certificate, because
// most senders do not look at it, and those that do (RFC 7672, 8.1) must see some
// certificate before they can decide.
//
// Tickets are the keys of resumed sessions.
//
// What is not done: no revocation list is consulted, and no certificate is refused
// because a stranger could not verify it: an expired or self-signed certificate
// still encrypts, and Warnings names the fact.
package certs

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// Source is one named certificate with a current value. Its methods may be called
// at any time from any goroutine.
type Source struct {
	name  string
	files []string // what to watch; none when there is nothing
	load  loader

	reload  sync.Mutex // one Reload at a time, so that an older value never overwrites a newer one
	current atomic.Pointer[loaded]
}

// loaded is one value of a source, never changed after it was made.
type loaded struct {
	certs []*tls.Certificate
	sum   [sha256.Size]byte // of the texts that it was made from, to notice a change
}

// loader makes a new value, or returns the old one when nothing has changed. The
// first call has no old one.
type loader func(old *loaded) (*loaded, error)

func newSource(name string, load loader, files ...string) (*Source, error) {
	s := &Source{name: name, load: load, files: files}
	if _, err := s.Reload(); err != nil {
		return nil, err
	}
	return s, nil
}

// Static is a source of certificates that never change. Each must have its
// PrivateKey; a missing Leaf is parsed.
func Static(name string, certs ...tls.Certificate) (*Source, error) {
	return newSource(name, func(old *loaded) (*loaded, error) {
		if old != nil {
			return old, nil
		}
		if len(certs) == 0 {
			return nil, errors.New("no certificate given")
		}
		value := &loaded{}
		for _, c := range certs {
			if err := parseLeaf(&c); err != nil {
				return nil, err
			}
			value.certs = append(value.certs, &c)
		}
		return value, nil
	})
}

// Name returns the name that the configuration gives it.
func (s *Source) Name() string { return s.name }

// Certificates returns the current certificates, each with its Leaf parsed. They
// are shared: the caller must not change them.
func (s *Source) Certificates() []*tls.Certificate {
	return s.current.Load().certs
}

// Reload reads the source again and reports whether its certificates have changed.
// When the new ones cannot be used the old ones stay and the error says why; the
// texts of these errors name the file and the remedy.
func (s *Source) Reload() (changed bool, err error) {
	s.reload.Lock()
	defer s.reload.Unlock()
	old := s.current.Load()
	value, err := s.load(old)
	if err != nil {
		return false, fmt.Errorf("certificate %q: %w", s.name, err)
	}
	s.current.Store(value)
	return value != old, nil
}

// parseLeaf sets Leaf, so that no handshake has to parse it again.
func parseLeaf(c *tls.Certificate) (err error) {
	switch {
	case c.PrivateKey == nil:
		return errors.New("certificate without a private key")
	case c.Leaf != nil:
		return nil
	case len(c.Certificate) == 0:
		return errors.New("certificate without content")
	}
	c.Leaf, err = x509.ParseCertificate(c.Certificate[0])
	return err
}
