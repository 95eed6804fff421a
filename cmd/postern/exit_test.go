package main

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheExitCodeTellsUseFromWant(t *testing.T) {
	for line, want := range map[string]int{
		"version":                                exitGood,
		"help":                                   exitGood,
		"check --config /no/file":                exitWanting,
		"run --config /no/file":                  exitConfiguration,
		"":                                       exitUsage,
		"nonsense":                               exitUsage,
		"run --nonsense":                         exitUsage,
		"run file.hcl":                           exitUsage,
		"peers":                                  exitUsage,
		"peers nonsense":                         exitUsage,
		"peers list everything":                  exitUsage,
		"peers show":                             exitUsage,
		"peers forget":                           exitUsage,
		"peers forget one two":                   exitUsage,
		"peers list --config /no":                exitWanting,
		"explain":                                exitUsage,
		"explain one two":                        exitUsage,
		"explain x --config /no":                 exitWanting,
		"explain a..b":                           exitUsage,
		"explain user@":                          exitUsage,
		"explain [192.0.2.1":                     exitUsage,
		"explain a@x --config /no":               exitWanting,
		"version --json=sometimes":               exitUsage,
		"healthcheck everything":                 exitUsage,
		"healthcheck --config /no":               exitWanting,
		"redirect":                               exitUsage,
		"redirect nonsense":                      exitUsage,
		"redirect install x":                     exitUsage,
		"redirect install --outbound 70000":      exitUsage,
		"redirect install":                       exitWanting,
		"redirect print":                         exitWanting,
		"redirect print --inbound 2500":          exitGood,
		"redirect install --inbound 1 --dry-run": exitGood,
		"redirect remove --dry-run":              exitGood,

		"tlsa --config /no":                    exitWanting,
		"tlsa /no/file.pem":                    exitWanting,
		"tlsa --port 0":                        exitUsage,
		"tlsa --port 65536 x.pem":              exitUsage,
		"tlsa --ttl=-1 x.pem":                  exitUsage,
		"tlsa check --config /no":              exitWanting,
		"tlsa check file.pem":                  exitUsage,
		"tlsa check --issuer":                  exitUsage,
		"dns-records --config /no":             exitWanting,
		"dns-records --check --offline x.test": exitUsage,
		"dns-records --max-age year":           exitUsage,

		"probe":                    exitUsage,
		"probe mx:smtp":            exitUsage,
		"probe a --json --csv":     exitUsage,
		"probe a --parallel 0":     exitUsage,
		"probe a --time-limit -1s": exitUsage,
		"probe a --time-limit 0s":  exitUsage,
		"probe --file /no/file":    exitWanting,
		"probe 127.0.0.1:1":        exitWanting,
		"probe a --config /no":     exitWanting,
	} {
		var out, err bytes.Buffer
		if got := run(strings.Fields(line), &out, &err); got != want {
			t.Errorf("postern %s: %d, not %d\n%s%s", line, got, want, &out, &err)
		}
	}
}

// What may go away by itself must not look like what will not: systemd starts
// the one again and not the other.
func TestTheExitCodeOfRunTellsMistakesFromMisfortune(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, c := range map[string]struct {
		text string
		want int
	}{
		"a mistake":      {"inbound", exitConfiguration},
		"nothing to do":  {"", exitConfiguration},
		"a port in use":  {`state "memory" {}` + "\noutbound \"egress\" {\n  listen = [\"" + taken.Addr().String() + "\"]\n}\n", exitWanting},
		"a missing file": {"certificate \"mx\" {\n  cert_file = \"no.pem\"\n  key_file = \"no.pem\"\n}\n" + activated, exitWanting},
	} {
		file := filepath.Join(t.TempDir(), "config.hcl")
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		var out, err bytes.Buffer
		if got := run([]string{"run", "--config", file}, &out, &err); got != c.want {
			t.Errorf("%s: %d, not %d\n%s%s", name, got, c.want, &out, &err)
		}
	}
}
