package agrees

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"postern/internal/dnstest"
	"postern/test/harness"
)

// setup is one of testdata/setups.txt, which says what its lines mean.
type setup struct {
	name      string
	standards []string // lines of STANDARDS
	about     string
	zones     []dnstest.Zone
	servers   []server
	faults    []fault
	want      map[string]string // by who delivers
	because   string

	cast cast
}

// server is a mail exchanger.
type server struct {
	name, ip string
	chain    []string
	options  []string // "tls1.1", "no-starttls"
}

// fault is what name servers do wrong beside signatures.
type fault struct{ what, kind, name string }

func (s *setup) domain() string { return s.name + ".test" }

// absolute is a name as in a zone of the domain, without its final dot.
func absolute(name, domain string) string {
	switch {
	case name == "@":
		return domain
	case strings.HasSuffix(name, "."):
		return strings.TrimSuffix(name, ".")
	}
	return name + "." + domain
}

// setups reads all of them.
func setups(text string) (all []*setup, err error) {
	var s *setup
	addresses := 0
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		word, rest, _ := strings.Cut(line, " ")
		rest = strings.TrimSpace(rest)
		switch {
		case line == "" || strings.HasPrefix(word, "#"):
		case word == "setup":
			f := strings.Fields(rest)
			s = &setup{name: f[0], standards: f[1:], want: map[string]string{}}
			s.cast = cast{domain: s.domain(), made: map[string]actor{}}
			all = append(all, s)
		case word == "server":
			f := strings.Fields(rest)
			addresses++
			s.serve(f[0], harness.LabIP(addresses), f[1:])
		default:
			if err := s.line(word, rest); err != nil {
				return nil, fmt.Errorf("setup %s: %q: %w", s.name, line, err)
			}
		}
	}
	for _, s := range all {
		if err := s.complete(); err != nil {
			return nil, fmt.Errorf("setup %s: %w", s.name, err)
		}
	}
	return all, nil
}

func (s *setup) serve(name, ip string, words []string) {
	one := server{name: name, ip: ip}
	for _, w := range words {
		kind, _, _ := strings.Cut(w, ":")
		if _, ok := roles[kind]; ok {
			one.chain = append(one.chain, w)
		} else {
			one.options = append(one.options, w)
		}
	}
	s.servers = append(s.servers, one)
}

// line reads what belongs to a set-up.
func (s *setup) line(word, rest string) error {
	switch f := strings.Fields(rest); word {
	case "about":
		s.about = rest
	case "zone":
		z, err := s.zone(f)
		s.zones = append(s.zones, z)
		return err
	case "": // a record
		s.zones[len(s.zones)-1].Records += rest + "\n"
	case "dns":
		s.faults = append(s.faults, fault{f[0], f[1], absolute(f[2], s.domain())})
	case "because":
		s.because = rest
	case "finger", "postfix", "postern", "auto", "dane":
		s.want[word] = rest
	default:
		return fmt.Errorf("unknown word %q", word)
	}
	return nil
}

// zone reads "NAME [OPTION…]".
func (s *setup) zone(f []string) (dnstest.Zone, error) {
	z := dnstest.Zone{Name: absolute(f[0], s.domain()), Flaws: map[string]dnstest.Flaw{}}
	for _, option := range f[1:] {
		at, flaw, flawed := strings.Cut(option, "=")
		switch {
		case flawed:
			z.Flaws[strings.TrimPrefix(at, "all")] = dnstest.Flaw(strings.ReplaceAll(flaw, "-", " "))
		case option == "unsigned":
			z.Unsigned = true
		case option == "island":
			z.Island = true
		case option == "nsec3":
			z.Denial = dnstest.NSEC3
		case option == "opt-out":
			z.Denial = dnstest.OptOut
		case option == "algorithm-253":
			z.Algorithm = 253
		case option == "compact":
			z.Denial = dnstest.Compact
		default:
			return z, fmt.Errorf("unknown option %q", option)
		}
	}
	return z, nil
}

var (
	certificate = regexp.MustCompile(`TLSA\s+(\d+) (\d+) (\d+) \{([^}]+)\}`)
	address     = regexp.MustCompile(`A\s+\{([^}]+)\}`)
)

// complete puts addresses and digests into the zones.
func (s *setup) complete() error {
	for i := range s.zones {
		z := &s.zones[i]
		z.Records = address.ReplaceAllStringFunc(z.Records, func(found string) string {
			name := address.FindStringSubmatch(found)[1]
			at := slices.IndexFunc(s.servers, func(one server) bool { return one.name == name })
			if at < 0 {
				s.cast.err = fmt.Errorf("there is no server %q", name)
				return ""
			}
			return "A " + s.servers[at].ip
		})
		z.Records = certificate.ReplaceAllStringFunc(z.Records, func(found string) string {
			f := certificate.FindStringSubmatch(found)
			return fmt.Sprintf("TLSA %s %s %s %s", f[1], f[2], f[3], s.cast.association(f[2], f[3], f[4]))
		})
	}
	return s.cast.err
}

// wants is what is expected of one who delivers: of the levels of postern what is
// said of postern, where nothing else is.
func (s *setup) wants(who string) string {
	if want, ok := s.want[who]; ok || who == "finger" || who == "postfix" {
		return want
	}
	return s.want["postern"]
}
