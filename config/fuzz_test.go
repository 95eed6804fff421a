package config

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var positioned = regexp.MustCompile(`^f\.hcl:[1-9][0-9]*: \S`)

// FuzzParse proves that no text makes the package panic, that every mistake has
// a place, and that what is accepted keeps the promises of the types.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/bad/*.hcl", "testdata/good/*.hcl", "testdata/doubtful/*.hcl", examplePath} {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			f.Fatalf("%s: %v", pattern, err)
		}
		for _, name := range names {
			src, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(src)
		}
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		c, err := Parse(src, "f.hcl")
		if err != nil {
			checkError(t, err)
			return
		}
		checkConfig(t, c)
	})
}

func checkError(t *testing.T, err error) {
	var mistakes *Error
	if !errors.As(err, &mistakes) {
		t.Fatalf("not an *Error: %v", err)
	}
	for _, line := range strings.Split(err.Error(), "\n") {
		if !positioned.MatchString(line) {
			t.Errorf("no place in %q", line)
		}
	}
	mistakes.Print(io.Discard, false, 60)
}

func checkConfig(t *testing.T, c *Config) {
	if !validHost(c.Hostname, 2) && !addressLiteral(c.Hostname) {
		t.Errorf("hostname %q", c.Hostname)
	}
	if len(c.Inbounds) == 0 && len(c.Outbounds) == 0 {
		t.Error("no way in and no way out")
	}
	for _, out := range c.Outbounds {
		checkOutbound(t, out)
	}
	for _, in := range c.Inbounds {
		if in.Name == "" || len(in.Listen) == 0 || len(in.Backend.Addresses) == 0 || in.Backend.ClientAddress == "" {
			t.Errorf("incomplete: %+v", in)
		}
		if in.TLS != "off" && len(in.Certificates) == 0 {
			t.Errorf("TLS without a certificate: %+v", in)
		}
		if in.Limits.Connections < 1 || in.Limits.MessageSize < 0 || in.Timeouts.Command <= 0 || in.ShutdownGrace < 0 {
			t.Errorf("out of bounds: %+v", in)
		}
	}
}

func checkOutbound(t *testing.T, out Outbound) {
	if out.Name == "" || len(out.Listen) == 0 || len(out.From) == 0 || out.Place == "" {
		t.Errorf("incomplete: %+v", out)
	}
	if (out.Route == "smarthost") != (out.Smarthost != nil) {
		t.Errorf("smarthost without its route, or the other way round: %+v", out)
	}
	if h := out.Smarthost; h != nil && (len(h.Addresses) == 0 || h.TLS != "starttls" && h.TLS != "implicit") {
		t.Errorf("incomplete: %+v", h)
	}
	if out.MXPort < 1 || out.MXPort > 65535 || out.Timeouts.Route <= 0 || out.Skip.Hold > out.Skip.Max || out.Concurrency < 0 {
		t.Errorf("out of bounds: %+v", out)
	}
	checkLevel(t, out.Level, out.Match, out.Fingerprints)
	seen := map[string]bool{}
	for _, to := range out.Destinations {
		if to.Pattern == "" || seen[to.Pattern] || to.Grade == "" || to.TrustedRoots == "" || to.Place == "" {
			t.Errorf("incomplete, or there twice: %+v", to)
		}
		seen[to.Pattern] = true
		checkLevel(t, to.Level, to.Match, to.Fingerprints)
	}
}

func checkLevel(t *testing.T, level string, match, fingerprints []string) {
	if level == "" || (level == "fingerprint") != (len(fingerprints) > 0) {
		t.Errorf("level %q with fingerprints %q", level, fingerprints)
	}
	if len(match) > 0 && level != "verify" && level != "secure" {
		t.Errorf("level %q with match %q", level, match)
	}
}
