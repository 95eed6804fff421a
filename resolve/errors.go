package resolve

import (
	"errors"
	"fmt"
	"strings"
)

// What a look-up says for good. They come inside a [PermanentError].
var (
	// ErrNoDomain: the domain does not exist (NXDOMAIN).
	ErrNoDomain = errors.New("no such domain")
	// ErrNullMX: the domain says that it takes no mail (RFC 7505).
	ErrNullMX = errors.New("the domain takes no mail (null MX)")
	// ErrNoAddress: the host has no address of the family asked for. If it does
	// not exist at all, errors.Is finds ErrNoDomain as well.
	ErrNoAddress = errors.New("no address")
	// ErrBadName: what was asked for can be no name in the DNS.
	ErrBadName = errors.New("not a domain name")
)

// errNowhere is the address of a host that does not exist.
var errNowhere = fmt.Errorf("%w: %w", ErrNoAddress, ErrNoDomain)

// PermanentError says that there is nothing to be found, whenever one asks.
type PermanentError struct {
	Name   string // in lower case, without the final dot
	Type   string // "MX", "A", "A and AAAA"; empty if nothing was asked
	Server string // that said so; empty if none was asked
	Err    error  // one of the errors of this package

	Security Security // of the proof that there is none
	Why      string   // it is so, one line for people; "" where nobody looked
}

// Error returns, say, "no such domain: MX of example.com (127.0.0.1:53)".
func (e *PermanentError) Error() string {
	if e.Type == "" {
		return fmt.Sprintf("%v: %s", e.Err, safe(e.Name))
	}
	text := fmt.Sprintf("%v: %s of %s", e.Err, e.Type, safe(e.Name))
	if e.Server == "" {
		return text
	}
	return text + " (" + e.Server + ")"
}

// Unwrap returns Err.
func (e *PermanentError) Unwrap() error { return e.Err }

// TemporaryError says that nobody could tell. It wraps the error of a context
// that was done.
type TemporaryError struct {
	Name     string    // in lower case, without the final dot
	Type     string    // "MX", "A"
	Failures []Failure // of each server that was asked, in that order; may be empty
	Err      error     // what ended it, where that is not the servers'; else nil

	// Security is Bogus for an answer that was there and did not validate, else
	// Indeterminate. Why says it in one line for people.
	Security Security
	Why      string
	// Unsigned: it is Bogus because signatures are missing altogether. That is what a
	// forger's answer looks like, and that of a server with a view of its own.
	Unsigned bool
}

// Bogus says that there was an answer, and that it did not validate.
func (e *TemporaryError) Bogus() bool { return e.Security == Bogus }

// Failure is what became of asking one server.
type Failure struct {
	Server string // "127.0.0.1:53", "tls://192.0.2.1:853"
	Why    string // "SERVFAIL", "timeout", "connection refused"
}

// Error returns, say, "SERVFAIL from 127.0.0.1:53 for MX example.com".
func (e *TemporaryError) Error() string {
	name := "."
	if e.Name != "" {
		name = safe(e.Name)
	}
	return e.Reason() + " for " + e.Type + " " + name
}

// Reason is Error without what was asked for: "SERVFAIL from 127.0.0.1:53".
func (e *TemporaryError) Reason() string {
	var all []string
	for _, f := range e.Failures {
		all = append(all, f.Why+" from "+f.Server)
	}
	if e.Err != nil {
		all = append(all, e.Err.Error())
	}
	return strings.Join(all, ", ")
}

// Unwrap returns Err.
func (e *TemporaryError) Unwrap() error { return e.Err }

// safe quotes a name that came from a caller and is none.
func safe(name string) string {
	if validDomain(name) {
		return name
	}
	return fmt.Sprintf("%.300q", name)
}
