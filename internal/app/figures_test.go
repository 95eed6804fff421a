package app

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/config"
	"postern/internal/dnstest"
	"postern/proxy"
	"postern/store"
	"postern/tls/level"
	"postern/tls/mtasts"
	"postern/tls/policy"
)

// decider is all that decides, without a server: the resolver, DANE, MTA-STS and the memory.
type decider struct {
	*policy.Engine
	gateway *gateway
	kept    store.Store
}

// newDecider believes the root of a DNS and keeps what it learns in a store.
func newDecider(tb testing.TB, dns *dnstest.Server, kept store.Store) *decider {
	tb.Helper()
	file := filepath.Join(tb.TempDir(), "root.key")
	must(os.WriteFile(file, []byte(dns.Anchors), 0o600))
	cfg := config.Default()
	cfg.Resolver.Servers, cfg.Resolver.TrustAnchors = []string{dns.Address}, file
	cfg.Outbounds = []config.Outbound{config.DefaultOutbound("egress")}
	memory := emptyMemory()
	b := builder{cfg: cfg, lasting: forNow(cfg, memory)}
	b.memories = kept
	b.sts = b.policies()
	tb.Cleanup(b.sts.Close)
	p := must1(b.build())
	tb.Cleanup(p.outbounds[0].gateway.Close)
	b.latest.names.Store(p.names)
	out := cfg.Outbounds[0]
	return &decider{b.engine(p, must1(b.rules(p, out)), out, memory.Outbound(peerRules(out))), p.outbounds[0].gateway, kept}
}

// knows puts a policy of a domain into the store, as if it had been fetched just now.
func (d *decider) knows(domains ...string) {
	var all []store.Change
	for _, domain := range domains {
		e := mtasts.Entry{ID: "1", Policy: asks("enforce", "mx."+domain), Fetched: time.Now(), Used: time.Now()}
		all = append(all, store.Change{Key: policyPrefix + domain, Value: must1(json.Marshal(e)), Expires: e.Fetched.Add(time.Hour)})
	}
	must(d.kept.Write(all...))
}

// zoneWith is a signed zone of a mail domain; a long time passes before anything of it is asked for again.
func zoneWith(name, records string) dnstest.Zone {
	return dnstest.Zone{Name: name, Algorithm: 15, Records: "$TTL 86400\n@ MX 10 mx\nmx A 127.0.0.2\nmx AAAA ::2\n" + records}
}

const (
	anyTLSA = "_25._tcp.mx TLSA 3 1 1 abababababababababababababababababababababababababababababababab\n"
	anySTS  = "_mta-sts TXT \"v=STSv1; id=1;\"\n"
)

// BenchmarkDecisionOfKnown is a decision about a destination of which all is known, with the real
// resolver, its DNSSEC, the policies and the state file.
func BenchmarkDecisionOfKnown(b *testing.B) {
	dns := dnstest.StartSigned(b, dnstest.Zone{Name: "."}, dnstest.Zone{Name: "com"}, zoneWith("dane.com", anyTLSA+anySTS), zoneWith("sts.com", anySTS), zoneWith("none.com", ""))
	kept := must1(store.OpenBolt(store.BoltOptions{Path: filepath.Join(b.TempDir(), "state.db")}))
	b.Cleanup(func() { kept.Close() })
	d := newDecider(b, dns, kept)
	d.knows("dane.com", "sts.com")
	for domain, want := range map[string]level.Level{"dane.com": level.DANE, "sts.com": level.Secure, "none.com": level.May} {
		b.Run(strings.TrimSuffix(domain, ".com"), func(b *testing.B) {
			in := policy.MXInput{Domain: domain, Host: "mx." + domain, Port: 25, MXSecure: true, MXSecurity: "secure"}
			b.ReportAllocs()
			for b.Loop() {
				if got := d.DecideMX(b.Context(), in); got.Level != want || got.Err != nil {
					b.Fatal(got.Level, got.Err)
				}
			}
		})
	}
}

const above, below = 100, 100 // zones below the root, and in each of them

