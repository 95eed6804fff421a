package app

import (
	"time"

	"postern/tls/dane"
	"postern/tls/mtasts"
)

// ExplainedDNSSEC says whether the signatures of the DNS can be followed at all (SEM 27).
type ExplainedDNSSEC struct {
	// Status is "validates", "trusts" (the resolver's word is taken), "off", "unavailable" (the servers have
	// never let signatures through: there is no DANE), "withheld" (they do not, and should: mail for signed domains
	// waits) or "untested" (there was no reason to).
	Status  string   `json:"status"`
	Servers []string `json:"servers"`
	Why     string   `json:"why,omitempty"`
}

// explain says what is known by now; ask it last.
func (n *lookup) explain() ExplainedDNSSEC {
	e := ExplainedDNSSEC{Status: "off", Servers: n.plain.Asks()}
	if n.checked == nil {
		return e
	}
	for v, status := range map[verdict]string{untested: "untested", validates: "validates", unavailable: "unavailable", withheld: "withheld"} {
		if n.trial.known(v) {
			e.Status = status
		}
	}
	switch {
	case n.from.cfg.DNSSEC == "trust-ad" && e.Status != "unavailable":
		e.Status = "trusts"
	case e.Status == "unavailable" || e.Status == "withheld":
		e.Why = n.trial.reason()
	}
	return e
}

// reason is what the last trial has found to be wrong.
func (t *trial) reason() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last.why
}

// ExplainedDANE is what was found of the TLSA records of a server (RFC 7672).
type ExplainedDANE struct {
	Status  string            `json:"status"`         // not_applicable, no_records, unusable or usable
	Base    string            `json:"base,omitempty"` // the TLSA base domain
	Records []ExplainedRecord `json:"records,omitempty"`
	Why     string            `json:"why"`
	Expires time.Time         `json:"expires,omitzero"`
}

// ExplainedRecord is a TLSA record.
type ExplainedRecord struct {
	Record string `json:"record"` // as in a zone file
	Usable bool   `json:"usable"`
	Why    string `json:"why,omitempty"` // it is not
}

func explainTLSA(f *dane.Finding) *ExplainedDANE {
	e := &ExplainedDANE{Status: f.Status.String(), Base: f.Base, Why: f.Why, Expires: f.Expires}
	for i, why := range dane.WhyNot(f.Records) {
		e.Records = append(e.Records, ExplainedRecord{Record: f.Records[i].String(), Usable: why == "", Why: why})
	}
	return e
}

// ExplainedPolicy is what was found of the MTA-STS policy of a domain (RFC 8461).
type ExplainedPolicy struct {
	Mode          string    `json:"mode,omitempty"` // empty: there is no policy that could be applied
	MX            []string  `json:"mx,omitempty"`
	NamesHost     bool      `json:"names_host"`   // the server is one of these
	ID            string    `json:"id,omitempty"` // of the TXT record
	MaxAgeSeconds int64     `json:"max_age_seconds,omitempty"`
	Fetched       time.Time `json:"fetched,omitzero"`
	AgeSeconds    int64     `json:"age_seconds,omitempty"`
	Source        string    `json:"source"` // none, cache or fetched
	Expires       time.Time `json:"expires,omitzero"`
	Result        string    `json:"result,omitempty"`  // of the last look, as reports call it (RFC 8460, 4.3)
	Trouble       string    `json:"trouble,omitempty"` // that the last look met
	Pending       bool      `json:"pending,omitempty"` // a look is under way
	Why           string    `json:"why"`
}

func explainPolicy(f *mtasts.Finding, host string) *ExplainedPolicy {
	e := &ExplainedPolicy{
		ID: f.ID, Source: string(f.Source), Result: string(f.Result), Trouble: f.Trouble, Pending: f.Pending, Why: f.Why,
	}
	if p := f.Policy; p != nil {
		e.Mode, e.MX, e.NamesHost = p.Mode.String(), append([]string{}, p.MX...), p.Match(host)
		e.MaxAgeSeconds, e.AgeSeconds = int64(p.MaxAge/time.Second), int64(f.Age/time.Second)
		e.Fetched, e.Expires = f.Fetched, f.Expires
	}
	return e
}

// ExplainedMemory is what is remembered of a server, as policy.Remembered.
type ExplainedMemory struct {
	Host        bool      `json:"host"`   // it must validate
	Domain      bool      `json:"domain"` // another server of the domain must
	Since       time.Time `json:"since,omitzero"`
	LastSuccess time.Time `json:"last_success,omitzero"`
	Expires     time.Time `json:"expires,omitzero"`
	Sessions    int       `json:"sessions,omitempty"`
}
