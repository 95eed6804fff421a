package dnstest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// Zone is one of a tree of zones that are served signed.
type Zone struct {
	Name    string // "example.com"; "." is the root, which each tree needs
	Records string // in the format of zone files, relative to Name; SOA, NS, DS and what signs are made

	Algorithm uint8   // of the keys. 0: 13, ECDSA P-256. 3, 12, 16 and 253 are made up
	Bits      int     // of RSA keys. 0: 2048
	Digests   []uint8 // of the DS records. None: 2, SHA-256
	Unsigned  bool    // neither signed nor with DS records
	Island    bool    // signed, without DS records

	Denial     Denial
	Iterations uint16 // of NSEC3
	Salt       string // of NSEC3, in hex

	// Flaws are what is wrong: by the owner, relative to Name, "@" for the apex
	// and "" for all names. Some are about the zone as a whole: those stand at "".
	Flaws map[string]Flaw
	// At is the time that signatures are made for. Zero: now.
	At time.Time
}

// Denial is how a zone proves what it has not.
type Denial uint8

const (
	NSEC    Denial = iota
	NSEC3          // with all names
	OptOut         // NSEC3 that leaves delegations out that are not signed
	Compact        // NSEC made for each question (RFC 9824)
)

// Flaw is a way in which DNSSEC goes wrong.
type Flaw string

// Flaws of names.
const (
	Expired      Flaw = "expired"       // the signatures are of last month
	NotYet       Flaw = "not yet"       // the signatures are of next month
	WrongKey     Flaw = "wrong key"     // made with another key of the same tag
	NoSignature  Flaw = "no signature"  // left out
	ForeignName  Flaw = "foreign name"  // the signer is the parent
	TooManyOnes  Flaw = "labels"        // the signature counts more labels than there are
	NoProof      Flaw = "no proof"      // no NSEC or NSEC3 records
	WrongProof   Flaw = "wrong proof"   // those of the apex alone
	BitmapLies   Flaw = "bitmap"        // NSEC records name all types that are asked for
	TwoBadFirst  Flaw = "two bad first" // two wrong signatures before the right one
	OneBadFirst  Flaw = "one bad first" // one wrong signature before the right one
	WrongTTL     Flaw = "original ttl"  // the signature is over another TTL
	AlteredData  Flaw = "altered"       // the records are not those that were signed
	RepeatedName Flaw = "upper case"    // owners are in upper case, which is no flaw
)

// Flaws of zones.
const (
	WrongDS     Flaw = "wrong ds"      // the DS record has another digest
	OtherTag    Flaw = "other tag"     // the DS record has another tag
	Revoked     Flaw = "revoked"       // the keys are
	NoZoneFlag  Flaw = "no zone flag"  // the keys are not for zones
	BadProtocol Flaw = "protocol"      // the keys are of protocol 4
	BareKeys    Flaw = "bare keys"     // the keys are not signed
	ZoneKeyOnly Flaw = "zone key only" // the keys are signed, by the one without DS record
	NoKeys      Flaw = "no keys"       // there are none
	Lame        Flaw = "lame"          // SERVFAIL to everything
	LameKeys    Flaw = "lame keys"     // SERVFAIL to DNSKEY
	HidDS       Flaw = "hidden ds"     // the parent says that there is no DS record, without proof
	OddAlgo     Flaw = "odd algorithm" // a second DS record, of an algorithm without key
)

