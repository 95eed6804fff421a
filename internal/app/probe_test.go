package app

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/smtptest"
	"postern/probe"
)

// probed runs the command in this world.
func probed(t *testing.T, o ProbeOptions) (text string, err error) {
	t.Helper()
	var out bytes.Buffer
	o.Out, o.Log = &out, new(bytes.Buffer)
	o.Parallel = max(o.Parallel, 1)
	err = Probe(t.Context(), o)
	return out.String(), err
}

// onlyNew has the world's server speak TLS 1.3 alone.
func (w *world) onlyNew() *world {
	w.mx.Play(smtptest.Script{TLS: &tls.Config{Certificates: []tls.Certificate{w.cert}, MinVersion: tls.VersionTLS13}})
	return w
}

// config is one that probe reads, of a world whose DNS is not signed.
func (w *world) config(t *testing.T) string {
	return w.written(t, inMemory+w.resolver()+w.outbound(""))
}

func TestProbeNeedsNoConfiguration(t *testing.T) {
	w := newWorld(t).onlyNew()
	t.Chdir(t.TempDir())
	text, err := probed(t, ProbeOptions{Targets: []string{w.mx.Addr}})
	must(err)
	wantWords(t, "the report", text, w.mx.Addr+": sufficient (1 host, ", "As it should be\n", "sufficient    127.0.0.2 suites: 3 suites", "STARTTLS works: TLS 1.3",
		"To know\n", "127.0.0.2:"+w.port+", level may (default)", "TLS_AES_256_GCM_SHA384 ", "certificate: ECDSA P-256, Untrusted, for mx.example.com")
	if strings.Contains(text, "To do") || strings.Contains(text, "\x1b") {
		t.Error(text)
	}
}

func TestProbeTakesTheResolverRootsAndPortOfTheConfiguration(t *testing.T) {
	w := newWorld(t)
	text, err := probed(t, ProbeOptions{Targets: []string{"example.com"}, Config: w.config(t)})
	if !errors.Is(err, ErrReported) {
		t.Error(err)
	}
	wantWords(t, "the report", text, "example.com: ", "1 mail exchanger: mx.example.com", "mx.example.com [127.0.0.2] certificate: ECDSA certificate for mx.example.com, trusted",
		"unknown       mx.example.com tlsa: whether there is DANE is not known")
}

func TestProbeReportsAsJSON(t *testing.T) {
	w := newWorld(t).onlyNew()
	closed := "127.0.0.3:" + w.port
	text, err := probed(t, ProbeOptions{Targets: []string{w.mx.Addr, closed}, JSON: true, Parallel: 2})
	if !errors.Is(err, ErrReported) { // the second one is not there
		t.Error(err)
	}
	var all []probe.Report
	for d := json.NewDecoder(strings.NewReader(text)); d.More(); {
		var r probe.Report
		must(d.Decode(&r))
		all = append(all, r)
	}
	if len(all) != 2 || strings.Count(text, "\n") != 2 {
		t.Fatal(text)
	}
	if r := all[0]; r.Target != w.mx.Addr || r.Grade != probe.Sufficient || !r.Complete || len(r.Hosts[0].Addresses[0].Suites) != 3 {
		t.Errorf("%+v", r)
	}
	if r := all[1]; r.Target != closed || r.Grade != probe.Unknown || r.Complete || r.Findings[0].Check != probe.CheckConnect {
		t.Errorf("%+v", r)
	}
	for _, word := range []string{`"kind":"host"`, `"grade":"sufficient"`, `"check":"starttls"`, `"not_after":`, `"order":`, `"connections":`} {
		if strings.Contains(word, "order") != !strings.Contains(text, word) { // nobody chooses below TLS 1.3
			t.Errorf("%s is not as it was in\n%s", word, text)
		}
	}
}

