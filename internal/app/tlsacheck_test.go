package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/catest"
	"postern/internal/dnstest"
)

// checked runs the check.
func checked(t *testing.T, o TLSACheckOptions) (text string, findings []TLSAFinding, err error) {
	t.Helper()
	var out bytes.Buffer
	o.Out, o.JSON = &out, true
	err = CheckTLSA(t.Context(), o)
	if out.Len() > 0 {
		must(json.Unmarshal(out.Bytes(), &findings))
	}
	return findingsText(findings), findings, err
}

// wantStory says what the check must find; good is what its exit code says.
func wantStory(t *testing.T, o TLSACheckOptions, good bool, want ...string) {
	t.Helper()
	text, findings, err := checked(t, o)
	if !tells(findings, want) || good != (err == nil) || !good && !errors.Is(err, ErrReported) {
		t.Errorf("%v:\n%swant:\n%s", err, text, strings.Join(want, "\n"))
	}
}

// kept is HCL of a state that survives the process, and of an admin socket.
func (d *domain) kept() string {
	must(os.MkdirAll(d.path("state"), 0o700))
	return "state \"bolt\" {\n  path = \"" + d.path("state/state.db") + "\"\n}\nadmin {\n  socket = \"" + d.path("admin.sock") + "\"\n}\n"
}

func TestWhatIsShownIsComparedWithWhatIsPublished(t *testing.T) {
	d := newDomain(t)
	d.publish(t, d.tlsa(3600, d.record("ecdsa.pem"), d.record("rsa.pem"), d.issuer()))
	p := launchFile(t, d.config(t, inMemory+"admin {\n  socket = \""+d.path("admin.sock")+"\"\n}\n"))
	at := "the certificate that 127.0.0.1:" + d.port + " shows"
	good := []string{"good zone: 3 records, signed, for 1h0m0s (TTL)",
		"good served: " + at + " (ECDSA P-256) matches 3 1 1", "good served: " + at + " (RSA 2048) matches 3 1 1"}
	o := TLSACheckOptions{TLSAOptions: TLSAOptions{Config: p.file}}
	wantStory(t, o, true, good...)
	if text, _, err := checked(t, TLSACheckOptions{TLSAOptions: o.TLSAOptions, Quiet: true}); text != "" || err != nil {
		t.Errorf("with --quiet: %v\n%s", err, text)
	}

	d.publish(t, d.tlsa(3600, d.record("ecdsa.pem"))+"_25._tcp.mx1 TLSA "+d.record("rsa.pem"))
	d.config(t, inMemory)
	wantStory(t, o, false, "good zone: 1 record", "good served: "+at+" (ECDSA P-256)", "wanting served: "+at+" (RSA 2048) does not pass", "note rollover")
	wantStory(t, TLSACheckOptions{TLSAOptions: o.TLSAOptions, Quiet: true}, false, "wanting served: "+at+" (RSA 2048) does not pass")

	// The server is known by another port than the one that it listens on.
	o.Ports = []uint16{25}
	wantStory(t, o, false, "wanting served: the server was not asked for its certificates: it does not listen on this port", "good zone", "wanting file: certificate \"ecdsa\"", "good file: certificate \"rsa\"", "note rollover")
	o.Connect = "127.0.0.1:" + d.port
	wantStory(t, o, false, "good zone", "wanting served: "+at+" (ECDSA", "good served: "+at+" (RSA", "note rollover")

	// The files have changed, and the server has not noticed.
	d.pair(t, "ecdsa2", catest.Leaf{Names: []string{"mx1.example.org"}})
	d.files = []string{"ecdsa2", "rsa"}
	d.publish(t, d.tlsa(3600, d.record("ecdsa2.pem"), d.record("rsa.pem"), d.record("ecdsa.pem")))
	o.Ports, o.Connect = nil, ""
	d.config(t, inMemory)
	wantStory(t, o, true, `note served: certificate "ecdsa2" (ECDSA P-256) is not shown by`, "good zone", `good file: certificate "ecdsa2"`, "good served: "+at+" (ECDSA", "good served: "+at+" (RSA")
}

