package everytls

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/test/harness"
)

func TestSwaks(t *testing.T) {
	t.Parallel()
	swaks := harness.Tool(t, "swaks")
	for name, backend := range backends(t) {
		ca := harness.NewCA(t)
		edge := harness.Edge{Backend: backend.Addr, CA: ca, Certificates: pairOf(t, ca), Inbound: transparent}.Start(t)
		for _, c := range []struct {
			name string
			args []string
			says string
		}{
			{"TLS 1.3", []string{"--tls", "--tls-ca-path", ca.File, "--tls-verify"}, "TLSv1.3"},
			{"TLS 1.2", []string{"--tls", "--tls-protocol", "tlsv1_2"}, "TLSv1.2"},
			{"RSA key exchange only", []string{"--tls", "--tls-protocol", "tlsv1_2", "--tls-cipher", "AES256-GCM-SHA384"}, "AES256-GCM-SHA384"},
			{"optional TLS", []string{"--tls-optional"}, "TLSv1.3"},
			{"no TLS", nil, "250 "},
			{"HELO", []string{"--protocol", "SMTP"}, "250 "},
			{"pipelined", []string{"--tls", "--pipeline"}, "TLSv1.3"},
		} {
			t.Run(name+"/"+c.name, func(t *testing.T) {
				id, message := identified(t)
				file := filepath.Join(t.TempDir(), "message")
				if err := os.WriteFile(file, []byte(message), 0o600); err != nil {
					t.Fatal(err)
				}
				out, code := harness.Run(t, "", swaks, append([]string{
					"--server", edge.Addr, "--from", "a@client.test", "--to", "b@mx.test", "--helo", id + ".test", "--data", "@" + file,
				}, c.args...)...)
				if code != 0 || !strings.Contains(out, c.says) {
					t.Fatalf("exit code %d, no %q:\n%s", code, c.says, out)
				}
				backend.Wait("<" + id + "@")
			})
		}
	}
}

func TestSwaksImplicit(t *testing.T) {
	t.Parallel()
	swaks := harness.Tool(t, "swaks")
	backend := harness.NewPostfix(t)
	edge := harness.Edge{Backend: backend.Addr, TLS: "implicit"}.Start(t)
	out, code := harness.Run(t, "", swaks, "--server", edge.Addr, "--tls-on-connect", "--from", "a@client.test",
		"--to", "b@mx.test", "--helo", "client.test", "--header", "Message-ID: <smtps@client.test>")
	if code != 0 {
		t.Fatalf("exit code %d:\n%s", code, out)
	}
	backend.Wait("<smtps@")
}

func TestInteractiveClients(t *testing.T) {
	t.Parallel()
	backend := harness.NewPostfix(t)
	ca := harness.NewCA(t)
	// These clients give a fixed name, so that forward secrecy would be known
	// of it (SEM 33): "prefer" asks for it no more than they do.
	edge := harness.Edge{
		Backend: backend.Addr, CA: ca, Certificates: pairOf(t, ca), Inbound: transparent + "\n  forward_secrecy = \"prefer\"",
	}.Start(t)
	host, port, err := net.SplitHostPort(edge.Addr)
	if err != nil {
		t.Fatal(err)
	}
	openssl := []string{"openssl", "s_client", "-quiet", "-starttls", "smtp", "-connect", edge.Addr, "-servername", "mx.test", "-CAfile", ca.File, "-verify_return_error"}
	gnutls := []string{"gnutls-cli", "--starttls-proto=smtp", "--x509cafile", ca.File, "--sni-hostname", "mx.test", "--verify-hostname", "mx.test", "--logfile", os.DevNull, "--port", port, host}
	for _, c := range []struct {
		name string
		argv []string
	}{
		{"openssl TLS 1.3", append(openssl, "-tls1_3")},
		{"openssl TLS 1.2 ECDSA", append(openssl, "-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384")},
		{"openssl TLS 1.2 RSA", append(openssl, "-tls1_2", "-cipher", "ECDHE-RSA-CHACHA20-POLY1305")},
		{"openssl RSA key exchange only", append(openssl, "-tls1_2", "-cipher", "kRSA+AESGCM")},
		{"gnutls TLS 1.3", append(gnutls, "--priority", "NORMAL:-VERS-ALL:+VERS-TLS1.3")},
		{"gnutls TLS 1.2", append(gnutls, "--priority", "NORMAL:-VERS-ALL:+VERS-TLS1.2")},
		{"gnutls RSA key exchange only", append(gnutls, "--priority", "NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+RSA")},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			id, message := identified(t)
			client := harness.ConnectThrough(t, harness.Tool(t, c.argv[0]), c.argv[1:]...)
			client.Cmd("EHLO client.test", 250)
			client.Deliver(message)
			client.Quit()
			backend.WaitSame(id, message)
		})
	}
}

