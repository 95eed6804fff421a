package dane

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Resolver is what a Lookup asks. Both methods give what was validated by DNSSEC, or proved to be
// insecure; that nobody could find out which, a time-out, SERVFAIL, and an answer that is bogus
// are errors. Both are safe for concurrent use.
type Resolver interface {
	// Address says whether the addresses of a host can be trusted, and what its name is an alias
	// of. That there is no address is an error as well, ErrNoAddress.
	Address(ctx context.Context, host string) (Address, error)
	// TLSA returns the records of an owner, such as _25._tcp.mx.example.com, and follows CNAMEs. That
	// there is none is an answer without records.
	TLSA(ctx context.Context, owner string) (Answer, error)
}

// Address is what is known of a host's address.
type Address struct {
	Canonical   string // where CNAMEs lead from the host; the host itself without
	Secure      bool   // the address and all CNAMEs on the way are signed
	AliasSecure bool   // the host's own CNAME, the first, is signed; of no meaning without
	Unproved    string // why nobody could tell whether it is signed; "" where somebody could, or nobody was to
	Expires     time.Time
}

// Answer is a set of TLSA records.
type Answer struct {
	Records  []Record // none: there are none
	Secure   bool     // the records, or the proof that there are none, and all CNAMEs on the way, are signed
	Unproved string   // as of Address
	Owner    string   // where the records are, after CNAMEs
	Expires  time.Time
}

// InsecureMX says what to do with a signed host that an unsigned domain names as its MX. Postfix
// calls it smtp_tls_dane_insecure_mx_policy.
type InsecureMX uint8

const (
	// InsecureMatch asks the host for what its TLSA records say. That protects against listeners and
	// against interception at the host, not against forged MX records (RFC 7672, 2.2.1). It is the default, as Postfix's.
	InsecureMatch InsecureMX = iota
	// InsecureEncrypt makes TLS mandatory where there are TLSA records, and authenticates nobody.
	InsecureEncrypt
	// InsecureIgnore makes DANE not apply.
	InsecureIgnore
)

// MXInfo is one mail host of a destination, as the MX look-up found it.
type MXInfo struct {
	Domain    string // the destination: the next-hop domain
	Canonical string // where signed CNAMEs lead from Domain; empty or Domain itself without
	Host      string // as the MX record has it, not its alias; a name with * or _ in it is fine
	Port      uint16 // that is dialled
	Implicit  bool   // there is no MX record, and Host is Domain; also of a host that an operator named
	MXSecure  bool   // the MX records, or the proof that there are none, are signed
}

// Status says what a Finding means.
type Status uint8

// What a look-up can find, in the order of what follows for a connection.
const (
	NotApplicable Status = iota // something on the way is not signed: as if there were no DANE
	NoRecords                   // it is proved that the host has no TLSA records
	Unusable                    // there are records and none can match: TLS is mandatory, for anybody (RFC 7672, 2.2)
	Usable                      // the server must match one of the records (RFC 7672, 2.2.3)
)

var statusNames = [...]string{"not_applicable", "no_records", "unusable", "usable"}

// String returns the word that logs and metrics use.
func (s Status) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return fmt.Sprintf("Status(%d)", uint8(s))
}

// Finding is what is known of one mail host. Do not write to its slices.
type Finding struct {
	Status     Status
	Base       string   // the TLSA base domain: the SNI of the connection (RFC 7672, 8.1), unless NotApplicable; no final dot
	Records    []Record // all of them, in the order of Sort
	Usable     int      // how many of them can match
	Unusable   []string // the others, each with the reason
	Names      Names    // for Match
	NoAddress  bool     // the host has none. One that turns up later is not what was asked about: do not connect to it
	InsecureMX bool     // the MX records are not signed: who matches is trusted, not verified
	Why        string   // one line for people
	// Unproved is why nobody could tell whether DANE applies; "" where it does, or is proved not to. NotApplicable follows
	// from both (RFC 7672, 2.1.1), for a caller who does not know better.
	Unproved string
	// NoDNSSEC is a caller's to set: there is none at all here, and it is believed that there is none. Then
	// Unproved is no reason for mail to wait.
	NoDNSSEC bool
	Expires  time.Time
}

// LookupError says that it could not be found out what a host's TLSA records are, so that nobody
// knows whether it is safe to use. The host must be skipped, and mail deferred when no other is left: never
// fall back to what would be done without records (RFC 7672, 2.1.2).
type LookupError struct {
	Name string // that was asked for
	Type string // "TLSA" or "address"
	Err  error
}

// Error returns, say, "cannot look up the TLSA records of _25._tcp.mx.example.com: SERVFAIL from
// 127.0.0.1:53".
func (e *LookupError) Error() string {
	what := e.Type
	if what == "TLSA" {
		what = "TLSA records"
	}
	return "cannot look up the " + what + " of " + Clean(e.Name) + ": " + e.Err.Error()
}

// Bogus says that there was an answer, and that it did not validate: what is published is broken, or
// somebody tampers with it. An error of the Resolver says so by a method of the same name.
func (e *LookupError) Bogus() bool {
	b, ok := errors.AsType[interface {
		error
		Bogus() bool
	}](e.Err)
	return ok && b.Bogus()
}

// Unwrap returns Err.
func (e *LookupError) Unwrap() error { return e.Err }