func TestAZoneThatIsOfNoUseIsFoundWanting(t *testing.T) {
	d := newDomain(t)
	records := "mx1 A 127.0.0.1\n" + d.tlsa(60, d.record("ecdsa.pem"), d.record("rsa.pem"))
	for want, prepare := range map[string]func(){
		"wanting zone: the address of mx1.example.org is not signed|senders do without DANE": func() {
			d.serve(t, dnstest.Zone{Name: "example.org", Records: records, Unsigned: true})
		},
		"wanting zone: mail waits at its senders: cannot look up the TLSA records of": func() {
			d.serve(t, dnstest.Zone{Name: "example.org", Records: records})
			d.dns.Break("", "TLSA", dnstest.ServFail)
		},
		"wanting zone: mail waits at its senders: cannot look up the address of": func() {
			d.serve(t, dnstest.Zone{Name: "example.org", Records: records, Flaws: map[string]dnstest.Flaw{"mx1": dnstest.Expired}})
		},
		"wanting zone: no TLSA records at": func() { d.publish(t, "") },
		"wanting zone: no record can match anything (3 1 1 ab: the digest|1 1 1 abababab": func() {
			d.publish(t, d.tlsa(60, "1 1 1 "+strings.Repeat("ab", 32), "3 1 1 ab"))
		},
	} {
		prepare()
		o := TLSACheckOptions{TLSAOptions: TLSAOptions{Config: d.config(t, inMemory)}}
		wantStory(t, o, false, "wanting served: the server was not asked for its certificates: dial tcp", want)
	}
	d.publish(t, d.tlsa(60, d.record("ecdsa.pem"), d.record("rsa.pem"), "0 1 1 "+strings.Repeat("ab", 32)))
	o := TLSACheckOptions{TLSAOptions: TLSAOptions{Config: d.config(t, inMemory)}}
	wantStory(t, o, false, "wanting served", "good zone", "wanting record: 0 1 1 abab|remove it", "good file", "good file", "note rollover")
}

func TestARolloverIsFollowedBesideAPosternThatRunsAndWithoutIt(t *testing.T) {
	d := newDomain(t)
	d.files = []string{"ecdsa"}
	d.spare(t, "next", catest.Leaf{Names: []string{"mx1.example.org"}})
	d.publish(t, d.tlsa(60, d.record("ecdsa.pem")))
	p := launchFile(t, d.config(t, d.kept()))
	o := TLSACheckOptions{TLSAOptions: TLSAOptions{Config: p.file, Next: []string{d.path("next.key")}}}
	wantStory(t, o, false, "good zone", "good served", "wanting next: "+d.path("next.key")+" (ECDSA P-256) is not published|Publish "+d.record("next.key"))
	d.publish(t, d.tlsa(60, d.record("ecdsa.pem"), d.record("next.pem")))
	d.config(t, d.kept())
	wantStory(t, o, false, "good zone: 2 records", "good served", "wanting next: |is published, and was first seen now: it may be put into use from")
	wantStory(t, o, false, "good zone: 2 records", "good served", "wanting next: |is published, first seen at")
	must(p.stop())
	wantStory(t, o, false, "wanting served", "good zone", "good file", "wanting next: |is published, first seen at")

	// With TTL 0 nobody has to wait.
	d.publish(t, d.tlsa(0, d.record("ecdsa.pem"), d.record("rsa.pem")))
	d.spare(t, "next", catest.Leaf{Names: []string{"mx1.example.org"}})
	d.publish(t, d.tlsa(0, d.record("ecdsa.pem"), d.record("next.pem")))
	must(os.Remove(d.path("state/state.db")))
	q := launchFile(t, d.config(t, d.kept()))
	wantStory(t, o, true, "good zone", "good served", "good next")
	// The key is in use.
	d.files = []string{"next"}
	d.config(t, d.kept())
	must(q.stop())
	q = launchFile(t, q.file)
	wantStory(t, o, false, "good zone", "good served", "wanting record: "+d.record("ecdsa.pem")+" is stale", "good next")
	must(q.stop())
}

