package app

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/dnstest"
	"postern/peers"
	"postern/store"
	"postern/tls/mtasts"
)

var update = flag.Bool("update", false, "write what explain says into docs/explain.md")

const keys = "_25._tcp.mx TLSA 3 1 1 8cb0fc6c527506a053f4f14c8464bebbd6dede2738d11468dd953d7d6a3021f1\n" +
	"_25._tcp.mx TLSA 3 1 1 2bb183af18aa0b4b21b3d5ff2b6f5ae8c1a7e1e3f0ad5a4c3b0f7a3b8d9e1f20\n"

// story is the world of docs/explain.md: a domain for each of its chapters.
func story(t *testing.T) (w *world, file string) {
	t.Helper()
	w = &world{dir: t.TempDir()}
	w.dns = dnstest.StartSigned(t,
		dnstest.Zone{Name: "."}, dnstest.Zone{Name: "example"},
		dnstest.Zone{Name: "dane.example", Records: "@ MX 10 mx\nmx A 192.0.2.1\nmx AAAA 2001:db8::1\n" + keys +
			"_25._tcp.mx TLSA 1 1 1 8cb0fc6c527506a053f4f14c8464bebbd6dede2738d11468dd953d7d6a3021f1\n"},
		dnstest.Zone{Name: "broken.example", Records: "@ MX 10 mx\nmx A 192.0.2.2\n" + keys,
			Flaws: map[string]dnstest.Flaw{"_25._tcp.mx": dnstest.Expired}},
		dnstest.Zone{Name: "sts.example", Unsigned: true, Records: "@ MX 10 mx1\n@ MX 20 mx9.new.example.\nmx1 A 192.0.2.3\n_mta-sts TXT \"v=STSv1; id=20261101;\"\n"},
		dnstest.Zone{Name: "old.example", Unsigned: true, Records: "@ MX 10 mx\nmx A 192.0.2.4\n"},
		dnstest.Zone{Name: "new.example", Unsigned: true, Records: "@ MX 10 mx\nmx A 192.0.2.5\nmx9 A 192.0.2.9\n"},
	)
	must(os.WriteFile(w.anchors(), []byte(w.dns.Anchors), 0o600))
	file = w.written(t, w.kept()+w.resolverWith("")+"outbound \"egress\" {\n  listen = [\"127.0.0.1:0\"]\n}\n")
	must(os.Mkdir(filepath.Join(w.dir, "state"), 0o700))
	s := must1(store.OpenBolt(store.BoltOptions{Path: filepath.Join(w.dir, "state", "state.db")}))
	defer s.Close()
	fetched := time.Now().Add(-5 * time.Hour).Truncate(time.Second)
	must(policyCache{s}.Put("sts.example", mtasts.Entry{ID: "20261101", Fetched: fetched, Used: fetched,
		Policy: "version: STSv1\r\nmode: enforce\r\nmx: mx1.sts.example\r\nmx: *.mail.sts.example\r\nmax_age: 604800\r\n"}, fetched.Add(7*24*time.Hour)))
	now := time.Now().Add(-72 * time.Hour)
	m := peers.New(peers.Options{Store: s, Now: func() time.Time { return now }})
	for range 3 {
		m.Outbound(peers.DefaultRules()).Secured("old.example", peers.Host{Name: "mx.old.example", Port: 25}, peers.Facts{Valid: true, Trust: "Verified"})
		now = now.Add(24 * time.Hour)
	}
	must(m.Flush())
	return w, file
}

// TestTheWalkThroughIsTrue keeps the outputs in docs/explain.md what the program prints.
// Run it with -update to write them anew.
func TestTheWalkThroughIsTrue(t *testing.T) {
	const page = "../../docs/explain.md"
	_, file := story(t)
	text := string(must1(os.ReadFile(page)))
	output := regexp.MustCompile("(?s)    \\$ postern explain ([a-z.]+)\n\n(.*?)\n\n[^ \n]")
	all := output.FindAllStringSubmatchIndex(text, -1)
	if len(all) != 5 {
		t.Fatalf("%d outputs in %s", len(all), page)
	}
	for i := len(all) - 1; i >= 0; i-- { // from the end, so that the places before stay the same
		at := all[i]
		domain, written := text[at[2]:at[3]], text[at[4]:at[5]]
		out, _, _ := explained(t, ExplainOptions{Domain: domain, Config: file})
		printed := "    " + strings.ReplaceAll(strings.TrimSpace(out), "\n", "\n    ")
		printed = regexp.MustCompile(`(?m) +$`).ReplaceAllString(printed, "")
		if *update {
			printed = resolverAt.ReplaceAllString(printed, "127.0.0.1:53")
			text = text[:at[4]] + printed + text[at[5]:]
		} else if diff := cmp.Diff(timeless(written), timeless(printed)); diff != "" {
			t.Errorf("%s: %s", domain, diff)
		}
	}
	if *update {
		must(os.WriteFile(page, []byte(text), 0o644))
	}
}

// timeless has another word for times, which are never the same.
func timeless(text string) string {
	text = regexp.MustCompile(`\d{4}-\d\d-\d\d( \d\d:\d\d(:\d\d| \w+))?`).ReplaceAllString(text, "TIME")
	return resolverAt.ReplaceAllString(text, "RESOLVER")
}

var resolverAt = regexp.MustCompile(`127\.0\.0\.1:\d+`)
