// Package reload proves that SIGHUP takes a new configuration without a
// session, or a message, being lost to it, and refuses a bad one.
package reload

import (
	"crypto/tls"
	"os"
	"strings"
	"testing"

	"postern/test/harness"
)

func TestUnderLoad(t *testing.T) {
	t.Parallel()
	for name, secured := range map[string]bool{"clear": false, "TLS": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			backend := harness.NewBackend(t, harness.Script{})
			edge := harness.Edge{Backend: backend.Addr}.Start(t)
			load := &harness.Load{Secured: secured}
			load.Start(t, edge)
			for reload := range 8 {
				want := (reload + 1) * 25
				harness.Eventually(t, "the load goes on", func() bool { return load.Acknowledged() >= want })
				edge.Reload()
			}
			load.Stop()
			if cut := load.Cut(); len(cut) != 0 {
				t.Errorf("sessions were cut short: %q", cut)
			}
			load.Compare(t, backend.Messages())
		})
	}
}

// A session that is open goes on as it began; the next has the new settings.
func TestNewSettingsAreForNewSessions(t *testing.T) {
	t.Parallel()
	old, next := harness.NewBackend(t, harness.Script{}), harness.NewBackend(t, harness.Script{})
	edge := harness.Edge{Backend: old.Addr}.Start(t)
	open := harness.Dial(t, edge.Addr)
	open.StartTLS(edge.Roots("mx.test"))
	open.Envelope("a@client.test", "b@mx.test")

	changed := edge.Described()
	changed.Backend = next.Addr
	edge.Configure(changed)
	edge.Reload()

	harness.Eventually(t, "a new session has the new backend", func() bool {
		c := harness.Dial(t, edge.Addr)
		c.StartTLS(edge.Roots("mx.test"))
		c.Deliver(harness.Message("new"))
		c.Quit()
		return len(next.Messages()) > 0
	})
	open.Send(harness.Message("old") + ".\r\n")
	open.Expect(250)
	open.Quit()
	found := false
	for _, m := range old.Messages() {
		found = found || strings.Contains(string(m), "<old@")
	}
	if !found {
		t.Error("the message that was in flight is lost")
	}
}

func TestABadConfigurationKeepsTheOld(t *testing.T) {
	t.Parallel()
	backend := harness.NewBackend(t, harness.Script{})
	edge := harness.Edge{Backend: backend.Addr}.Start(t)
	for name, text := range map[string]string{
		"a mistake":  "hostname = \"mx.test\"\ninbound \"mx\" {\n  lisen = [\"127.0.0.1:1\"]\n}\n",
		"no HCL":     "}}}",
		"empty file": "",
	} {
		t.Run(name, func(t *testing.T) {
			edge.WriteConfig(text)
			edge.Reload()
			c := harness.Dial(t, edge.Addr)
			c.StartTLS(edge.Roots("mx.test"))
			c.Deliver(harness.Message("kept"))
			c.Quit()
		})
	}
	if got := len(backend.Messages()); got != 3 {
		t.Errorf("the backend has %d messages", got)
	}
	edge.WaitLog("lisen")
}

// A renewed certificate is taken without a signal; a bad pair is not.
func TestCertificatesAreTakenFromDisk(t *testing.T) {
	t.Parallel()
	ca := harness.NewCA(t)
	pair := ca.Issue(t, harness.ECDSA, "mx.test")
	edge := harness.Edge{Backend: harness.NewBackend(t, harness.Script{}).Addr, CA: ca, Certificates: []harness.Pair{pair}}.Start(t)
	first := serial(t, edge)

	pair.Replace(t, ca.Issue(t, harness.ECDSA, "mx.test"))
	harness.Eventually(t, "the renewed certificate is served", func() bool { return serial(t, edge) != first })
	second := serial(t, edge)

	foreign := ca.Issue(t, harness.ECDSA, "mx.test")
	if err := os.Rename(foreign.KeyFile, pair.KeyFile); err != nil {
		t.Fatal(err)
	}
	edge.Reload()
	if serial(t, edge) != second {
		t.Error("a pair that does not match is served")
	}
	edge.WaitLog(pair.KeyFile)
}

// serial is the serial number of the certificate that a client is shown.
func serial(t *testing.T, edge *harness.Postern) string {
	t.Helper()
	c := harness.Dial(t, edge.Addr)
	c.StartTLS(&tls.Config{RootCAs: edge.CA.Pool, ServerName: "mx.test"})
	defer c.Quit()
	return c.State().PeerCertificates[0].SerialNumber.String()
}