func TestWhereNothingIsRememberedItSaysSo(t *testing.T) {
	d := newDomain(t)
	d.files = []string{"ecdsa"}
	d.spare(t, "next", catest.Leaf{})
	d.publish(t, d.tlsa(60, d.record("ecdsa.pem"), d.record("next.pem")))
	o := TLSACheckOptions{TLSAOptions: TLSAOptions{Next: []string{d.path("next.pem")}}}
	for more, why := range map[string]string{
		inMemory: `write state "bolt"`,
		"state \"bolt\" {\n  path = \"" + d.path("none.db") + "\"\n}\n": "none.db is made when postern first runs",
	} {
		o.Config = d.config(t, more)
		wantStory(t, o, false, "wanting served", "good zone", "good file", "wanting next: |it is not known since when: nothing remembers them|"+why)
	}
	if _, err := os.Stat(d.path("none.db")); !os.IsNotExist(err) {
		t.Error("asking has made the file, which would belong to whoever asks")
	}
	p := launchFile(t, d.config(t, strings.Split(d.kept(), "admin")[0]))
	wantStory(t, o, false, "good zone", "good served", "wanting next: |the postern that runs has the state")
	must(p.stop())
	catest.Write(t, filepath.Join(d.dir, "state", "state.db"), []byte("not a state"))
	if _, _, err := checked(t, o); err == nil || errors.Is(err, ErrReported) {
		t.Errorf("with a file that is no state: %v", err)
	}
}

func TestAListenerWithImplicitTLSOrAPROXYHeaderIsAsked(t *testing.T) {
	d := newDomain(t)
	for _, more := range []string{`tls = "implicit"`, "proxy_protocol {\n    from = [\"127.0.0.0/8\"]\n  }", `grade = "modern"`} {
		d.port = freePort(t)
		d.publish(t, d.tlsa(60, d.record("ecdsa.pem"), d.record("rsa.pem"), d.issuer()))
		text := string(must1(os.ReadFile(d.config(t, inMemory))))
		must(os.WriteFile(d.path("config.hcl"), []byte(strings.Replace(text, "backend {", more+"\n  backend {", 1)), 0o600))
		p := launchFile(t, d.path("config.hcl"))
		o := TLSACheckOptions{TLSAOptions: TLSAOptions{Config: p.file}}
		if strings.Contains(more, "modern") {
			wantStory(t, o, true, `note served: certificate "rsa" (RSA 2048) is not shown by|or the server cannot be asked for it: TLS: remote error`, "good zone", `good file: certificate "rsa"`, "good served")
		} else {
			wantStory(t, o, true, "good zone", "good served", "good served")
		}
		must(p.stop())
	}
}

func TestAServerThatShowsNothingIsSaidToShowNothing(t *testing.T) {
	d := newDomain(t)
	d.publish(t, d.tlsa(60, d.record("ecdsa.pem"), d.record("rsa.pem"), d.issuer()))
	o := TLSACheckOptions{TLSAOptions: TLSAOptions{Config: d.config(t, inMemory)}}
	for said, want := range map[string]string{
		"421 busy\r\n":       "it said 421 busy",
		"220 a\r\n250 a\r\n": "STARTTLS is not offered",
		"220 a\r\n250-a\r\n250 STARTTLS\r\n454 no\r\n":              "it said 454 no",
		"220 a\r\n250-a\r\n250 STARTTLS\r\n220 go\r\n250 there\r\n": "there is something behind the reply to STARTTLS",
		"220 a\r\n250-a\r\n250 STARTTLS\r\n220 go\r\n":              "TLS: ",
		"hello\r\n": "",
	} {
		l := must1(net.Listen("tcp", "127.0.0.1:0"))
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				c.Write([]byte(said))
				c.(*net.TCPConn).CloseWrite()
			}
		}()
		o.Connect = l.Addr().String()
		wantStory(t, o, false, "wanting served: the server was not asked for its certificates: |"+want, "good zone", "good file", "good file")
		l.Close()
	}
}

func TestTheRecordsOfAnAliasAreThoseOfItsTarget(t *testing.T) {
	d := newDomain(t)
	d.publish(t, "alias CNAME mx1\n"+d.tlsa(60, d.record("ecdsa.pem"), d.record("rsa.pem"), d.issuer()))
	o := TLSACheckOptions{TLSAOptions: TLSAOptions{Config: d.config(t, inMemory), Names: []string{"Alias.example.org"}}}
	wantStory(t, o, false, "wanting served", "good zone", "note zone: they are those of mx1.example.org, which it is an alias of", "good file", "good file")
}

func TestOnlyOneServerCanBeConnectedTo(t *testing.T) {
	d := newDomain(t)
	o := TLSACheckOptions{TLSAOptions: TLSAOptions{Config: d.config(t, inMemory), Ports: []uint16{25, 26}}, Connect: "127.0.0.1:1"}
	if _, _, err := checked(t, o); err == nil || errors.Is(err, ErrReported) || !strings.Contains(Hint(err), "--port") {
		t.Errorf("with two ports: %v", err)
	}
}
