package dnstest

import (
	"fmt"
	"strings"

	"github.com/miekg/dns"
)

// Question is one to ask of a forest.
type Question struct{ Name, Kind string }

// Forest returns a root, a zone for each way to sign below it, and below each of
// these one for each thing that can be right or wrong: more than 200 zones. The
// questions are about all of them, more than 5,000.
//
// It leaves out what validators think differently of by choice: Ed448, revoked
// keys that a DS record stands for, NSEC3 with 51 to 150 iterations other than
// 100, and several wrong signatures before a right one.
func Forest() (zones []Zone, questions []Question) {
	zones = append(zones, Zone{Name: ".", Algorithm: dns.RSASHA256})
	for _, top := range tops {
		zones = append(zones, top)
		for i, sub := range subs {
			sub.Name += "." + top.Name
			if sub.Algorithm == 0 && !sub.Unsigned {
				sub.Algorithm = algorithms[i%len(algorithms)]
			}
			if sub.Denial == NSEC && i%2 == 1 {
				sub.Denial = top.Denial
			}
			zones = append(zones, sub)
		}
	}
	for i := range zones {
		if !strings.Contains(strings.TrimSuffix(zones[i].Name, "."), ".") {
			continue // the root and the ones below hold nothing else
		}
		// CNAMEs and DNAMEs lead into some other zone, of all kinds.
		other := zones[1+(i*37+11)%(len(zones)-1)].Name
		zones[i].Records = fmt.Sprintf(contents, other)
		for _, q := range about {
			questions = append(questions, Question{strings.TrimPrefix(q.Name+"."+zones[i].Name, "@."), q.Kind})
		}
	}
	return zones, questions
}

var algorithms = []uint8{13, 8, 15, 13, 14, 10, 13, 15}

var tops = []Zone{
	{Name: "plain", Algorithm: 13},
	{Name: "hashed", Algorithm: 8, Denial: NSEC3},
	{Name: "optout", Algorithm: 13, Denial: OptOut, Iterations: 1, Salt: "abcd"},
	{Name: "made", Algorithm: 15, Denial: Compact},
	{Name: "strong", Algorithm: 14, Denial: NSEC3, Iterations: 10, Digests: []uint8{4}},
}

var subs = []Zone{
	{Name: "a5", Algorithm: 5}, {Name: "a7", Algorithm: 7, Denial: NSEC3}, {Name: "a8", Algorithm: 8}, {Name: "a10", Algorithm: 10},
	{Name: "a13", Algorithm: 13}, {Name: "a14", Algorithm: 14}, {Name: "a15", Algorithm: 15},
	{Name: "n3", Denial: NSEC3}, {Name: "n3salt", Denial: NSEC3, Salt: "deadbeef", Iterations: 100}, {Name: "n3out", Denial: OptOut},
	{Name: "n3many", Denial: NSEC3, Iterations: 500}, {Name: "n3most", Denial: NSEC3, Iterations: 2500}, {Name: "made", Denial: Compact},
	{Name: "a3", Algorithm: 3}, {Name: "a12", Algorithm: 12}, {Name: "a253", Algorithm: 253},
	{Name: "bare", Unsigned: true}, {Name: "sub.bare"}, {Name: "bare.bare", Unsigned: true}, {Name: "island", Island: true}, {Name: "sub.island"},
	{Name: "bare.a13", Unsigned: true}, {Name: "sub.a13"}, {Name: "sub.sub.a13"}, {Name: "bare.n3out", Unsigned: true}, {Name: "sub.n3out"}, {Name: "x.y.n3"}, {Name: "bare.y.n3", Unsigned: true}, {Name: "bare.z.n3out", Unsigned: true},
	{Name: "ds1", Digests: []uint8{1}}, {Name: "ds4", Digests: []uint8{4}}, {Name: "ds12", Digests: []uint8{1, 2}}, {Name: "ds200", Digests: []uint8{200}}, {Name: "ds2200", Digests: []uint8{200, 2}},
	flawed("expired", Expired), flawed("notyet", NotYet), flawed("wrongkey", WrongKey), flawed("nosig", NoSignature), flawed("foreign", ForeignName), flawed("labels", TooManyOnes),
	flawed("noproof", NoProof), flawed("wrongproof", WrongProof), flawed("bitmap", BitmapLies), flawed("onebad", OneBadFirst), flawed("ttl", WrongTTL), flawed("altered", AlteredData), flawed("upper", RepeatedName),
	flawed("wrongds", WrongDS), flawed("othertag", OtherTag), flawed("nozone", NoZoneFlag), flawed("protocol", BadProtocol), flawed("barekeys", BareKeys),
	flawed("zskonly", ZoneKeyOnly), flawed("nokeys", NoKeys), flawed("lame", Lame), flawed("lamekeys", LameKeys), flawed("hidds", HidDS), flawed("odd", OddAlgo),
	{Name: "sub.wrongds"}, {Name: "sub.expired"}, {Name: "sub.nosig"}, {Name: "bare.noproof", Unsigned: true},
	{Name: "n3noproof", Denial: NSEC3, Flaws: map[string]Flaw{"": NoProof}}, {Name: "n3wrong", Denial: NSEC3, Flaws: map[string]Flaw{"": WrongProof}}, {Name: "n3bitmap", Denial: NSEC3, Flaws: map[string]Flaw{"": BitmapLies}},
	{Name: "mixed", Flaws: map[string]Flaw{"mail": WrongKey, "www": NoSignature, "@": Expired}},
}

func flawed(name string, f Flaw) Zone { return Zone{Name: name, Flaws: map[string]Flaw{"": f}} }

// contents are the records of each zone. %[1]s is another zone.
const contents = `
@            MX    10 mail
@            A     192.0.2.1
@            TXT   "v=test"
mail         A     192.0.2.2
mail         AAAA  2001:db8::2
_25._tcp.mail TLSA 3 1 1 0000000000000000000000000000000000000000000000000000000000000000
www          CNAME mail
ext          CNAME mail.%[1]s.
extwild      CNAME a.wild.%[1]s.
gone         CNAME none.%[1]s.
*.wild       A     192.0.2.3
*.wild       TXT   "wild"
*.wildc      CNAME mail
here.wild    TXT   "here"
tree         DNAME wild
away         DNAME %[1]s.
a.b.deep     A     192.0.2.4
`

// about are the questions on each zone.
var about = []Question{
	{"@", "MX"}, {"@", "TXT"}, {"@", "AAAA"}, {"mail", "A"}, {"mail", "AAAA"}, {"mail", "TXT"}, {"_25._tcp.mail", "TLSA"}, {"_tcp.mail", "TLSA"}, {"_25._tcp.www", "TLSA"},
	{"www", "A"}, {"ext", "AAAA"}, {"extwild", "TXT"}, {"gone", "MX"}, {"none", "A"}, {"a.b.c.none", "MX"}, {"a.wild", "A"}, {"a.b.wild", "TXT"}, {"a.wild", "TLSA"},
	{"here.wild", "A"}, {"below.here.wild", "A"}, {"x.wildc", "A"}, {"x.wildc", "TXT"}, {"z.tree", "A"}, {"none.tree", "MX"}, {"mail.away", "A"}, {"none.away", "TXT"}, {"b.deep", "A"}, {"x.b.deep", "TXT"}, {"a.b.deep", "A"},
}