// TestTenThousandDestinationsStayUnder64MiB asks for 10,000 domains, each of which is a signed zone; of every other one
// an MTA-STS policy is known, and the others have TLSA records. The server is a process of its own.
func TestTenThousandDestinationsStayUnder64MiB(t *testing.T) {
	if raceDetector {
		t.Skip("memory is not what it is with the race detector")
	}
	dns := ownProcess(t)
	before := heapInUse()
	d := newDecider(t, dns, store.NewMemory(time.Now))
	domains := tenThousand()
	d.knows(domains...)
	d.explain(t, domains)
	used := heapInUse() - before
	t.Logf("%d domains take %.1f MiB", len(domains), float64(used)/(1<<20))
	if used > 64<<20 {
		t.Errorf("%d octets", used)
	}
	runtime.KeepAlive(d)
}

func tenThousand() (domains []string) {
	for i := range above {
		for j := range below {
			domains = append(domains, fmt.Sprintf("d%d.t%d", j, i))
		}
	}
	return domains
}

// explain asks what would become of mail for each, several at a time.
func (d *decider) explain(t *testing.T, domains []string) {
	next := make(chan string)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for domain := range next {
				d.check(t, domain, d.gateway.Explain(t.Context(), domain))
			}
		})
	}
	for _, domain := range domains {
		next <- domain
	}
	close(next)
	group.Wait()
}

const asServer = "POSTERN_TEST_SERVES_TEN_THOUSAND"

// ownProcess starts a server of the zones, which ends with its input.
func ownProcess(t *testing.T) *dnstest.Server {
	t.Helper()
	c := exec.Command(os.Args[0], "-test.run=^TestServeTenThousandZones$")
	c.Env = append(os.Environ(), asServer+"=1")
	in, out := must1(c.StdinPipe()), must1(c.StdoutPipe())
	must(c.Start())
	t.Cleanup(func() { in.Close(); _ = c.Wait() })
	s := new(dnstest.Server)
	must(json.NewDecoder(out).Decode(&struct{ Address, Anchors *string }{&s.Address, &s.Anchors}))
	return s
}

// TestServeTenThousandZones is that process.
func TestServeTenThousandZones(t *testing.T) {
	if os.Getenv(asServer) == "" {
		t.Skip("is for TestTenThousandDestinationsStayUnder64MiB")
	}
	zones := []dnstest.Zone{{Name: "."}}
	for i := range above {
		zones = append(zones, dnstest.Zone{Name: fmt.Sprintf("t%d", i), Algorithm: 15})
	}
	for i, domain := range tenThousand() {
		zones = append(zones, zoneWith(domain, []string{anyTLSA, anySTS}[i%2]))
	}
	s := dnstest.StartSigned(t, zones...)
	must(json.NewEncoder(os.Stdout).Encode(struct{ Address, Anchors string }{s.Address, s.Anchors}))
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// check that all was looked at that takes memory.
func (d *decider) check(t *testing.T, domain string, x proxy.Explanation) {
	if len(x.Hosts) != 1 || x.Hosts[0].Decision.Err != nil || x.Hosts[0].Decision.Level <= level.May || len(x.Hosts[0].Addresses) != 2 {
		t.Errorf("%s: %+v", domain, x)
	}
}

func heapInUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse)
}

// TestAFreshDestinationCostsSixQuestions counts them for a destination with TLSA records below a
// zone that is known: three names of three labels or more, and the keys of the zone.
func TestAFreshDestinationCostsSixQuestions(t *testing.T) {
	dns := dnstest.StartSigned(t, dnstest.Zone{Name: "."}, dnstest.Zone{Name: "com"}, zoneWith("warm.com", anyTLSA), zoneWith("dane.com", anyTLSA))
	d := newDecider(t, dns, store.NewMemory(time.Now))
	d.check(t, "warm.com", d.gateway.Explain(t.Context(), "warm.com"))
	before := len(dns.Asked())
	d.check(t, "dane.com", d.gateway.Explain(t.Context(), "dane.com"))
	asked := dns.Asked()[before:]
	slices.Sort(asked)
	if want := []string{"A mx.dane.com. udp", "AAAA mx.dane.com. udp", "DNSKEY dane.com. udp", "DS dane.com. udp", "MX dane.com. udp", "TLSA _25._tcp.mx.dane.com. udp"}; !slices.Equal(asked, want) {
		t.Errorf("asked %q", asked)
	}
}