func TestProbeReportsAsCSV(t *testing.T) {
	w := newWorld(t).onlyNew()
	text, err := probed(t, ProbeOptions{Targets: []string{w.mx.Addr, "127.0.0.3:" + w.port}, CSV: true})
	if !errors.Is(err, ErrReported) {
		t.Error(err)
	}
	rows := must1(csv.NewReader(strings.NewReader(text)).ReadAll())
	if got := strings.Join(rows[0], ","); got != "target,kind,grade,complete,hosts,dnssec,starttls,versions,suites,exchange,certificate,dane,mta_sts,tlsrpt,seconds,worst" {
		t.Error(got)
	}
	if got := strings.Join(rows[1][:14], ","); got != w.mx.Addr+",host,sufficient,true,1,,good,good,sufficient,good,good,,," {
		t.Error(got)
	}
	if r := rows[2]; len(rows) != 3 || r[2] != "unknown" || r[3] != "false" || !strings.Contains(r[15], "connection refused") {
		t.Error(rows[2:])
	}
}

func TestProbeReadsTargetsFromAFileAndWritesATable(t *testing.T) {
	w := newWorld(t).onlyNew()
	old := smtptest.NewBackendAt(t, "127.0.0.3:"+w.port, smtptest.Script{})
	list := "# ours\n" + w.mx.Addr + " # the new one\n\n" + old.Addr + "\n" + w.mx.Addr + "\n"
	file := filepath.Join(t.TempDir(), "list.txt")
	must(os.WriteFile(file, []byte(list), 0o600))
	for _, o := range []ProbeOptions{{File: file}, {File: "-", In: strings.NewReader(list)}} {
		o.Parallel = 4
		text, err := probed(t, o)
		if !errors.Is(err, ErrReported) {
			t.Error(err)
		}
		lines := strings.Split(text, "\n")
		if !strings.HasPrefix(lines[0], "TARGET") || !strings.HasPrefix(lines[1], w.mx.Addr) || !strings.HasPrefix(lines[2], old.Addr) {
			t.Errorf("the table:\n%s", text)
		}
		wantWords(t, "the table", text, "sufficient", "insufficient", "2 targets: 1 sufficient, 1 insufficient")
	}
	if n := len(old.Conns()); n > 4 { // two for each run: EHLO, and MAIL in clear
		t.Errorf("%d connections to a server without TLS", n)
	}
}

