// Package layout holds the rules of who may import whom, as a test. The
// arrows point to the right:
//
//	cmd/postern → internal/app → config | telemetry | admin | probe | redirect → proxy →
//	peers, outcomes, tls/certs, tls/policy → store, tls/dane, tls/mtasts → resolve, smtpwire, tls/grade → tls/level, tls/report
package layout

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// imports is what each package of ours may import of ours, directly. A package
// that is not listed may import nothing of ours.
var imports = map[string][]string{
	"cmd/postern":  {"internal/app"},
	"internal/app": {"config", "telemetry", "admin", "probe", "redirect", "proxy", "peers", "outcomes", "store", "resolve", "smtpwire", "tls/certs", "tls/policy", "tls/dane", "tls/mtasts", "tls/report", "tls/grade", "tls/level", "internal/sink"},
	"config":       {"tls/grade", "tls/level"},
	"telemetry":    {"proxy", "tls/policy", "tls/level"},
	"admin":        {},
	"redirect":     {},
	"probe":        {"proxy", "resolve", "smtpwire", "tls/policy", "tls/dane", "tls/mtasts", "tls/hello", "tls/grade", "tls/level"},
	"proxy":        {"peers", "resolve", "smtpwire", "tls/certs", "tls/policy", "tls/report", "tls/grade", "tls/level"},
	"peers":        {"store"},
	"outcomes":     {"store", "tls/report"},
	"store":        {},
	"tls/policy":   {"tls/dane", "tls/mtasts", "tls/report", "tls/grade", "tls/level"},
	"tls/level":    {},
	"tls/dane":     {},
	"tls/mtasts":   {},
	"tls/report":   {},
	"tls/certs":    {"tls/grade"},
	"resolve":      {},
	"smtpwire":     {},
	"tls/grade":    {"tls/level"},
	"tls/hello":    {},

	"internal/sink":     {"smtpwire"},
	"internal/catest":   {},
	"internal/dnstest":  {},
	"internal/smtptest": {"smtpwire"},
	"test/harness":      {"internal/catest", "internal/dnstest", "internal/smtptest", "internal/sink"},
	"bench/cmd/sink":    {"internal/sink"},
}

// owners are the only packages that may import a module, tests included.
var owners = map[string][]string{
	"github.com/hashicorp/hcl":        {"config"},
	"github.com/miekg/dns":            {"resolve", "internal/dnstest"},
	"go.etcd.io/bbolt":                {"store"},
	"github.com/redis/go-redis":       {"store"},
	"go.opentelemetry.io/":            {"telemetry"},
	"github.com/prometheus/":          {"telemetry"},
	"github.com/pires/go-proxyproto":  {"proxy", "internal/smtptest", "test/"},
	"github.com/spf13/cobra":          {"cmd/postern"},
	"github.com/armon/go-proxyproto":  {"proxy", "internal/smtptest", "test/"}, // and in tests alone: see below
	"github.com/fsnotify/fsnotify":    {"tls/certs"},
	"github.com/coreos/go-systemd/":   {"internal/app"},
	"github.com/lmittmann/tint":       {"internal/app"},
	"github.com/emersion/go-smtp":     {"internal/app", "test/"},
	"github.com/google/nftables":      {"redirect"},
	"github.com/mdlayher/netlink":     {"redirect"},
	"github.com/vishvananda/netlink":  {"redirect"},
	"github.com/hashicorp/golang-lru": {"peers", "proxy", "resolve", "tls/policy", "internal/app"},
}

type pkg struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

func list(t *testing.T) (all []pkg) {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", "postern/...").Output()
	if err != nil {
		var e *exec.ExitError
		if errors.As(err, &e) {
			t.Fatalf("go list: %v: %s", err, e.Stderr)
		}
		t.Fatalf("go list: %v", err)
	}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func TestEachPackageImportsOnlyWhatStandsToItsRight(t *testing.T) {
	for _, p := range list(t) {
		from := strings.TrimPrefix(p.ImportPath, "postern/")
		for _, to := range p.Imports {
			to, ours := strings.CutPrefix(to, "postern/")
			if ours && !slices.Contains(imports[from], to) && !within(from, to) {
				t.Errorf("%s imports %s", from, to)
			}
		}
	}
}

// within says that both are parts of the benchmarks, which are programs of
// their own.
func within(from, to string) bool {
	return strings.HasPrefix(from, "bench/") && (strings.HasPrefix(to, "bench/") || to == "internal/sink")
}

func TestEachModuleIsImportedByItsOwnerAlone(t *testing.T) {
	for _, p := range list(t) {
		from := strings.TrimPrefix(p.ImportPath, "postern/")
		for _, to := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			for module, who := range owners {
				if strings.HasPrefix(to, module) && !slices.ContainsFunc(who, func(w string) bool { return from == w || strings.HasSuffix(w, "/") && strings.HasPrefix(from, w) }) {
					t.Errorf("%s imports %s, which is for %s", from, to, strings.Join(who, ", "))
				}
			}
		}
	}
}

func TestFakesAreImportedByTestsAlone(t *testing.T) {
	for _, p := range list(t) {
		from := strings.TrimPrefix(p.ImportPath, "postern/")
		for _, to := range p.Imports {
			fake := to == "postern/internal/smtptest" || to == "postern/internal/catest" || to == "postern/internal/dnstest" || strings.HasPrefix(to, "github.com/armon/")
			if fake && !strings.HasPrefix(from, "test/") && !strings.HasPrefix(from, "internal/smtptest") {
				t.Errorf("%s imports %s outside of its tests", from, to)
			}
		}
	}
}

func TestEveryRuleIsAboutAPackageThatExists(t *testing.T) {
	var names []string
	for _, p := range list(t) {
		names = append(names, strings.TrimPrefix(p.ImportPath, "postern/"))
	}
	for from := range imports {
		if !slices.Contains(names, from) {
			t.Errorf("there is a rule for %s, which does not exist", from)
		}
	}
}