// Lookup finds TLSA records. It holds no state: remembering answers is the resolver's business.
type Lookup struct {
	Resolver   Resolver
	InsecureMX InsecureMX
}

// ErrNoAddress is what a Resolver returns for a host without an address.
var ErrNoAddress = errors.New("no address")

var errPort = errors.New("port 0 has no TLSA records: give the port that is dialled")

// Find returns what DANE asks of one mail host. The error is a *LookupError, and wraps that of a
// context that was done.
func (l *Lookup) Find(ctx context.Context, mx MXInfo) (Finding, error) {
	host := canonical(mx.Host)
	f := Finding{InsecureMX: !mx.MXSecure}
	switch {
	case mx.Port == 0:
		return Finding{}, &LookupError{host, "TLSA", errPort}
	case host == "" || isAddress(host):
		f.Why = "the mail host is an address and has no TLSA records"
		return f, nil
	case !mx.MXSecure && l.InsecureMX == InsecureIgnore:
		// RFC 7672, 2.2.1: who forges the MX records chooses a host with TLSA records of his own.
		f.Why = "the MX records of " + Clean(mx.Domain) + " are not signed"
		return f, nil
	}
	// RFC 7672, 2.2.2: some name servers of unsigned zones fail when asked for TLSA records, so that they
	// are asked only where the address is signed.
	addr, err := l.Resolver.Address(ctx, host)
	if errors.Is(err, ErrNoAddress) { // nobody can connect to it, so there is nothing to be decided
		f.NoAddress, f.Why = true, Clean(host)+" has no address"
		return f, nil
	}
	if err != nil {
		return Finding{}, &LookupError{host, "address", err}
	}
	f.Expires = addr.Expires
	names := bases(host, addr)
	if len(names) == 0 {
		f.notSigned("the address of "+Clean(host), addr.Unproved)
		return f, nil
	}
	return l.ask(ctx, f, names, mx)
}

// notSigned notes that DANE does not apply.
func (f *Finding) notSigned(what, unproved string) {
	f.Unproved = unproved
	if f.Why = what + " is not signed"; unproved != "" {
		f.Why = "nobody can tell whether " + what + " is signed: " + unproved
	}
}

// bases returns the names that TLSA records can be under, the better one first (RFC 7672, 2.2.2 and
// 2.2.3; RFC 7671, 7): where the aliases lead, if all of it is signed; then the host as the MX record
// has it, if at least its own alias is.
func bases(host string, addr Address) []string {
	alias := canonical(addr.Canonical)
	isAlias := alias != "" && alias != host
	switch {
	case addr.Secure && isAlias:
		return []string{alias, host}
	case addr.Secure, isAlias && addr.AliasSecure:
		return []string{host}
	}
	return nil
}

// ask takes the first base that has records. One that has none, or whose records are not signed, leaves it to the
// next; an error does not (RFC 7672, 2.1.2): else who makes it fail would choose.
func (l *Lookup) ask(ctx context.Context, f Finding, bases []string, mx MXInfo) (Finding, error) {
	var insecure, none []string
	unproved := ""
	for _, base := range bases {
		owner := Owner(base, mx.Port)
		answer, err := l.Resolver.TLSA(ctx, owner)
		if err != nil {
			return Finding{}, &LookupError{owner, "TLSA", err}
		}
		f.Expires = earlier(f.Expires, answer.Expires)
		switch {
		case !answer.Secure:
			insecure = append(insecure, Clean(owner))
			unproved = cmp.Or(unproved, answer.Unproved)
		case len(answer.Records) == 0:
			none = append(none, Clean(owner))
		default:
			f.Base, f.Names = base, mx.names(base)
			l.judge(&f, answer, owner, mx)
			return f, nil
		}
	}
	if len(none) == 0 {
		f.notSigned("the answer for "+strings.Join(insecure, " and "), unproved)
		return f, nil
	}
	f.Status, f.Base = NoRecords, canonical(mx.Host)
	f.Why = "no TLSA records at " + strings.Join(none, " and ")
	return f, nil
}

// judge fills in what the records are good for.
func (l *Lookup) judge(f *Finding, answer Answer, owner string, mx MXInfo) {
	f.Records = Sort(slices.Clone(answer.Records))
	for i := range f.Records {
		if err := f.Records[i].Usable(); err != nil {
			f.Unusable = append(f.Unusable, f.Records[i].short()+": "+Clean(err.Error()))
		} else {
			f.Usable++
		}
	}
	at := Clean(owner)
	if to := canonical(answer.Owner); to != "" && to != owner {
		at += " (an alias of " + Clean(to) + ")"
	}
	f.Status, f.Why = Usable, fmt.Sprintf("%d of %d TLSA records at %s can be used", f.Usable, len(f.Records), at)
	if f.InsecureMX {
		f.Why += "; the MX records of " + Clean(mx.Domain) + " are not signed"
	}
	if f.Usable == 0 || f.InsecureMX && l.InsecureMX == InsecureEncrypt {
		f.Status = Unusable
	}
}

// names are what a certificate may be for (RFC 7672, 3.2.2): the base domain; with signed MX records also the
// destination and what it is an alias of; without any MX record the host under its first name.
func (mx MXInfo) names(base string) Names {
	names := Names{base}
	add := func(name string) {
		if name = canonical(name); name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	switch {
	case mx.Implicit:
		add(mx.Host)
	case mx.MXSecure:
		add(mx.Domain)
		add(mx.Canonical)
	}
	return names
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
