package resolve

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"postern/internal/dnstest"
)

// said writes an answer about MX hosts down in a line.
func said(a MXAnswer, err error) string {
	if err != nil {
		return "error: " + err.Error()
	}
	text := ""
	for _, mx := range a.Hosts {
		text += fmt.Sprintf("%d %s ", mx.Preference, mx.Host)
	}
	if a.Implicit {
		text += "implicit "
	}
	return text + "as " + a.Canonical
}

func TestTheMailOfADomainGoesToItsMX(t *testing.T) {
	long := strings.Repeat("a", 63)
	for name, c := range map[string]struct{ zone, domain, want string }{
		"by preference, equal ones as they came": {
			"example.com. MX 20 c.example.\nexample.com. MX 10 b.example.\nexample.com. MX 10 a.example.", "example.com",
			"10 b.example 10 a.example 20 c.example as example.com",
		},
		"in upper case, with a dot":    {"example.com. MX 10 MX.Example.COM.", "EXAMPLE.com.", "10 mx.example.com as example.com"},
		"of a U-label":                 {"xn--bcher-kva.example. MX 10 mx.example.", "bücher.example", "10 mx.example as xn--bcher-kva.example"},
		"with underscores":             {"_a.b_.example. MX 1 _mx._tcp.example.", "_a.b_.example", "1 _mx._tcp.example as _a.b_.example"},
		"with an asterisk":             {`x.example. MX 1 *.mx.example.`, "x.example", "1 *.mx.example as x.example"},
		"of a wildcard":                {"*.example. MX 1 mx.example.", "any.example", "1 mx.example as any.example"},
		"that is an address":           {"example.com. MX 1 192.0.2.1.", "example.com", "1 192.0.2.1 as example.com"},
		"through CNAMEs":               {"a.example. CNAME b.example.\nb.example. CNAME C.example.\nc.example. MX 1 mx.example.", "a.example", "1 mx.example as c.example"},
		"through a CNAME with a space": {`a.example. CNAME b\032c.example.` + "\n" + `b\032c.example. MX 1 mx.example.`, "a.example", "1 mx.example as "},
		"null among others":            {"example.com. MX 0 .\nexample.com. MX 10 mx.example.", "example.com", "10 mx.example as example.com"},
		"malformed among others": {
			`example.com. MX 0 a\032b.example.` + "\n" + `example.com. MX 0 a\013\010QUIT.example.` + "\nexample.com. MX 10 mx.example.", "example.com",
			"10 mx.example as example.com",
		},
		"implicit, without a record":     {"example.com. A 192.0.2.1", "example.com", "0 example.com implicit as example.com"},
		"implicit, at a node in between": {"a.b.example. A 192.0.2.1", "b.example", "0 b.example implicit as b.example"},
		"implicit, through a CNAME":      {"a.example. CNAME b.example.\nb.example. A 192.0.2.1", "a.example", "0 a.example implicit as b.example"},
		"null":                           {"example.com. MX 0 .", "example.com", "error: the domain takes no mail (null MX): MX of example.com (SERVER)"},
		"null, of another preference":    {"example.com. MX 10 .", "example.com", "error: the domain takes no mail (null MX): MX of example.com (SERVER)"},
		"no such domain":                 {"", "example.com", "error: no such domain: MX of example.com (SERVER)"},
		"no such domain behind a CNAME":  {"a.example. CNAME b.example.", "a.example", "error: no such domain: MX of a.example (SERVER)"},
		"malformed alone":                {`example.com. MX 0 a\032b.example.`, "example.com", "error: MX records without a usable host name from SERVER for MX example.com"},
		"malformed beside null":          {"example.com. MX 0 .\n" + `example.com. MX 0 a\@b.example.`, "example.com", "error: MX records without a usable host name from SERVER for MX example.com"},
		"a loop of CNAMEs":               {"a.example. CNAME b.example.\nb.example. CNAME a.example.", "a.example", "error: a chain of more than 10 CNAMEs, or a loop of them from SERVER for MX a.example"},
		"a CNAME to itself":              {"a.example. CNAME a.example.", "a.example", "error: a chain of more than 10 CNAMEs, or a loop of them from SERVER for MX a.example"},
		"of nothing":                     {"", "", `error: not a domain name: ""`},
		"of the root":                    {"", ".", `error: not a domain name: "."`},
		"of an empty label":              {"", "a..b", `error: not a domain name: "a..b"`},
		"of line ends":                   {"", "a\r\nb", `error: not a domain name: "a\r\nb"`},
		"of a long label":                {"", long + "a.example", fmt.Sprintf("error: not a domain name: %q", long+"a.example")},
		"of a label that is not ended":   {"", "example." + long + "a", fmt.Sprintf("error: not a domain name: %q", "example."+long+"a")},
		"of two dots at the end":         {"", "a..", `error: not a domain name: "a.."`},
		"of 254 characters":              {"", strings.Repeat("a.", 126) + "aa", fmt.Sprintf("error: not a domain name: %q", strings.Repeat("a.", 126)+"aa")},
		"of bad UTF-8":                   {"", "a\xff.example", `error: not a domain name: "a\xff.example"`},
	} {
		t.Run(name, func(t *testing.T) {
			s := dnstest.Start(t, c.zone)
			got := strings.ReplaceAll(said(over(t, s).MX(t.Context(), c.domain)), s.Address, "SERVER")
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestWhatFailsForGoodAndWhatForNowCanBeToldApart(t *testing.T) {
	s := dnstest.Start(t, "null.example. MX 0 .\nmx.example. TXT x\nfails.example. MX 1 mx.example.")
	s.Break("fails.example", "", dnstest.ServFail)
	r := over(t, s)
	for domain, want := range map[string]error{"null.example": ErrNullMX, "none.example": ErrNoDomain, "a b": ErrBadName} {
		_, err := r.MX(t.Context(), domain)
		if _, permanent := errors.AsType[*PermanentError](err); !permanent || !errors.Is(err, want) {
			t.Errorf("MX of %s: %v", domain, err)
		}
	}
	for host, domain := range map[string]bool{"none.example": true, "mx.example": false} {
		_, err := r.Addresses(t.Context(), host, Both)
		if !errors.Is(err, ErrNoAddress) || errors.Is(err, ErrNoDomain) != domain {
			t.Errorf("addresses of %s: %v", host, err)
		}
	}
	_, err := r.MX(t.Context(), "fails.example")
	temporary, ok := errors.AsType[*TemporaryError](err)
	if !ok || temporary.Name != "fails.example" || temporary.Type != "MX" || len(temporary.Failures) != 1 || temporary.Failures[0] != (Failure{s.Address, "SERVFAIL"}) {
		t.Errorf("got %#v", err)
	}
	if want := "SERVFAIL from " + s.Address + " for MX fails.example"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}

func TestNoMoreHostsAreKeptThanAnybodyTries(t *testing.T) {
	zone := ""
	for i := range 300 {
		zone += fmt.Sprintf("example.com. MX %d mx%d.example.\nmx.example. A 10.0.%d.%d\n", i, i, i/256, i%256)
	}
	r := over(t, dnstest.Start(t, zone)) // too much for a datagram, so it comes over TCP
	if a, err := r.MX(t.Context(), "example.com"); err != nil || len(a.Hosts) != maxHosts {
		t.Errorf("%d hosts, %v", len(a.Hosts), err)
	}
	if a, err := r.Addresses(t.Context(), "mx.example", Both); err != nil || len(a.Addrs) != maxHosts {
		t.Errorf("%d addresses, %v", len(a.Addrs), err)
	}
	if a, err := r.lookup(t.Context(), question{name: "example.com", kind: dns.TypeMX}); err != nil || len(a.records) != maxRecords {
		t.Errorf("%d records, %v", len(a.records), err)
	}
}

func TestAnAnswerBelongsToItsCaller(t *testing.T) {
	r := over(t, dnstest.Start(t, "example.com. MX 10 mx.example.\nmx.example. A 192.0.2.1"))
	for range 2 {
		mx, err := r.MX(t.Context(), "example.com")
		if err != nil || mx.Hosts[0].Host != "mx.example" {
			t.Fatalf("%+v, %v", mx, err)
		}
		mx.Hosts[0].Host = "changed"
		a, err := r.Addresses(t.Context(), "mx.example", IPv4Only)
		if err != nil || a.Addrs[0] != v4 {
			t.Fatalf("%+v, %v", a, err)
		}
		a.Addrs[0] = v6
	}
}
