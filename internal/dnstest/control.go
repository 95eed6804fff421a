package dnstest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// Load replaces all records.
func (s *Server) Load(zone string) error {
	t, err := parse(zone)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tree = t
	return nil
}

// Set replaces the records of the names and types that zone has records of. It
// panics on a zone that cannot be read.
func (s *Server) Set(zone string) {
	t, err := parse(zone)
	if err != nil {
		panic(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, rrs := range t {
		s.tree[k] = rrs
	}
}

// Remove takes the records of a name away: those of one type ("MX"), or all for
// "".
func (s *Server) Remove(name, kind string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range s.tree {
		if k.name == canonical(name) && (kind == "" || k.kind == typeOf(kind)) {
			delete(s.tree, k)
		}
	}
}

// Break makes questions for a name ("" for all) and a type ("" for all) meet a
// fault. Of several faults that fit, the latest counts.
func (s *Server) Break(name, kind string, f Fault) {
	if f.Rcode != "" {
		if _, ok := dns.StringToRcode[f.Rcode]; !ok {
			panic(fmt.Sprintf("dnstest: no RCODE %q", f.Rcode))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, broken{canonical(name), typeOf(kind), f})
}

// Mend takes all faults away.
func (s *Server) Mend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// Count says how often the server was asked for a name ("" for all) and type
// ("" for all), whatever became of the question.
func (s *Server) Count(name, kind string) (n int) {
	for _, asked := range s.Asked() {
		fields := strings.Fields(asked)
		if (name == "" || fields[1] == canonical(name)) && (kind == "" || fields[0] == kind) {
			n++
		}
	}
	return n
}

// Asked returns all questions in the order in which they came, each as
// "MX example.com. udp".
func (s *Server) Asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

func canonical(name string) string {
	if name == "" {
		return ""
	}
	return dns.CanonicalName(name)
}

func typeOf(kind string) uint16 {
	if kind == "" {
		return 0
	}
	t, ok := dns.StringToType[kind]
	if !ok {
		panic(fmt.Sprintf("dnstest: no type %q", kind))
	}
	return t
}
