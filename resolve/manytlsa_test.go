package resolve

import (
	"fmt"
	"strings"
	"testing"

	"postern/internal/dnstest"
)

// Which records are left out is the server's choice: the right one may be among them.
func TestATLSASetThatWouldBeCutIsNone(t *testing.T) {
	for n, want := range map[int]string{127: "", 128: "too many TLSA records (128 or more)", 151: "too many TLSA records (128 or more)"} {
		zone := ""
		for i := range n {
			zone += fmt.Sprintf("_25._tcp.mx.example. TLSA 3 1 1 %064x\n", i)
		}
		a, err := over(t, dnstest.Start(t, zone)).TLSA(t.Context(), "_25._tcp.mx.example")
		if want == "" && (err != nil || len(a.Records) != n) {
			t.Errorf("%d records: %d, %v", n, len(a.Records), err)
		}
		if want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%d records: %d, %v", n, len(a.Records), err)
		}
	}
}
