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
	if len(c.Inbounds) == 0 {
		t.Error("no inbound")
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
