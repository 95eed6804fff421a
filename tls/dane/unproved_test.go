package dane_test

import (
	"strings"
	"testing"

	"postern/tls/dane"
)

// Whether something is proved not to be signed, or nobody could tell, is the same for DANE, and
// not for who remembers that there were TLSA records.
func TestThatNobodyCouldTellIsNotThatItIsNotSigned(t *testing.T) {
	signed := dane.Address{Canonical: host, Secure: true}
	for name, c := range map[string]struct {
		address  dane.Address
		tlsa     dane.Answer
		unproved string
		why      string
	}{
		"unsigned address": {dane.Address{Canonical: host}, dane.Answer{}, "", "the address of " + host + " is not signed"},
		"unknown address":  {dane.Address{Canonical: host, Unproved: "no clock"}, dane.Answer{}, "no clock", "nobody can tell whether the address of " + host + " is signed: no clock"},
		"unsigned records": {signed, dane.Answer{}, "", "the answer for " + atHost + " is not signed"},
		"unknown records":  {signed, dane.Answer{Unproved: "no clock"}, "no clock", "nobody can tell whether the answer for " + atHost + " is signed: no clock"},
		"proved":           {signed, dane.Answer{Secure: true}, "", "no TLSA records at " + atHost},
	} {
		l := dane.Lookup{Resolver: fixed{c.address, c.tlsa}}
		f, err := l.Find(t.Context(), dane.MXInfo{Domain: "example.com", Host: host, Port: 25, MXSecure: true})
		if err != nil || f.Status > dane.NoRecords || f.Unproved != c.unproved || !strings.HasPrefix(f.Why, c.why) {
			t.Errorf("%s: %+v, %v", name, f, err)
		}
	}
}