func TestATargetThatIsNoneIsAMistakeOfUse(t *testing.T) {
	for _, targets := range [][]string{{"not a domain", "mx:smtp"}, {}} {
		_, err := probed(t, ProbeOptions{Targets: targets})
		usage, ok := errors.AsType[*UsageError](err)
		if !ok {
			t.Fatalf("%q: %v", targets, err)
		}
		for _, target := range targets {
			wantWords(t, "the mistake", usage.Error(), target)
		}
	}
	if _, err := probed(t, ProbeOptions{File: filepath.Join(t.TempDir(), "none")}); err == nil || Hint(err) == "" {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestAnInterruptedProbePrintsWhatThereIs(t *testing.T) {
	w := newWorld(t).onlyNew()
	hold := make(chan struct{})
	defer close(hold)
	slow := smtptest.NewBackendAt(t, "127.0.0.3:"+w.port, smtptest.Script{Hold: map[string]<-chan struct{}{"greeting": hold}})
	ctx, cancel := context.WithCancel(t.Context())
	var out bytes.Buffer
	done := make(chan error)
	targets := []string{w.mx.Addr, slow.Addr, "127.0.0.4:" + w.port}
	go func() {
		done <- Probe(ctx, ProbeOptions{Targets: targets, JSON: true, Parallel: 1, Out: &out, Log: new(bytes.Buffer)})
	}()
	slow.Connection(0)
	cancel()
	if err := <-done; !errors.Is(err, ErrReported) {
		t.Error(err)
	}
	text := out.String()
	wantWords(t, "what is left", text, w.mx.Addr, "interrupted")
	if strings.Count(text, "\n") != 2 || strings.Contains(text, "127.0.0.4") {
		t.Errorf("what was not begun is there too:\n%s", text)
	}
}

func TestDomainsOfOneServerDoNotAskItTwice(t *testing.T) {
	w := newWorld(t).onlyNew()
	w.dns.Set("example.org. IN MX 10 mx.example.com.\nexample.net. IN MX 10 mx.example.com.\n")
	config := w.config(t)
	_, err := probed(t, ProbeOptions{Targets: []string{"example.com"}, Config: config})
	if !errors.Is(err, ErrReported) {
		t.Error(err)
	}
	one := len(w.mx.Conns())
	text, _ := probed(t, ProbeOptions{Targets: []string{"example.com", "example.org", "example.net"}, Config: config, Parallel: 3})
	if all := len(w.mx.Conns()) - one; all != one || one < 10 {
		t.Errorf("%d connections for one domain, %d for three", one, all)
	}
	if n := strings.Count(text, "STARTTLS works"); n != 3 {
		t.Errorf("%d reports have it:\n%s", n, text)
	}
}

func TestTheBarFitsTheTerminal(t *testing.T) {
	for columns, want := range map[int]string{
		80: "[##########----------] 2/4 example.com",
		30: "[##########----------] 2/4 ex",
	} {
		if got := barText(columns, 2, 4, "example.com"); got != want {
			t.Errorf("%d columns: %q", columns, got)
		}
	}
	if got := barText(80, 1, 2, "a\x1b[2Jb"); strings.Contains(got, "\x1b") {
		t.Errorf("%q", got)
	}
	var out bytes.Buffer
	b := newBar(&out, 10)
	if b.done("x"); out.Len() > 0 {
		t.Errorf("a bar where there is no terminal: %q", &out)
	}
}

func TestTheBarComesBackBehindWhatIsWritten(t *testing.T) {
	var out bytes.Buffer
	b := &bar{out: &out, all: 2, columns: func() int { return 80 }}
	b.done("a.example")
	out.Reset()
	must(b.aside(func() error { _, err := out.WriteString("report\n"); return err }))
	const gone = "\r\x1b[K"
	if want := gone + "report\n" + gone + "[##########----------] 1/2 a.example"; out.String() != want {
		t.Errorf("%q, want %q", &out, want)
	}
}

func TestColoursAreForTerminalsThatWantThem(t *testing.T) {
	if got := palette(true).grade(probe.Insufficient, "bad"); got != "\x1b[31mbad\x1b[0m" {
		t.Errorf("%q", got)
	}
	if got := palette(true).grade(probe.Note, "note"); got != "note" {
		t.Errorf("%q", got)
	}
	if painter(new(bytes.Buffer)) {
		t.Error("colours for a file")
	}
}

func TestASpreadsheetCalculatesNothing(t *testing.T) {
	for text, want := range map[string]string{"": "", "example.com": "example.com", "=1+1": "'=1+1", "@SUM(A1)": "'@SUM(A1)", "-1": "'-1"} {
		if got := formula(text); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
	var out bytes.Buffer
	w := ProbeOptions{CSV: true, Out: &out}.writer(1)
	must(w.report(&probe.Report{Target: "-a.example", Findings: []probe.Finding{{Host: "=b.example", Grade: probe.Insufficient}}}))
	wantWords(t, "the line", out.String(), "\n'-a.example,", ",'=b.example ")
}

func TestProbeOfAPortWithImplicitTLS(t *testing.T) {
	w := newWorld(t)
	secure := smtptest.NewBackendAt(t, net.JoinHostPort("127.0.0.7", w.port), smtptest.Script{Implicit: true, TLS: &tls.Config{Certificates: []tls.Certificate{w.cert}, MinVersion: tls.VersionTLS13}})
	text, err := probed(t, ProbeOptions{Targets: []string{fmt.Sprintf("[127.0.0.7]:%s", w.port)}, Implicit: true})
	must(err)
	wantWords(t, "the report", text, "TLS from the first octet: TLS 1.3")
	if secure.Connection(0).Secured() == nil {
		t.Error("no TLS")
	}
}
