package app

import (
	"encoding/json"
	"errors"
	"net"
	"strings"
	"time"

	"postern/peers"
	"postern/store"
	"postern/tls/mtasts"
)

// PeerRecord is all that is kept about a peer, or about what a destination has
// published: one of Host, Domain, Client, Policy and TLSA.
type PeerRecord struct {
	peers.Record               // with Kind "policy" or "tlsa" too
	Policy       *PolicyRecord `json:"policy,omitempty"`
	TLSA         *TLSARecord   `json:"tlsa,omitempty"`
}

// PolicyRecord is the MTA-STS policy of a domain, as it is kept.
type PolicyRecord struct {
	ID            string    `json:"id"` // of the TXT record
	Mode          string    `json:"mode"`
	MX            []string  `json:"mx"`
	MaxAgeSeconds int64     `json:"max_age_seconds"`
	Fetched       time.Time `json:"fetched"`
	Used          time.Time `json:"used"` // mail for the domain, as of Fetched
}

// TLSARecord says that a server, or those of a domain, had TLSA records that could be
// used: for 30 days it goes on being expected to, where nobody can tell (SEM 27).
type TLSARecord struct {
	Seen time.Time `json:"seen"`
}

// remembered is what is kept of others: of peers, and beside that what they have published.
type remembered struct {
	*peers.Memory
	kept store.Store    // that it all is kept in; nil: nothing is
	sts  *mtasts.Lookup // nil: nobody uses the policies
}

// Show implements peerReader.
func (m remembered) Show(name string) (all []PeerRecord, err error) {
	records, err := m.Memory.Show(name)
	if err != nil {
		return nil, err
	}
	for _, r := range records {
		all = append(all, PeerRecord{Record: r})
	}
	published, err := m.published(name)
	for _, p := range published {
		all = append(all, p.PeerRecord)
	}
	return all, err
}

// Forget implements peerReader. That a domain is to be asked for its policy anew does
// not mean that there will be none.
func (m remembered) Forget(name string) (n int, err error) {
	published, err := m.published(name)
	if err != nil {
		return 0, err
	}
	var changes []store.Change
	for _, p := range published {
		changes = append(changes, store.Change{Key: p.key})
	}
	if len(changes) > 0 {
		err = m.kept.Write(changes...)
	}
	if m.sts != nil { // also where nothing is kept: that there is no policy is known too
		m.sts.Forget(name)
	}
	n, wrong := m.Memory.Forget(name)
	return n + len(changes), errors.Join(err, wrong)
}

// published is a record with its key.
type published struct {
	PeerRecord
	key string
}

// published finds what a domain, or a server with or without its port, has published. What
// cannot be read any more is found without its content.
func (m remembered) published(name string) (all []published, err error) {
	if m.kept == nil {
		return nil, nil
	}
	name = strings.ToLower(strings.TrimSuffix(strings.TrimSpace(name), "."))
	add := func(prefix, kind string, is func(string) bool, read func(r *PeerRecord, text []byte)) {
		if err != nil {
			return
		}
		err = m.kept.Scan(prefix+name, func(key string, text []byte) error {
			r := PeerRecord{Record: peers.Record{Kind: kind, Name: strings.TrimPrefix(key, prefix)}}
			if is(r.Name) {
				read(&r, text)
				all = append(all, published{r, key})
			}
			return nil
		})
	}
	add(policyPrefix, "policy", func(found string) bool { return found == name }, readPolicy)
	add(tlsaKey, "tlsa", func(found string) bool {
		host, _, err := net.SplitHostPort(found)
		return found == name || err == nil && host == name
	}, readTLSA)
	return all, err
}

func readPolicy(r *PeerRecord, text []byte) {
	var e mtasts.Entry
	r.Policy = &PolicyRecord{MX: []string{}}
	if json.Unmarshal(text, &e) != nil {
		return
	}
	r.Policy.ID, r.Policy.Fetched, r.Policy.Used = e.ID, e.Fetched, e.Used
	if p, err := mtasts.ParsePolicy([]byte(e.Policy)); err == nil {
		r.Policy.Mode, r.Policy.MX, r.Policy.MaxAgeSeconds = p.Mode.String(), append(r.Policy.MX, p.MX...), int64(p.MaxAge/time.Second)
	}
}

func readTLSA(r *PeerRecord, text []byte) {
	at, _ := time.Parse(time.RFC3339, string(text)) // or zero: nobody knows
	r.TLSA = &TLSARecord{Seen: at}
}
