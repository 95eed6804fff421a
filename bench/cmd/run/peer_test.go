package main

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestPeerFilesAreParsed(t *testing.T) {
	got, err := parsePeer("x", `# a comment
kinds   starttls tls
start   x -c {{.Dir}}/x.conf

before  mkdir -p a b
late-backend yes
async   yes
share   0.25
max-idle 500
--- x.conf
port = {{.PortTLS}}
# kept: it is the peer's own

--- sub/empty
`)
	if err != nil {
		t.Fatal(err)
	}
	want := &peer{name: "x", kinds: []string{"starttls", "tls"}, start: "x -c {{.Dir}}/x.conf", before: "mkdir -p a b",
		late: true, async: true, share: 0.25, maxIdle: 500,
		files: map[string]string{"x.conf": "port = {{.PortTLS}}\n# kept: it is the peer's own\n\n", "sub/empty": ""}}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(peer{}), cmpopts.IgnoreFields(peer{}, "proc", "v")); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestMistakesInPeerFilesNameTheirLine(t *testing.T) {
	for text, want := range map[string]string{
		"kinds tls\nstart x\nfoo bar\n": `x.peer:3: unknown word "foo"`,
		"kinds tls smtp\n":              `x.peer:1: unknown kind "smtp"`,
		"share many\n":                  "x.peer:1: strconv.ParseFloat",
		"max-idle many\n":               "x.peer:1: strconv.Atoi",
		"kinds tls\n":                   "x.peer: needs the words start and kinds",
		"start x\n":                     "x.peer: needs the words start and kinds",
		"kinds tls\nstart x\n--- ../etc/passwd\n": `x.peer:3: "../etc/passwd" is no file name inside`,
		"kinds tls\nstart x\n--- \n":              `x.peer:3: "" is no file name inside`,
	} {
		if _, err := parsePeer("x", text); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

func testBench() *bench {
	return &bench{o: &options{port: 23000, workers: 2}, dir: "/dir", binDir: "/bin"}
}

func TestEveryPeerFileCanBeFilledInForEveryScenario(t *testing.T) {
	files, err := filepath.Glob("../../peers/*.peer")
	if err != nil || len(files) == 0 {
		t.Fatal("no peer files", err)
	}
	var names []string
	for _, f := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(f), ".peer"))
	}
	peers, err := loadPeers("../../peers", names)
	if err != nil {
		t.Fatal(err)
	}
	b := testBench()
	for _, p := range peers {
		for _, s := range scenarios {
			for _, text := range append([]string{p.start, p.before}, values(p.files)...) {
				if out, err := expand(text, b.vars(0, s)); err != nil || strings.Contains(out, "{{") {
					t.Errorf("%s in %s: %v", p.name, s.name, err)
				}
			}
		}
	}
}

func values(m map[string]string) (v []string) {
	for _, s := range m {
		v = append(v, s)
	}
	return v
}

// config is what postern is given in a scenario.
func posternConfig(t *testing.T, scenario string) string {
	t.Helper()
	ps, err := loadPeers("../../peers", []string{"postern"})
	if err != nil {
		t.Fatal(err)
	}
	ss, err := pickScenarios(scenario)
	if err != nil {
		t.Fatal(err)
	}
	text, err := expand(ps[0].files["config.hcl"], testBench().vars(0, ss[0]))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestPosternIssuesTicketsOnlyWhereClientsComeBack(t *testing.T) {
	for _, s := range scenarios {
		if s.kind == "outbound" {
			continue
		}
		want := "session_tickets = false\n"
		switch s.name {
		case "c", "c12", "c128", "ic":
			want = "session_tickets = true\n"
		}
		if n := strings.Count(posternConfig(t, s.name), want); n != 2 {
			t.Errorf("%s: %q stands %d times, want 2", s.name, want, n)
		}
	}
}

func TestPosternHasThePairOnlyWhereItIsMeasured(t *testing.T) {
	for scenario, want := range map[string][]string{
		"a":     {`"/dir/ecdsa.crt"`, `certificates    = ["bench"]`},
		"b":     {`"/dir/rsa.crt"`, `certificates    = ["bench"]`},
		"bp":    {`"/dir/ecdsa.crt"`, `"/dir/rsa.crt"`, `"/dir/rsa.key"`, `certificates    = ["bench", "bench-rsa"]`},
		"bp128": {`"/dir/ecdsa.crt"`, `"/dir/rsa.crt"`, `certificates    = ["bench", "bench-rsa"]`},
	} {
		text := posternConfig(t, scenario)
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%s: %s is missing in:\n%s", scenario, w, text)
			}
		}
		if (strings.Count(text, "certificate \"") == 2) != strings.HasPrefix(scenario, "bp") {
			t.Errorf("%s: wrong number of certificates:\n%s", scenario, text)
		}
	}
}

func TestATemplateThatAsksForTooMuchFails(t *testing.T) {
	for _, text := range []string{"{{.Nothing}}", "{{.Cert"} {
		if _, err := expand(text, vars{}); err == nil {
			t.Errorf("%q was filled in", text)
		}
	}
}

func TestAPeerThatIsNotThereIsNoticed(t *testing.T) {
	for start, want := range map[string]bool{"": true, "sh -c true": true, "{{.Bin}}/postern run": false, "no-such-program-here x": false, "{{.Nothing}}": true} {
		if got := (&peer{start: start}).installed(vars{Bin: "/nonexistent"}); got != want {
			t.Errorf("%q: got %v, want %v", start, got, want)
		}
	}
	if _, err := loadPeers("../../peers", []string{"nobody"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing peer file: %v", err)
	}
}

func TestEachKindHasItsPort(t *testing.T) {
	b := testBench()
	p := &peer{name: "x", start: "x", v: b.vars(1, scenario{cert: "ecdsa"})}
	for kind, want := range map[string]int{"starttls": 23020, "plain": 23020, "tls": 23021, "outbound": 23022} {
		if got := p.port(kind); got != want {
			t.Errorf("%s: got %d, want %d", kind, got, want)
		}
	}
	d := &peer{name: direct}
	for kind, want := range map[string]int{"starttls": 23001, "plain": 23000, "tls": 23002, "outbound": 23000} {
		d.v = b.varsFor(d, 1, scenario{kind: kind, cert: "ecdsa"})
		if got := d.port(kind); got != want {
			t.Errorf("direct, %s: got %d, want %d", kind, got, want)
		}
	}
}
