package peers

import (
	"cmp"
	"encoding/json"
	"hash/maphash"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"postern/store"
)

type kind int8

const (
	hostKind kind = iota
	domainKind
	clientKind
	addressKind
)

// kinds are their names, with which the keys of the store begin:
// "host/mx.example.com:25", "domain/example.com",
// "client/192.0.2.1/mail.example.org", "address/192.0.2.1".
var kinds = [...]string{hostKind: "host", domainKind: "domain", clientKind: "client", addressKind: "address"}

// id is the key of a record in the cache. The name that a client gives itself
// is in it as a hash, so that an id is made without allocating and is small
// whatever the name is. Two names with one hash could only be taken for each
// other at one address, and the seed is random.
type id struct {
	kind    kind
	port    uint16     // of a host
	address netip.Addr // of a client
	hello   uint64     // of a client: the hash of its name
	name    string     // of a host or domain: in lower case, at most maxName octets
}

// ref is an id, and the name of the client in it, in any case.
type ref struct {
	id
	hello string
}

// maxName is the longest domain name in octets (RFC 5321, 4.5.3.1.2).
const maxName = 255

// Host is a server that mail is sent to: the name of an MX host or smarthost,
// or an address literal, and the port. Case and a final dot do not matter.
type Host struct {
	Name string
	Port uint16
}

func (h Host) ref() ref {
	return ref{id: id{kind: hostKind, name: canonical(h.Name), port: h.Port}}
}

func domainRef(name string) ref { return ref{id: id{kind: domainKind, name: canonical(name)}} }

func clientRef(address netip.Addr, hello string) ref {
	var folded [maxName]byte
	n := copy(folded[:], hello)
	fold(folded[:n])
	return ref{id{kind: clientKind, address: plain(address), hello: maphash.Bytes(seed, folded[:n])}, hello}
}

func addressRef(address netip.Addr) ref {
	return ref{id: id{kind: addressKind, address: plain(address)}}
}

var seed = maphash.MakeSeed()

func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

func canonical(name string) string { return lower(strings.TrimSuffix(name, ".")) }

// lower folds the case of a name and cuts off what no name has. It allocates
// only for a name that is not in lower case.
func lower(name string) string {
	name = name[:min(len(name), maxName)]
	if !strings.ContainsFunc(name, func(r rune) bool { return 'A' <= r && r <= 'Z' }) {
		return name
	}
	octets := []byte(name)
	fold(octets)
	return string(octets)
}

// fold puts ASCII letters, and them alone, into lower case. RFC 5321, 2.4: the
// case of domain names has no meaning.
func fold(name []byte) {
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			name[i] = c + ('a' - 'A')
		}
	}
}

// key is the key in the store.
func (i ref) key() string { return kinds[i.kind] + "/" + i.text() }

// text is the part of the key behind its kind.
func (i ref) text() string {
	switch i.kind {
	case hostKind:
		return i.name + ":" + strconv.Itoa(int(i.port))
	case domainKind:
		return i.name
	case clientKind:
		return i.address.String() + "/" + lower(i.hello)
	default:
		return i.address.String()
	}
}

// parseKey is the inverse of key. It is false for what is no key of ours.
func parseKey(key string) (r ref, ok bool) {
	name, text, _ := strings.Cut(key, "/")
	switch k := kind(slices.Index(kinds[:], name)); k {
	case hostKind:
		at := max(0, strings.LastIndexByte(text, ':'))
		port, err := strconv.ParseUint(strings.TrimPrefix(text[at:], ":"), 10, 16)
		if err != nil {
			return r, false
		}
		r = Host{text[:at], uint16(port)}.ref()
	case domainKind:
		r = domainRef(text)
	case clientKind, addressKind:
		text, hello, _ := strings.Cut(text, "/")
		address, err := netip.ParseAddr(text)
		if err != nil {
			return r, false
		}
		if r = addressRef(address); k == clientKind {
			r = clientRef(address, hello)
		}
	default:
		return r, false
	}
	return r, r.key() == key
}

// compare orders records for people: by kind, then address or name.
func (i ref) compare(other ref) int {
	return cmp.Or(cmp.Compare(i.kind, other.kind), i.address.Compare(other.address), cmp.Compare(i.name, other.name),
		cmp.Compare(i.hello, other.hello), cmp.Compare(i.port, other.port))
}

// change is how an entry is written. An empty one is deleted.
func (e *entry) change() store.Change {
	seen := e.record.seen()
	if seen.Count == 0 {
		return store.Change{Key: e.key}
	}
	value, err := json.Marshal(e.record)
	if err != nil { // a time in the year 10000
		return store.Change{Key: e.key}
	}
	return store.Change{Key: e.key, Value: value, Expires: seen.Last.Add(e.record.keep()), Pinned: e.record.protects()}
}