// StartSigned returns a server of these zones that stops with the test.
func StartSigned(t testing.TB, zones ...Zone) *Server {
	t.Helper()
	s, err := NewSigned(zones...)
	if err == nil {
		err = s.Listen("127.0.0.1:0")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// NewSigned returns a server of these zones that does not listen yet. Anchors
// are the DS records of its root. The records cannot be changed; faults can.
func NewSigned(zones ...Zone) (*Server, error) {
	w := &world{zones: map[string]*signedZone{}}
	for _, spec := range zones {
		z, err := build(spec)
		if err != nil {
			return nil, err
		}
		w.zones[z.name] = z
	}
	root := w.zones["."]
	if root == nil {
		return nil, fmt.Errorf("dnstest: no root zone")
	}
	for _, z := range w.zones {
		if z != root {
			z.delegate(w.parent(z.name))
		}
	}
	for _, z := range w.zones {
		z.chain()
	}
	s, err := New("")
	s.world = w
	for _, ds := range root.ds() {
		s.Anchors += ds.String() + "\n"
	}
	return s, err
}

// signedZone is a zone that is served.
type signedZone struct {
	Zone
	name    string // with final dot
	parent  *signedZone
	tree    tree
	names   []string // with records, or at which a zone begins, in canonical order
	hashes  []hashed // of all of them and of those between, in order
	ksk     pair
	zsk     pair
	made    map[key][]dns.RR // signatures
	forgers []pair           // keys that sign what must not verify
}

func build(spec Zone) (*signedZone, error) {
	z := &signedZone{Zone: spec, name: dns.CanonicalName(spec.Name), tree: tree{}, made: map[key][]dns.RR{}}
	if z.At.IsZero() {
		z.At = time.Now()
	}
	if z.Algorithm == 0 {
		z.Algorithm = dns.ECDSAP256SHA256
	}
	if z.Bits == 0 {
		z.Bits = 2048
	}
	if z.Digests == nil {
		z.Digests = []uint8{dns.SHA256}
	}
	text := fmt.Sprintf("$ORIGIN %s\n@ %d IN SOA ns hostmaster 1 3600 600 86400 %d\n@ %d IN NS ns\n%s\n", z.name, defaultTTL, defaultTTL, defaultTTL, z.Records)
	p := dns.NewZoneParser(strings.NewReader(text), z.name, "")
	p.SetDefaultTTL(defaultTTL)
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		z.tree.add(rr)
	}
	if err := p.Err(); err != nil {
		return nil, fmt.Errorf("dnstest: zone %s: %w", z.name, err)
	}
	if !z.Unsigned {
		z.makeKeys()
	}
	return z, nil
}

func (t tree) add(rr dns.RR) {
	k := key{dns.CanonicalName(rr.Header().Name), rr.Header().Rrtype}
	t[k] = append(t[k], rr)
}

// makeKeys puts two keys into the zone: the one that the DS records stand for,
// which signs the keys, and the one that signs all else.
func (z *signedZone) makeKeys() {
	flags := uint16(dns.ZONE)
	if z.Flaws[""] == Revoked {
		flags |= dns.REVOKE
	}
	if z.Flaws[""] == NoZoneFlag {
		flags &^= dns.ZONE
	}
	z.ksk, z.zsk = newPair(z.name, z.Algorithm, flags|dns.SEP, z.Bits, 0), newPair(z.name, z.Algorithm, flags, z.Bits, 1)
	z.forgers = []pair{newPair(z.name, z.Algorithm, flags, z.Bits, 2)}
	for _, p := range []pair{z.ksk, z.zsk} {
		if z.Flaws[""] == BadProtocol {
			p.public.Protocol = 4
		}
		if z.Flaws[""] != NoKeys {
			z.tree.add(p.public)
		}
	}
}

// ds returns the records that the parent has.
func (z *signedZone) ds() (all []dns.RR) {
	if z.Unsigned || z.Island {
		return nil
	}
	for _, digest := range z.Digests {
		ds := z.ksk.public.ToDS(digest)
		if ds == nil { // of a digest that nobody knows
			ds = z.ksk.public.ToDS(dns.SHA256)
			ds.DigestType = digest
		}
		switch z.Flaws[""] {
		case WrongDS:
			ds.Digest = strings.Repeat("0", len(ds.Digest))
		case OtherTag:
			ds.KeyTag++
		case OddAlgo:
			odd := *ds
			odd.Algorithm = dns.ED448
			all = append(all, &odd)
		}
		all = append(all, ds)
	}
	return all
}

// delegate puts the records of the cut into the parent.
func (z *signedZone) delegate(parent *signedZone) {
	z.parent = parent
	parent.tree.add(z.tree[key{z.name, dns.TypeNS}][0])
	for _, ds := range z.ds() {
		parent.tree.add(ds)
	}
}

func (z *signedZone) has(name string, kind uint16) bool { return len(z.tree[key{name, kind}]) > 0 }

// isCut says whether another zone begins at name.
func (z *signedZone) isCut(name string) bool { return name != z.name && z.has(name, dns.TypeNS) }

// types returns those of a name, as NSEC records name them.
func (z *signedZone) types(name string) (all []uint16) {
	for k := range z.tree {
		if k.name == name && (!z.isCut(name) || k.kind == dns.TypeNS || k.kind == dns.TypeDS) {
			all = append(all, k.kind)
		}
	}
	slices.Sort(all)
	return all
}

// flaw returns what is wrong at name.
func (z *signedZone) flaw(name string) Flaw {
	relative := strings.TrimSuffix(strings.TrimSuffix(name, z.name), ".")
	if relative == "" {
		relative = "@"
	}
	if f := z.Flaws[relative]; f != "" {
		return f
	}
	return z.Flaws[""]
}
