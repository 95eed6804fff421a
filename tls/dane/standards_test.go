package dane_test

import (
	"strconv"
	"testing"
)

// elsewhere are the lines of STANDARDS 67 to 93 that are not in the two tables of set-ups and hosts:
// what they say is promised by another test, or by another package.
var elsewhere = map[int]string{
	68: "a failed MX look-up ends before a host is known: resolve and proxy",
	89: "which certificate a server shows for an unknown name: tls/certs",
	90: "TestBothKeyTypesOfAServerMustBeCovered",
	91: "TestARolloverNeedsTwoWays",
	92: "the proof of non-existence that a validator accepts: resolve",
	93: "what a connection may be used again for: tls/policy's Decision.Key; here TestAResumedSessionIsJudgedAnew",
}

func TestEveryLineOfTheStandardsHasItsPlace(t *testing.T) {
	tested := map[string]bool{}
	for _, s := range setups(t, newCast(t)) {
		tested[s.standard] = true
	}
	for _, l := range lookupCases() {
		tested[l.standard] = true
	}
	for line := 67; line <= 93; line++ {
		if is := tested[strconv.Itoa(line)]; is == (elsewhere[line] != "") {
			t.Errorf("STANDARDS %d: in a table: %v, elsewhere: %q", line, is, elsewhere[line])
		}
	}
}
