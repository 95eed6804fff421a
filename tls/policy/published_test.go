package policy_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/tls/dane"
	"postern/tls/level"
	"postern/tls/mtasts"
	"postern/tls/policy"
)

// zone is a DANE that gives the same finding for every host, or the error, and notes the question.
type zone struct {
	finding dane.Finding
	err     error
	asked   []dane.MXInfo
}

func (z *zone) Find(_ context.Context, mx dane.MXInfo) (dane.Finding, error) {
	z.asked = append(z.asked, mx)
	return z.finding, z.err
}

// web is an STS with the policies of domains, and what another look finds.
type web struct {
	now, later map[string]mtasts.Finding
	asked      []string
}

func (w *web) Find(_ context.Context, domain string) mtasts.Finding {
	w.asked = append(w.asked, domain)
	return w.now[domain]
}

func (w *web) Refresh(_ context.Context, domain string) mtasts.Finding {
	w.asked = append(w.asked, "again "+domain)
	if f, ok := w.later[domain]; ok {
		return f
	}
	return w.now[domain]
}

// promise is a policy for example.com.
func promise(mode mtasts.Mode, hosts ...string) *web {
	return &web{now: map[string]mtasts.Finding{domain: promised(mode, hosts...)}}
}

func promised(mode mtasts.Mode, hosts ...string) mtasts.Finding {
	return mtasts.Finding{Policy: &mtasts.Policy{Mode: mode, MX: hosts, MaxAge: 24 * time.Hour}, Expires: today.Add(time.Hour)}
}

var errSERVFAIL = &dane.LookupError{Name: "_25._tcp." + mx, Type: "TLSA", Err: errors.New("SERVFAIL from 127.0.0.1:53")}

var aRecord = dane.Record{Usage: 3, Selector: 1, MatchingType: 1, Data: make([]byte, 32)}

// found are the findings of a zone, by name. The TLSA records are under another name than the MX's.
func found(name string) *zone {
	const base = "tlsa.example.net"
	f := dane.Finding{Base: base, Records: []dane.Record{aRecord}, Names: dane.Names{base, domain}, Expires: today.Add(time.Minute), Why: "because"}
	switch name {
	case "usable", "insecure MX":
		f.Status, f.Usable, f.InsecureMX = dane.Usable, 1, name == "insecure MX"
	case "unusable":
		f.Status, f.Unusable = dane.Unusable, []string{"1 1 1 00: usage 1 is not for SMTP"}
	case "none":
		f = dane.Finding{Status: dane.NoRecords, Base: mx, Why: "because"}
	case "unsigned":
		f = dane.Finding{Why: "because"}
	case "error":
		return &zone{err: errSERVFAIL}
	}
	return &zone{finding: f}
}

func policies(name string) *web {
	switch name {
	case "enforce":
		return promise(mtasts.Enforce, "*.example.net")
	case "other hosts":
		return promise(mtasts.Enforce, "*.example.org")
	case "testing":
		return promise(mtasts.Testing, "*.example.org")
	case "mode none":
		return promise(mtasts.None)
	}
	return &web{}
}

