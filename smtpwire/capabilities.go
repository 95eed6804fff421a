package smtpwire

import (
	"bytes"
	"strings"
)

// Capability is one line of an EHLO reply.
type Capability struct {
	Keyword string // in upper case
	Params  string
}

// Capabilities is what an EHLO reply offered. It is never changed after it was
// made: a new EHLO makes a new one, so nothing is carried across a TLS
// handshake (RFC 3207, 4.2).
type Capabilities struct {
	list []Capability
}

// maxCapabilities bounds the lines of an EHLO reply that count.
const maxCapabilities = 64

// ParseCapabilities reads the lines after the first of an EHLO reply.
// Keywords are compared whole, never as parts of a line: a server may be
// called dsn.example (RFC 5321, 4.1.1.1).
func ParseCapabilities(r Reply) *Capabilities {
	c := &Capabilities{}
	lines := bytes.Split(bytes.TrimSuffix(r.Lines, crlf), crlf)
	for _, line := range lines[1:] {
		if len(line) <= 4 || len(c.list) == maxCapabilities {
			continue
		}
		word, params, _ := strings.Cut(string(bytes.TrimSpace(line[4:])), " ")
		if validKeyword(word) {
			c.list = append(c.list, Capability{strings.ToUpper(word), strings.TrimSpace(params)})
		}
	}
	return c
}

// MakeCapabilities makes a value of a list.
func MakeCapabilities(list ...Capability) *Capabilities {
	return &Capabilities{list: list}
}

// validKeyword: RFC 5321, 4.1.1.1, ehlo-keyword. It keeps "AUTH=LOGIN", the
// form from before RFC 2554, apart from AUTH.
func validKeyword(w string) bool {
	for i := range len(w) {
		if !isAlnum(w[i]) && (w[i] != '-' || i == 0) {
			return false
		}
	}
	return w != ""
}

// Has says whether keyword, in upper case, was offered. A nil Capabilities has
// none.
func (c *Capabilities) Has(keyword string) bool {
	_, ok := c.Get(keyword)
	return ok
}

// Get returns the parameters of keyword.
func (c *Capabilities) Get(keyword string) (params string, ok bool) {
	if c == nil {
		return "", false
	}
	for _, e := range c.list {
		if e.Keyword == keyword {
			return e.Params, true
		}
	}
	return "", false
}

// List returns the capabilities in the order of the reply. Do not change it.
func (c *Capabilities) List() []Capability {
	if c == nil {
		return nil
	}
	return c.list
}

// Size is the limit that SIZE announced, in octets; 0 where there is none or
// none is fixed (RFC 1870, 4).
func (c *Capabilities) Size() int64 {
	p, _ := c.Get("SIZE")
	n, _ := ParseSize([]byte(p))
	return n
}
