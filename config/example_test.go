package config

import (
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

const examplePath = "../config.hcl.example"

var (
	commentedLine   = regexp.MustCompile(`^(\s*)# ((?: {2})*(?:[a-z_]+ += .*|[a-z_]+ (?:"[a-z.]+" )?\{.*|\}.*))$`)
	insteadOf       = regexp.MustCompile(`# example, instead of ([a-z_, ]+)$`)
	placesToEdit    = regexp.MustCompile(`EDIT ([0-9]):`)
	equalEmptyLists = cmp.Options{cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{})}
	// A default that is written is the default, and known to be written.
	ignoreWhatIsLeft = cmp.Options{cmpopts.IgnoreFields(Config{}, "Warnings"), cmpopts.IgnoreFields(Outbound{}, "FromWritten", "Place"), cmpopts.IgnoreFields(Resolver{}, "DNSSECWritten")}
)

// comment is a commented setting of the example: one line, or a whole block.
type comment struct {
	first, last int // line numbers from 0
	example     bool
	instead     []string // attributes that it excludes
}

func exampleLines(t *testing.T) []string {
	t.Helper()
	src, err := os.ReadFile(examplePath)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(src), "\n")
}

// comments finds every commented setting of the example.
func comments(lines []string) []comment {
	var found []comment
	for i := 0; i < len(lines); i++ {
		m := commentedLine.FindStringSubmatch(lines[i])
		if m == nil {
			continue
		}
		c := comment{first: i, last: i, example: strings.Contains(lines[i], "# example")}
		if e := insteadOf.FindStringSubmatch(lines[i]); e != nil {
			c.instead = strings.Split(e[1], ", ")
		}
		if body, _, _ := strings.Cut(m[2], "#"); strings.HasSuffix(strings.TrimSpace(body), "{") {
			for depth := 1; depth > 0; {
				c.last++
				depth += strings.Count(lines[c.last], "{") - strings.Count(lines[c.last], "}")
			}
		}
		found = append(found, c)
		i = c.last
	}
	return found
}

// uncommented returns the text with the comment signs of c removed.
func uncommented(lines []string, all ...comment) string {
	out := slices.Clone(lines)
	for _, c := range all {
		for i := c.first; i <= c.last; i++ {
			out[i] = commentedLine.ReplaceAllString(out[i], "$1$2")
		}
		for _, name := range c.instead {
			comment := regexp.MustCompile(`^(\s*)(` + name + ` += )`)
			for i := range out {
				if near := i - c.first; near > -20 && near < 20 {
					out[i] = comment.ReplaceAllString(out[i], "$1# $2")
				}
			}
		}
	}
	return strings.Join(out, "\n")
}

func parseExample(t *testing.T, src string) *Config {
	t.Helper()
	t.Setenv("STATE_DIRECTORY", "")
	c, err := Parse([]byte(src), examplePath)
	if err != nil {
		t.Fatalf("the example is not valid:\n%v", err)
	}
	return c
}

func TestExampleIsValidAndRaisesNoWarning(t *testing.T) {
	c := parseExample(t, strings.Join(exampleLines(t), "\n"))
	if len(c.Warnings) > 0 {
		t.Errorf("warnings: %q", c.Warnings)
	}
}

func TestExampleHasFourPlacesToEdit(t *testing.T) {
	var numbers []string
	lines := exampleLines(t)
	for i, l := range lines {
		if m := placesToEdit.FindStringSubmatch(l); m != nil {
			numbers = append(numbers, m[1]+" "+nextSetting(lines[i:]))
		}
	}
	want := []string{"1 hostname", "2 cert_file", "3 key_file", "4 address"}
	if diff := cmp.Diff(want, numbers); diff != "" {
		t.Error(diff)
	}
}

func nextSetting(lines []string) string {
	for _, l := range lines {
		if l = strings.TrimSpace(l); l != "" && !strings.HasPrefix(l, "#") {
			name, _, _ := strings.Cut(l, " ")
			return name
		}
	}
	return ""
}

func TestExampleShowsTheDefaults(t *testing.T) {
	lines := exampleLines(t)
	before := parseExample(t, strings.Join(lines, "\n"))
	shown := 0
	for _, c := range comments(lines) {
		if c.example {
			continue
		}
		shown++
		after := parseExample(t, uncommented(lines, c))
		if diff := cmp.Diff(before, after, equalEmptyLists, ignoreWhatIsLeft); diff != "" {
			t.Errorf("line %d shows another value than the default:\n%s", c.first+1, diff)
		}
	}
	if shown < 55 {
		t.Errorf("only %d defaults found in the example", shown)
	}
}

func TestExampleWritesNothingElseThanItsExplanationSays(t *testing.T) {
	// What is written in the example, and not a default, is what every file
	// needs: the four places, listen, client_address, state and admin.
	got := parseExample(t, strings.Join(exampleLines(t), "\n"))
	want := Default()
	want.Hostname = "mx1.example.org"
	want.Admin.Listen = "127.0.0.1:9025"
	const folder = "/etc/letsencrypt/live/mx1.example.org/"
	want.Certificates = []Certificate{{Name: "mx", CertFile: folder + "fullchain.pem", KeyFile: folder + "privkey.pem"}}
	in := DefaultInbound("mx")
	in.Listen = []string{"0.0.0.0:25", "[::]:25"}
	in.Certificates = []string{"mx"}
	in.Backend.Addresses = []string{"127.0.0.1:2525"}
	in.Backend.ClientAddress = "xclient"
	want.Inbounds = []Inbound{in}
	out := DefaultOutbound("egress")
	out.Listen = []string{"127.0.0.1:10025"}
	want.Outbounds = []Outbound{out}
	want.State.Written = true
	if diff := cmp.Diff(want, got, equalEmptyLists, cmpopts.IgnoreFields(Outbound{}, "Place")); diff != "" {
		t.Error(diff)
	}
}

func TestEveryExampleInTheExampleCanBeUsed(t *testing.T) {
	lines := exampleLines(t)
	before := parseExample(t, strings.Join(lines, "\n"))
	tried := 0
	for _, c := range comments(lines) {
		if !c.example {
			continue
		}
		tried++
		after := parseExample(t, uncommented(lines, c))
		if cmp.Equal(before, after, equalEmptyLists, ignoreWhatIsLeft) {
			t.Errorf("line %d is called an example, but is the default", c.first+1)
		}
	}
	if tried < 12 {
		t.Errorf("only %d examples found in the example", tried)
	}
}

func TestExampleHasEveryNameOfTheSchema(t *testing.T) {
	lines := exampleLines(t)
	src := uncommented(lines, comments(lines)...)
	// Where one name excludes another, both are there all the same.
	src = regexp.MustCompile(`(?m)^(\s*)# ([a-z_]+ += )`).ReplaceAllString(src, "$1$2")
	file, diags := hclsyntax.ParseConfig([]byte(src), filepath.Base(examplePath), hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	written := map[string]bool{}
	collect(file.Body.(*hclsyntax.Body), "", written)
	for _, path := range schemaPaths() {
		if !written[path] && path != "inbound.balance" { // the same as inbound.backend.balance
			t.Errorf("%s is missing in config.hcl.example", path)
		}
		delete(written, path)
	}
	for path := range written {
		t.Errorf("%s stands in config.hcl.example, and the schema does not know it", path)
	}
}

func collect(body *hclsyntax.Body, prefix string, written map[string]bool) {
	for name := range body.Attributes {
		written[prefix+name] = true
	}
	for _, b := range body.Blocks {
		written[prefix+b.Type] = true
		collect(b.Body, prefix+b.Type+".", written)
	}
}