// TestWhatIsPublishedDecides is SEM 26: what the operator wrote, what DANE and MTA-STS say, and what is remembered.
func TestWhatIsPublishedDecides(t *testing.T) {
	const (
		tlsa     = "dane %s for  by tlsa.example.net,example.com SNI tlsa.example.net"
		byDANE   = "dane dane for  by tlsa.example.net,example.com SNI tlsa.example.net"
		bySTS    = "secure mta-sts for mx.example.net by  SNI mx.example.net"
		byMemory = "secure remembered for mx.example.net by  SNI mx.example.net"
		byChance = "may default for  by  SNI mx.example.net"
		anybody  = "encrypt dane for  by  SNI tlsa.example.net"
		skipSTS  = bySTS + "; not among the MX hosts that the MTA-STS policy of example.com names"
		skipDANE = "dane dane for  by  SNI mx.example.net; cannot look up the TLSA records of _25._tcp.mx.example.net: SERVFAIL from 127.0.0.1:53; without that it is not known how safe the connection must be"
	)
	tests := []struct{ operator, dane, sts, memory, want string }{
		{"auto", "usable", "", "", byDANE},
		{"auto", "usable", "enforce", "proven", byDANE},
		{"auto", "usable", "other hosts", "", byDANE},
		{"auto", "insecure MX", "", "", byDANE},
		{"auto", "insecure MX", "enforce", "", byDANE},
		{"auto", "insecure MX", "testing", "", byDANE},
		{"auto", "insecure MX", "other hosts", "", byDANE + "; not among the MX hosts that the MTA-STS policy of example.com names"},
		{"auto", "unusable", "", "", anybody},
		{"auto", "unusable", "testing", "proven", anybody},
		{"auto", "unusable", "enforce", "", bySTS},
		{"auto", "unusable", "other hosts", "", skipSTS},
		{"auto", "none", "", "", byChance},
		{"auto", "none", "enforce", "", bySTS},
		{"auto", "none", "", "proven", byMemory},
		{"auto", "unsigned", "", "", byChance},
		{"auto", "unsigned", "enforce", "proven", bySTS},
		{"auto", "unsigned", "other hosts", "proven", skipSTS},
		{"auto", "unsigned", "testing", "proven", byMemory},
		{"auto", "unsigned", "testing", "", byChance},
		{"auto", "unsigned", "mode none", "proven", byMemory},
		{"auto", "error", "", "", skipDANE},
		{"auto", "error", "enforce", "proven", skipDANE},
		{"auto", "error", "other hosts", "", skipDANE},

		{"dane", "usable", "other hosts", "proven", fmt.Sprintf(tlsa, "operator")},
		{"dane", "insecure MX", "other hosts", "proven", fmt.Sprintf(tlsa, "operator")},
		{"dane", "unusable", "enforce", "proven", "encrypt operator for  by  SNI tlsa.example.net"},
		{"dane", "none", "enforce", "proven", "may operator for  by  SNI mx.example.net"},
		{"dane", "unsigned", "enforce", "proven", "may operator for  by  SNI mx.example.net"},
		{"dane", "error", "enforce", "proven", strings.Replace(skipDANE, "dane dane", "dane operator", 1)},
		{"dane-only", "usable", "", "", "dane-only operator for  by tlsa.example.net,example.com SNI tlsa.example.net"},
		{"dane-only", "unusable", "enforce", "", "dane-only operator for  by  SNI mx.example.net; level dane-only: because"},
		{"dane-only", "none", "", "proven", "dane-only operator for  by  SNI mx.example.net; level dane-only: because"},
		{"dane-only", "unsigned", "", "", "dane-only operator for  by  SNI mx.example.net; level dane-only: because"},
		{"dane-only", "error", "", "", strings.Replace(skipDANE, "dane dane", "dane-only operator", 1)},
		{"may", "usable", "enforce", "proven", "may operator for  by  SNI mx.example.net"},
		{"may", "error", "other hosts", "proven", "may operator for  by  SNI mx.example.net"},
		{"verify", "usable", "enforce", "proven", "verify operator for mx.example.net by  SNI mx.example.net"},
	}
	for _, tt := range tests {
		t.Run(strings.Join([]string{tt.operator, tt.dane, tt.sts, tt.memory}, ", "), func(t *testing.T) {
			memory, own := remembers{}, policy.Rule{Auto: true}
			if tt.memory != "" {
				memory[domain+"/"+mx] = known(3)
			}
			if tt.operator != "auto" {
				own = policy.Rule{}
				own.Level, _ = level.Parse(tt.operator)
			}
			d := engine(policy.Options{Default: own, Memory: memory, DANE: found(tt.dane), STS: policies(tt.sts)}).
				DecideMX(context.Background(), policy.MXInput{Domain: domain, Host: mx, Port: 25, MXSecure: tt.dane != "insecure MX"})
			got := fmt.Sprintf("%v %s for %s by %s SNI %s", d.Level, d.Source, strings.Join(d.Names, ","), strings.Join(d.DANENames, ","), d.SNI)
			if d.Err != nil {
				got += "; " + d.Err.Error()
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if byTLSA := (d.Level == level.DANE || d.Level == level.DANEOnly) && len(d.DANENames) > 0; byTLSA != (len(d.TLSA) == 1) {
				t.Errorf("it has %d TLSA records", len(d.TLSA))
			}
			if named := d.NotAnMX != ""; named != (tt.sts == "other hosts" && d.Err != nil && tt.dane != "error") {
				t.Errorf("not an MX: %q", d.NotAnMX)
			}
			if len(d.DANENames) > 0 && d.InsecureMX != (tt.dane == "insecure MX") {
				t.Errorf("insecure MX: %v", d.InsecureMX)
			}
		})
	}
}

// TestWhoIsAskedAndWhoIsNot: a question costs time, and mail for a host that DANE decides about does
// not wait for a web server.
func TestWhoIsAskedAndWhoIsNot(t *testing.T) {
	tests := []struct {
		operator, dane, sts, domain, host string
		tlsa                              bool
		web                               string
	}{
		{"auto", "usable", "enforce", domain, mx, true, ""},
		{"auto", "insecure MX", "enforce", domain, mx, true, domain},
		{"auto", "unusable", "enforce", domain, mx, true, domain},
		{"auto", "none", "enforce", domain, mx, true, domain},
		{"auto", "error", "enforce", domain, mx, true, ""},
		{"auto", "unsigned", "other hosts", domain, mx, true, domain + " again " + domain},
		{"auto", "unsigned", "testing", "EXAMPLE.com.", mx, true, domain},
		{"auto", "unsigned", "enforce", "[192.0.2.1]", "192.0.2.1", true, ""},
		{"auto", "unsigned", "enforce", "", "192.0.2.1", true, ""},
		{"dane", "unsigned", "enforce", domain, mx, true, ""},
		{"encrypt", "usable", "enforce", domain, mx, false, ""},
	}
	for _, tt := range tests {
		own := policy.Rule{Auto: tt.operator == "auto"}
		if !own.Auto {
			own.Level, _ = level.Parse(tt.operator)
		}
		z, w := found(tt.dane), policies(tt.sts)
		in := policy.MXInput{Domain: tt.domain, Canonical: "www.example.com", Host: tt.host, Port: 26, Implicit: true, MXSecure: true}
		engine(policy.Options{Default: own, DANE: z, STS: w}).DecideMX(context.Background(), in)
		if got := strings.Join(w.asked, " "); got != tt.web {
			t.Errorf("%+v: MTA-STS was asked for %q", tt, got)
		}
		if len(z.asked) == 1 != tt.tlsa {
			t.Fatalf("%+v: DANE was asked %v", tt, z.asked)
		}
		want := dane.MXInfo{Domain: strings.Trim(strings.ToLower(tt.domain), ".[]"), Canonical: "www.example.com", Host: tt.host, Port: 26, Implicit: true, MXSecure: true}
		if tt.tlsa && z.asked[0] != want {
			t.Errorf("%+v: DANE was asked %+v", tt, z.asked[0])
		}
	}
}

func TestAPolicyThatHasChangedIsNotHeldAgainstANewHost(t *testing.T) {
	w := policies("other hosts")
	w.later = map[string]mtasts.Finding{domain: promised(mtasts.Enforce, mx)}
	d := engine(policy.Options{Default: policy.Rule{Auto: true}, STS: w}).Decide(context.Background(), domain, mx, 25)
	if d.Err != nil || d.Level != level.Secure || d.Source != policy.SourceMTASTS {
		t.Errorf("got %v by %s, %v", d.Level, d.Source, d.Err)
	}
}

func TestADeclaredRelayIsNoMXThatAPolicyCouldForbid(t *testing.T) {
	auto := policy.Rule{Pattern: "192.0.2.0/24", Auto: true}
	e := engine(policy.Options{Rules: []policy.Rule{auto}, Default: policy.Rule{Auto: true}, STS: policies("enforce")})
	in := policy.MXInput{Domain: domain, Host: "192.0.2.1", Port: 25}
	if d := e.DecideByRule(context.Background(), &auto, in); d.Err != nil || d.Level != level.May {
		t.Errorf("got %v, %v", d.Level, d.Err)
	}
	if d := e.DecideMX(context.Background(), in); d.NotAnMX == "" {
		t.Errorf("an address that nobody declared: got %v", d.Level)
	}
}

func TestWithoutDANEToAskItsLevelsWait(t *testing.T) {
	for _, l := range []level.Level{level.DANE, level.DANEOnly} {
		d := engine(policy.Options{Default: policy.Rule{Level: l}}).Decide(context.Background(), domain, mx, 25)
		if d.Err == nil || d.Level != l {
			t.Errorf("%v: got %v, %v", l, d.Level, d.Err)
		}
	}
}

func TestEveryFindingIsTold(t *testing.T) {
	tests := []struct{ dane, sts, want string }{
		{"usable", "enforce", "dane: MX records: secure (by com)|dane: usable: because"},
		{"unusable", "", "dane: MX records: secure (by com)|dane: unusable: because; not 1 1 1 00: usage 1 is not for SMTP|mta-sts: no policy"},
		{"none", "enforce", "dane: MX records: secure (by com)|dane: no_records: because|mta-sts: mode enforce, mx *.example.net, max_age 86400"},
		{"unsigned", "testing", "dane: MX records: secure (by com)|dane: not_applicable: because|mta-sts: mode testing, mx *.example.org, max_age 86400|remembered: nothing known of mx.example.net|default: level may: TLS if it works, no certificate is refused"},
		{"error", "enforce", "dane: MX records: secure (by com)|dane: cannot look up the TLSA records of _25._tcp.mx.example.net: SERVFAIL from 127.0.0.1:53"},
	}
	for _, tt := range tests {
		e := engine(policy.Options{Default: policy.Rule{Auto: true}, Memory: remembers{}, DANE: found(tt.dane), STS: policies(tt.sts)})
		d := e.DecideMX(context.Background(), policy.MXInput{Domain: domain, Host: mx, Port: 25, MXSecure: true, MXSecurity: "secure", MXWhy: "by com"})
		var got []string
		for _, r := range d.Reasons[1:] {
			got = append(got, string(r.Source)+": "+r.Text)
		}
		if diff := cmp.Diff(tt.want, strings.Join(got, "|")); diff != "" {
			t.Errorf("%s, %s: %s", tt.dane, tt.sts, diff)
		}
	}
	stale := mtasts.Finding{Policy: &mtasts.Policy{Mode: mtasts.Testing}, Result: mtasts.FetchError, Trouble: "HTTP 500", Why: "policy 1; it stands, although HTTP 500"}
	w := &web{now: map[string]mtasts.Finding{domain: stale, "example.org": {Why: "no TXT record"}}}
	for to, want := range map[string]string{domain: "; the last look failed: HTTP 500", "example.org": "no policy: no TXT record"} {
		d := engine(policy.Options{Default: policy.Rule{Auto: true}, STS: w}).Decide(context.Background(), to, mx, 25)
		if got := d.Reasons[1].Text; !strings.HasSuffix(got, want) {
			t.Errorf("%s: got %q", to, got)
		}
	}
}

// Found has what the reasons say, and nothing of what was not asked.
func TestADecisionHasItsFindings(t *testing.T) {
	memory := remembers{domain + "/" + mx: {Host: true, Sessions: 3}}
	for setup, want := range map[string]string{
		"usable|enforce":      "usable -",
		"insecure MX|enforce": "usable enforce",
		"none|enforce":        "no_records enforce",
		"none|testing":        "no_records testing remembered 3",
		"error|enforce":       "- -",
		"unusable|":           "unusable none",
		"unsigned|":           "not_applicable none remembered 3",
	} {
		tlsa, sts, _ := strings.Cut(setup, "|")
		d := engine(policy.Options{Default: policy.Rule{Auto: true}, Memory: memory, DANE: found(tlsa), STS: policies(sts)}).
			DecideMX(context.Background(), policy.MXInput{Domain: domain, Host: mx, Port: 25, MXSecure: true})
		got := []string{"-", "-"}
		if f := d.Found.DANE; f != nil {
			got[0] = f.Status.String()
		}
		if f := d.Found.STS; f != nil {
			got[1] = "none"
			if f.Policy != nil {
				got[1] = f.Policy.Mode.String()
			}
		}
		if f := d.Found.Remembered; f != nil {
			got = append(got, "remembered", strconv.Itoa(f.Sessions))
		}
		if text := strings.Join(got, " "); text != want {
			t.Errorf("%s: got %q", setup, text)
		}
	}
}

func TestADecisionEndsWithWhatItWasMadeOf(t *testing.T) {
	minute, hour := today.Add(time.Minute), today.Add(time.Hour)
	for setup, want := range map[string]time.Time{
		"usable|enforce": minute, "insecure MX|enforce": minute, "unusable|": minute, "unusable|enforce": hour, "none|enforce": hour, "none|testing": {},
	} {
		tlsa, sts, _ := strings.Cut(setup, "|")
		d := engine(policy.Options{Default: policy.Rule{Auto: true}, DANE: found(tlsa), STS: policies(sts)}).Decide(context.Background(), domain, mx, 25)
		if !d.Expires.Equal(want) {
			t.Errorf("%s: got %v", setup, d.Expires)
		}
	}
}

// TestTheKeyTellsTLSARecordsAndPoliciesApart: STANDARDS 93.
func TestTheKeyTellsTLSARecordsAndPoliciesApart(t *testing.T) {
	base := policy.Decision{Host: mx, Level: level.DANE, Source: policy.SourceDANE, Base: mx, TLSA: []dane.Record{aRecord}, DANENames: []string{mx}}
	sts := policy.Decision{Host: mx, Level: level.Secure, Source: policy.SourceMTASTS, Names: []string{mx}, STS: promised(mtasts.Enforce, mx).Policy}
	keys := map[string]string{}
	add := func(name string, d policy.Decision, change func(*policy.Decision)) {
		if change != nil {
			change(&d)
		}
		if other, taken := keys[d.Key()]; taken {
			t.Errorf("%s has the key of %s", name, other)
		}
		keys[d.Key()] = name
	}
	record := func(r dane.Record) func(*policy.Decision) {
		return func(d *policy.Decision) { d.TLSA = []dane.Record{r} }
	}
	add("DANE", base, nil)
	add("usage", base, record(dane.Record{Usage: 2, Selector: 1, MatchingType: 1, Data: aRecord.Data}))
	add("selector", base, record(dane.Record{Usage: 3, MatchingType: 1, Data: aRecord.Data}))
	add("matching type", base, record(dane.Record{Usage: 3, Selector: 1, MatchingType: 2, Data: aRecord.Data}))
	add("data", base, record(dane.Record{Usage: 3, Selector: 1, MatchingType: 1, Data: append([]byte{1}, aRecord.Data[1:]...)}))
	add("two records", base, func(d *policy.Decision) { d.TLSA = []dane.Record{aRecord, {Usage: 3}} })
	add("no records", base, func(d *policy.Decision) { d.TLSA = nil })
	add("names", base, func(d *policy.Decision) { d.DANENames = []string{mx, domain} })
	add("base", base, func(d *policy.Decision) { d.Base = "tlsa.example.net" })
	add("insecure MX", base, func(d *policy.Decision) { d.InsecureMX = true })
	add("STS", sts, nil)
	add("remembered beside a policy", sts, func(d *policy.Decision) { d.Source = policy.SourceRemembered })
	add("remembered", sts, func(d *policy.Decision) { d.Source, d.STS = policy.SourceRemembered, nil })
	add("other hosts", sts, func(d *policy.Decision) { d.STS = promised(mtasts.Enforce, mx, domain).Policy })
	add("mode", sts, func(d *policy.Decision) { d.STS = promised(mtasts.Testing, mx).Policy })
	if d := base; d.Key() != base.Key() {
		t.Error("a key changes")
	}
}
