package peers

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Summary is one line about one record.
type Summary struct {
	Kind      string    `json:"kind"` // "host", "domain", "client" (with Hello) or "address"
	Name      string    `json:"name"` // "mx.example.com:25", "example.com", "192.0.2.1"
	Hello     string    `json:"hello,omitempty"`
	FirstSeen time.Time `json:"first_seen"`
	LastSeen  time.Time `json:"last_seen"`
	Secured   int       `json:"secured"`           // sessions with TLS
	Clear     int       `json:"clear,omitempty"`   // and without, outbound
	Failed    int       `json:"failed"`            // TLS that failed; of a domain: attempts of the present outage
	Version   string    `json:"version,omitempty"` // of the latest session with TLS
	Trust     string    `json:"trust,omitempty"`   // Postfix's word for the latest certificate
	// SkipUntil is until when STARTTLS is not tried with a host, or not
	// offered to a client.
	SkipUntil  time.Time `json:"skip_until,omitzero"`
	Remembered []string  `json:"remembered,omitempty"` // hosts of a domain
	Outage     time.Time `json:"outage,omitzero"`      // of a domain: see DomainRecord
}

// Record is all that is kept about one peer: one of Host, Domain and Client.
type Record struct {
	Kind   string        `json:"kind"` // as in Summary
	Name   string        `json:"name"`
	Hello  string        `json:"hello,omitempty"`
	Host   *HostRecord   `json:"host,omitempty"`
	Domain *DomainRecord `json:"domain,omitempty"`
	Client *ClientRecord `json:"client,omitempty"`
}

// found is a record with its name.
type found struct {
	ref
	record record
}

// List returns a line about every record, hosts first, then domains and
// clients, each in the order of their names. An error is the store's.
func (m *Memory) List() ([]Summary, error) {
	all, err := m.find(func(found) bool { return true })
	lines := make([]Summary, 0, len(all))
	for _, f := range all {
		lines = append(lines, f.summary(m.now(), m.longest()))
	}
	return lines, err
}

// longest is for how long any Outbound remembers.
func (m *Memory) longest() time.Duration {
	return cmp.Or(time.Duration(m.expire.Load()), DefaultRules().Remember.Expire)
}

// Show returns what is kept about a name: a destination, a server (with or
// without ":port"; then also the destinations that it serves) or the address
// of a client. Nothing is known of it when there is none. An error is the
// store's.
func (m *Memory) Show(name string) ([]Record, error) {
	all, err := m.find(named(name).matches)
	records := make([]Record, 0, len(all))
	for _, f := range all {
		records = append(records, f.full())
	}
	return records, err
}

// Forget forgets what Show would show, at once and for good, and says how many
// records that were. Of a destination that a server of this name serves, it is
// the part about that server. What fails to be written is forgotten
// nevertheless, as long as the process lasts; the error is the store's.
func (m *Memory) Forget(name string) (n int, err error) {
	q := named(name)
	all, err := m.find(q.matches)
	if err != nil {
		return 0, err
	}
	for _, f := range all {
		m.forget(f.ref, q)
	}
	return len(all), m.Flush()
}

func (m *Memory) forget(r ref, q query) {
	c := m.servers
	if r.kind == clientKind || r.kind == addressKind {
		c = m.clients
	}
	e := c.lock(m.now(), r)[0]
	defer c.mu.Unlock()
	c.change(e)
	if r.kind == domainKind && r.name != q.name {
		d := e.domain()
		d.Hosts = slices.DeleteFunc(d.Hosts, q.host)
		return
	}
	e.record = newRecord(r.kind)
}

// find returns the records that f is true for: those in the store, and what
// has not been written, should the store not take it.
func (m *Memory) find(f func(found) bool) ([]found, error) {
	_ = m.Flush() // has been logged, and the cache is looked at below
	now := m.now()
	all := map[string]found{}
	add := func(key string, value []byte) error {
		delete(all, key)
		r, ok := parseKey(key)
		if !ok || value == nil {
			return nil
		}
		if record, _, err := decode(r.kind, value, now); err == nil && f(found{r, record}) {
			all[key] = found{r, record}
		}
		return nil
	}
	for _, kind := range kinds {
		if err := m.store.Scan(kind+"/", add); err != nil {
			return nil, err
		}
	}
	for _, c := range []*cache{m.servers, m.clients} {
		changes, _ := c.encode(c.due())
		for _, change := range changes {
			_ = add(change.Key, change.Value) // which never fails
		}
	}
	sorted := make([]found, 0, len(all))
	for _, f := range all {
		sorted = append(sorted, f)
	}
	slices.SortFunc(sorted, func(a, b found) int { return a.compare(b.ref) })
	return sorted, nil
}

// query is a name that a person asks for.
type query struct {
	address netip.Addr // of a client, if it is one
	name    string
	port    uint16 // 0: any
}

func named(name string) query {
	q := query{name: canonical(strings.TrimSpace(name))}
	if a, err := netip.ParseAddr(q.name); err == nil {
		q.address = plain(a)
		return q
	}
	if at := strings.LastIndexByte(q.name, ':'); at >= 0 {
		if port, err := strconv.ParseUint(q.name[at+1:], 10, 16); err == nil {
			q.name, q.port = canonical(q.name[:at]), uint16(port)
		}
	}
	return q
}

func (q query) matches(f found) bool {
	switch r := f.record.(type) {
	case *HostRecord:
		return f.name == q.name && (q.port == 0 || f.port == q.port)
	case *DomainRecord:
		return f.name == q.name && q.port == 0 || slices.ContainsFunc(r.Hosts, q.host)
	default:
		return q.address.IsValid() && f.address == q.address
	}
}

// host says that a server of a destination is the one asked for.
func (q query) host(d DomainHost) bool {
	return d.Name == q.name && (q.port == 0 || d.Port == q.port)
}

// names returns the kind and name of a record, for people.
func (f found) names() (kind, name, hello string) {
	kind = kinds[f.kind]
	if f.kind == clientKind {
		return kind, f.address.String(), strings.ToValidUTF8(lower(f.hello), "?")
	}
	return kind, f.text(), ""
}

func (f found) full() (r Record) {
	r.Kind, r.Name, r.Hello = f.names()
	switch record := f.record.(type) {
	case *HostRecord:
		r.Host = record
	case *DomainRecord:
		r.Domain = record
	case *ClientRecord:
		r.Client = record
	}
	return r
}

func (f found) summary(now time.Time, expire time.Duration) (s Summary) {
	s.Kind, s.Name, s.Hello = f.names()
	seen := f.record.seen()
	s.FirstSeen, s.LastSeen = seen.First, seen.Last
	switch r := f.record.(type) {
	case *HostRecord:
		s.Secured, s.Clear, s.Failed = r.Secured.Count, r.Clear.Count, r.Failed.Count
		s.Version, s.Trust = r.Versions.latest(), r.Verdicts.latest()
		if now.Before(r.Skip.Until) {
			s.SkipUntil = r.Skip.Until
		}
	case *DomainRecord:
		s.Outage = r.Outage
		for _, d := range r.Hosts {
			s.Secured += d.Valid.Count
			s.Failed += d.Rejected.Count
			if d.remembered(now, expire) {
				s.Remembered = append(s.Remembered, d.Name)
			}
		}
	case *ClientRecord:
		s.Secured, s.Failed = r.Secured.Count, r.Failed.Count
		s.Version, s.Trust = r.Versions.latest(), r.Verdicts.latest()
		if within(now, hold, r.Held) {
			s.SkipUntil = r.Held.Add(hold)
		}
	}
	return s
}
