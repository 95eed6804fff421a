package admin

import (
	"encoding/json"
	"net/http"
)

// Sighting says which TLSA records are published at a name now.
type Sighting struct {
	Owner   string        `json:"owner"` // "_25._tcp.mx.example.org"
	TTL     uint32        `json:"ttl"`   // of the records in their zone, in seconds
	Records []SightedTLSA `json:"records"`
}

// SightedTLSA is one of the records.
type SightedTLSA struct {
	Record string `json:"record"` // "3 1 1 8cb0…"
	InUse  bool   `json:"in_use"` // the server has shown a certificate that matches it
}

// Seen writes a sighting down, and returns since when each record is published, as far as
// that is known. It is called by several requests at once.
type Seen func(Sighting) (since any, err error)

const (
	seenPath    = "/tlsa-seen"
	maxSighting = 1 << 20 // octets of JSON
)

func seen(f Seen) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var s Sighting
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxSighting)).Decode(&s); err != nil {
			fail(w, http.StatusBadRequest, "the sighting cannot be read: "+err.Error())
			return
		}
		since, err := f(s)
		answer(w, since, err)
	}
}
