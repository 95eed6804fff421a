package resolve

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func toBase64(raw []byte) string { return base64.StdEncoding.EncodeToString(raw) }

// denying returns the records as a denial that was verified.
func denying(zone, text string) *denial {
	d := &denial{zone: zone, keep: keepMost, budget: new(effort).budget()}
	for _, rr := range records(text) {
		d.add(rr)
	}
	return d
}

// The zone of RFC 4035, appendix A, in short: a is a signed cut, b an unsigned
// one, ns1 a host, *.w a wildcard, and x.y.w lies between.
const (
	apex      = "example. NSEC a.example. NS SOA MX RRSIG NSEC DNSKEY\n"
	a         = "a.example. NSEC ai.example. NS DS RRSIG NSEC\n"
	ai        = "ai.example. NSEC b.example. A RRSIG NSEC\n"
	b         = "b.example. NSEC d.example. NS RRSIG NSEC\n"
	d         = "d.example. NSEC ns1.example. DNAME RRSIG NSEC\n"
	ns1       = "ns1.example. NSEC *.w.example. A RRSIG NSEC\n"
	star      = "*.w.example. NSEC x.y.w.example. MX RRSIG NSEC\n"
	xyw       = "x.y.w.example. NSEC example. MX RRSIG NSEC\n"
	fromBelow = "b.example. NSEC x.b.example. NS SOA RRSIG NSEC\n"
)