func TestPosttlsFinger(t *testing.T) {
	t.Parallel()
	finger := harness.Tool(t, "posttls-finger")
	ca := harness.NewCA(t)
	edge := harness.Edge{Backend: harness.NewBackend(t, harness.Script{}).Addr, CA: ca, Certificates: pairOf(t, ca)}.Start(t)
	host, port, err := net.SplitHostPort(edge.Addr)
	if err != nil {
		t.Fatal(err)
	}
	out, _ := harness.Run(t, "", finger, "-c", "-l", "secure", "-F", ca.File, fmt.Sprintf("[%s]:%s", host, port), "mx.test")
	if !strings.Contains(out, "Verified TLS connection established") || !strings.Contains(out, "TLSv1.3") {
		t.Errorf("posttls-finger says\n%s", out)
	}
}

func TestPostfixAsClient(t *testing.T) {
	t.Parallel()
	backend := harness.NewPostfix(t)
	ca := harness.NewCA(t)
	edge := harness.Edge{Backend: backend.Addr, CA: ca, Certificates: pairOf(t, ca), Inbound: transparent}.Start(t)
	host, port, err := net.SplitHostPort(edge.Addr)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, settings, logs string
	}{
		{"TLS 1.3", "smtp_tls_security_level = secure\nsmtp_tls_secure_cert_match = mx.test", "Verified TLS connection established"},
		{"TLS 1.2", "smtp_tls_security_level = encrypt\nsmtp_tls_mandatory_protocols = TLSv1.2", "TLSv1.2 with cipher ECDHE-ECDSA"},
		{"no TLS", "smtp_tls_security_level = none", "status=sent"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			client := harness.NewPostfix(t, "myhostname = client.test", "virtual_mailbox_domains =", "mynetworks = 127.0.0.0/8",
				"smtpd_recipient_restrictions = permit_mynetworks, reject", "smtp_tls_loglevel = 1", "smtp_tls_CAfile = "+ca.File,
				fmt.Sprintf("relayhost = [%s]:%s", host, port), c.settings)
			id, message := identified(t)
			inject := harness.Dial(t, client.Addr)
			inject.Cmd("EHLO mua.test", 250)
			inject.Deliver(message)
			inject.Quit()
			client.WaitLog(c.logs)
			client.WaitLog("status=sent", "dsn=2")
			backend.WaitSame(id, message)
		})
	}
}

// The OpenSSL of 2009 to 2018, as it was linked into old releases of Node.js.
func TestOldOpenSSL(t *testing.T) {
	t.Parallel()
	backend := harness.NewPostfix(t)
	ca := harness.NewCA(t)
	edges := map[string]*harness.Postern{}
	for _, grade := range []string{"mail", "legacy"} {
		edges[grade] = harness.Edge{Backend: backend.Addr, Grade: grade, CA: ca, Certificates: pairOf(t, ca), Inbound: transparent}.Start(t)
	}
	for _, c := range []struct {
		name, version, method, ciphers, grade string
		delivers                              bool
	}{
		{"1.0.0m, TLS 1.0", "0.8.28", "TLSv1_method", "", "legacy", true},
		{"1.0.0m, TLS 1.0, RSA key exchange only", "0.8.28", "TLSv1_method", "AES128-SHA", "legacy", true},
		{"1.0.0m, SSLv2 hello allowed", "0.8.28", "SSLv23_method", "", "legacy", true},
		{"1.0.0m, 3DES only", "0.8.28", "TLSv1_method", "ECDHE-RSA-DES-CBC3-SHA", "legacy", true},
		{"1.0.0m, TLS 1.0 at grade mail", "0.8.28", "TLSv1_method", "", "mail", false},
		{"1.0.1e, TLS 1.2", "0.10.24", "SSLv23_method", "", "mail", true},
		{"1.0.1e, RSA key exchange only", "0.10.24", "SSLv23_method", "AES128-GCM-SHA256", "mail", true},
		{"1.0.1e, RC4 only", "0.10.24", "SSLv23_method", "RC4-SHA", "legacy", false},
		{"1.0.2o, TLS 1.1", "4.9.1", "TLSv1_1_method", "", "legacy", true},
		{"1.0.2o, its own choice", "4.9.1", "SSLv23_method", "", "mail", true},
		{"1.0.2o, DHE first, RSA key exchange last", "4.9.1", "SSLv23_method", "DHE-RSA-AES128-GCM-SHA256:AES128-GCM-SHA256", "mail", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			node := harness.Cached(t, "node-"+c.version+"/bin/node")
			id, _ := identified(t)
			_, port, _ := net.SplitHostPort(edges[c.grade].Addr)
			out, code := harness.Run(t, "", node, "testdata/client.js", port, c.method, c.ciphers, id)
			if delivered := code == 0; delivered != c.delivers {
				t.Fatalf("delivered: %v, want %v:\n%s", delivered, c.delivers, out)
			}
			if c.delivers {
				backend.Wait("<" + id + "@")
			}
		})
	}
}