func TestNSECRecordsProveWhatIsNotThere(t *testing.T) {
	for name, c := range map[string]struct {
		records  string
		name     string
		kind     uint16
		nxdomain bool
		want     string
	}{
		"no name (106)":                     {ai + b + apex, "ak.example", dns.TypeA, true, "secure noName"},
		"the wildcard is not denied":        {ai, "ak.example", dns.TypeA, true, "bogus"},
		"the name is not denied":            {apex, "ak.example", dns.TypeA, true, "bogus"},
		"before the first name":             {apex, `\001.example`, dns.TypeA, true, "secure noName"},
		"after the last name":               {xyw + apex, "z.example", dns.TypeA, true, "secure noName"},
		"the closest name from the records": {ns1 + apex, "a.b.c.ns2.example", dns.TypeA, true, "secure noName"},
		"a wildcard that is there":          {star + xyw, "a.w.example", dns.TypeMX, true, "bogus"},
		"below a cut (107)":                 {b + apex, "x.b.example", dns.TypeA, true, "bogus"},
		"below a DNAME (107)":               {d + apex, "x.d.example", dns.TypeA, true, "bogus"},
		"the apex":                          {xyw + apex, "example", dns.TypeA, true, "secure noRecords"},
		"no data (107)":                     {ns1, "ns1.example", dns.TypeMX, false, "secure noRecords"},
		"NXDOMAIN, and the name is there":   {ns1, "ns1.example", dns.TypeMX, true, "secure noRecords"},
		"there is data":                     {ns1, "ns1.example", dns.TypeA, false, "bogus"},
		"there is a CNAME":                  {"c.example. NSEC d.example. CNAME RRSIG NSEC", "c.example", dns.TypeA, false, "bogus"},
		"an empty name":                     {star, "y.w.example", dns.TypeA, false, "secure noRecords"},
		"an empty name is there":            {star + apex, "y.w.example", dns.TypeA, true, "secure noRecords"},
		"an empty name, by other records":   {ns1, "y.w.example", dns.TypeA, false, "bogus"},
		"covered is not without data":       {ai, "ak.example", dns.TypeA, false, "bogus"},
		"a wildcard without data (109)":     {star, "a.w.example", dns.TypeA, false, "secure noRecords"}, // it matches the wildcard and covers the name
		"from above the cut (107)":          {b, "b.example", dns.TypeA, false, "bogus"},
		"no DS at an unsigned cut (105)":    {b, "b.example", dns.TypeDS, false, "secure noRecords cut"},
		"no DS at a signed cut":             {a, "a.example", dns.TypeDS, false, "bogus"},
		"no DS at a host":                   {ns1, "ns1.example", dns.TypeDS, false, "secure noRecords"},
		"no DS, from below the cut (107)":   {fromBelow, "b.example", dns.TypeDS, false, "bogus"},
		"compact denial (121)":              {`x.example. NSEC \000.x.example. RRSIG NSEC NXNAME`, "x.example", dns.TypeA, false, "secure noName"},
		"compact denial of data":            {`x.example. NSEC \000.x.example. TXT RRSIG NSEC`, "x.example", dns.TypeA, false, "secure noRecords"},
		"a zone of one name":                {"example. NSEC example. NS SOA RRSIG NSEC", "a.example", dns.TypeA, true, "secure noName"},
		"nothing":                           {"", "a.example", dns.TypeA, true, "bogus"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := told(denying("example", c.records).denies(c.name, c.kind, c.nxdomain)); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func told(f finding) string {
	text := f.security.String()
	if f.security < Insecure {
		return text
	}
	text += map[status]string{noName: " noName", noRecords: " noRecords"}[f.status]
	if f.cut {
		text += " cut"
	}
	return text
}

// STANDARDS 108.
func TestAWildcardIsTakenOnlyForWhatIsNotThere(t *testing.T) {
	for name, c := range map[string]struct {
		records, name string
		want          Security
	}{
		"covered":                      {star, "a.w.example", Secure},
		"covered, deeper":              {star, "a.b.c.w.example", Secure},
		"not covered":                  {apex, "a.w.example", Bogus},
		"the name next to it is":       {star, "z.y.w.example", Bogus},
		"the name next to it is empty": {star, "a.y.w.example", Bogus},
		"after it":                     {xyw, "z.w.example", Secure},
		"after it, but below":          {xyw, "z.y.w.example", Bogus},
		"nothing":                      {"", "a.w.example", Bogus},
		"from below a cut":             {"w.example. NSEC z.example. NS RRSIG NSEC", "a.w.example", Bogus},
		"NSEC3, covered":               {chain3("example", false, 0, "example", "w.example", "*.w.example"), "a.w.example", Secure},
		"NSEC3, not covered":           {chain3("example", false, 0, "example", "w.example", "*.w.example", "a.w.example"), "a.w.example", Bogus},
		"NSEC3, next is not denied":    {chain3("example", false, 0, "example", "w.example", "*.w.example", "c.w.example"), "a.b.c.w.example", Bogus},
		"NSEC3, opt-out":               {chain3("example", true, 0, "example", "w.example", "*.w.example"), "a.w.example", Insecure},
		"NSEC3, too often hashed":      {chain3("example", false, 101, "example", "w.example", "*.w.example"), "a.w.example", Insecure},
	} {
		if got := denying("example", c.records).expanded(c.name, 2); got.security != c.want {
			t.Errorf("%s: %v (%s)", name, got.security, got.why)
		}
	}
}

// chain3 is all NSEC3 records of a zone. A name may be followed by types: the
// default is A.
func chain3(zone string, optOut bool, iterations uint16, names ...string) string {
	type link struct{ hash, types string }
	var all []link
	for _, name := range names {
		name, types, _ := strings.Cut(name, " ")
		all = append(all, link{dns.HashName(name+".", dns.SHA1, iterations, "ab"), cmp.Or(types, "A")})
	}
	slices.SortFunc(all, func(a, b link) int { return strings.Compare(a.hash, b.hash) })
	text, flags := "", 0
	if optOut {
		flags = 1
	}
	for i, l := range all {
		text += fmt.Sprintf("%s.%s. NSEC3 1 %d %d AB %s %s\n", l.hash, zone, flags, iterations, all[(i+1)%len(all)].hash, strings.Trim(l.types, "-"))
	}
	return text
}

func TestNSEC3RecordsProveWhatIsNotThere(t *testing.T) {
	names := []string{"example NS SOA", "a.example NS DS", "b.example NS", "w.example -", "*.w.example MX", "d.example DNAME", "host.example A"}
	full, out := chain3("example", false, 0, names...), chain3("example", true, 0, names...)
	for name, c := range map[string]struct {
		records  string
		name     string
		kind     uint16
		nxdomain bool
		want     string
	}{
		"no name":                           {full, "none.example", dns.TypeA, true, "secure noName"},
		"no name, deep":                     {full, "x.y.none.example", dns.TypeA, true, "secure noName"},
		"no name, in a gap (111)":           {out, "none.example", dns.TypeA, true, "insecure noName"},
		"a wildcard is there":               {full, "x.w.example", dns.TypeA, true, "secure noRecords"},
		"below a cut":                       {full, "x.b.example", dns.TypeA, true, "bogus"},
		"below a cut, no DS (opt-out)":      {out, "x.a.example", dns.TypeDS, false, "bogus"},
		"below a DNAME":                     {full, "x.d.example", dns.TypeA, true, "bogus"},
		"the closest name is not proved":    {without(full, "example"), "none.example", dns.TypeA, true, "bogus"},
		"no data":                           {full, "host.example", dns.TypeMX, false, "secure noRecords"},
		"there is data":                     {full, "host.example", dns.TypeA, false, "bogus"},
		"an empty name":                     {full, "w.example", dns.TypeA, false, "secure noRecords"},
		"a wildcard without data (109)":     {full, "x.w.example", dns.TypeA, false, "secure noRecords"},
		"a wildcard with data":              {full, "x.w.example", dns.TypeMX, false, "bogus"},
		"a wildcard in a gap":               {out, "x.w.example", dns.TypeA, false, "insecure noRecords"},
		"no DS at an unsigned cut (105)":    {full, "b.example", dns.TypeDS, false, "secure noRecords cut"},
		"no DS at a signed cut":             {full, "a.example", dns.TypeDS, false, "bogus"},
		"no DS at a host":                   {full, "host.example", dns.TypeDS, false, "secure noRecords"},
		"no DS of what is left out (105)":   {out, "none.example", dns.TypeDS, false, "insecure noRecords cut"},
		"no DS, and nothing is left out":    {full, "none.example", dns.TypeDS, false, "bogus"},
		"no DS, from below the cut":         {full, "example", dns.TypeDS, false, "bogus"},
		"data of what is left out":          {out, "none.example", dns.TypeA, false, "insecure noRecords"},
		"from above the cut":                {full, "b.example", dns.TypeA, false, "bogus"},
		"hashed 100 times (112)":            {chain3("example", false, 100, names...), "none.example", dns.TypeA, true, "secure noName"},
		"hashed 101 times":                  {chain3("example", false, 101, names...), "none.example", dns.TypeA, true, "insecure noRecords"},
		"a zone of one name (110)":          {chain3("example", false, 0, "example NS SOA"), "none.example", dns.TypeA, true, "secure noName"},
		"of another zone (110)":             {chain3("other", false, 0, names...), "none.example", dns.TypeA, true, "bogus"},
		"of an unknown hash (110)":          {strings.ReplaceAll(full, "NSEC3 1 0", "NSEC3 2 0"), "none.example", dns.TypeA, true, "bogus"},
		"of an unknown flag (110)":          {strings.ReplaceAll(full, "NSEC3 1 0", "NSEC3 1 2"), "none.example", dns.TypeA, true, "bogus"},
		"mixed parameters (110)":            {chain3("example", false, 3, "z.example") + full, "none.example", dns.TypeA, true, "bogus"},
		"a name of no hash (110)":           {strings.ReplaceAll(full, ".example. NSEC3", "x.example. NSEC3"), "none.example", dns.TypeA, true, "bogus"},
		"more names to hash than 8 (114)":   {full, "a.b.c.d.e.f.g.h.i.example", dns.TypeA, true, "indeterminate"},
		"six labels are not too many":       {full, "a.b.c.d.e.f.example", dns.TypeA, true, "secure noName"},
		"more to hash, but hashed too much": {chain3("example", false, 2500, "example"), "a.b.c.d.e.f.g.h.i.example", dns.TypeA, true, "insecure noRecords"},
	} {
		t.Run(name, func(t *testing.T) {
			d := denying("example", c.records)
			if got := told(d.denies(c.name, c.kind, c.nxdomain)); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if d.budget.hashed > maxHashed || d.iterations > maxIterations && d.budget.hashed > 0 {
				t.Errorf("%d names hashed", d.budget.hashed)
			}
		})
	}
}

// without leaves the record of a name out.
func without(chain, name string) string {
	var kept []string
	for line := range strings.Lines(chain) {
		if !strings.HasPrefix(line, dns.HashName(name+".", dns.SHA1, 0, "ab")) {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}
