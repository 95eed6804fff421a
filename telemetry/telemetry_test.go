package telemetry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"postern/proxy"
	"postern/tls/dane"
	"postern/tls/level"
	"postern/tls/mtasts"
	"postern/tls/policy"
	"postern/tls/report"
)

var build = Build{Version: "1.2.3", Revision: "abc", Go: "go1.26"}

var tls13 = &tls.ConnectionState{
	Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256, CurveID: tls.X25519MLKEM768,
}

func start(t testing.TB) *Telemetry {
	t.Helper()
	tel, err := New(build)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tel.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return tel
}

// exercise makes every metric appear.
func exercise(o proxy.Observer) {
	resumed := *tls13
	resumed.DidResume = true
	if dns, ok := o.(interface{ DNSSEC(validates bool) }); ok {
		dns.DNSSEC(true)
	}
	o.Connected("mx")
	_, done := o.Step(context.Background(), "mx", proxy.StepGreet)
	done(nil)
	o.Handshake("mx", proxy.Handshake{State: &resumed, Duration: time.Millisecond})
	o.Refused("mx", proxy.CauseNUL)
	o.BackendFailed("mx", "127.0.0.1:2525", proxy.CauseDial)
	o.Message("mx", proxy.Message{Code: 250, Bytes: 4096, Recipients: 2, Duration: time.Second, Secured: true})
	o.Disconnected("mx", proxy.Summary{BytesIn: 5000, BytesOut: 300, Duration: time.Second, Secured: true})
	o.Attempt("egress", attempted)
	o.Resolved("egress", "secure")
	o.Delivery("egress", delivered)
	o.Delivery("egress", proxy.Delivery{Address: "192.0.2.1", Clear: "skip", Would: "secure: expected TLS", Cause: proxy.CauseUpstreamReply, Code: 451})
}

// attempted is a session attempt of which DANE and MTA-STS both have something to say.
var attempted = proxy.Attempt{Outcome: policy.Outcome{Decision: &policy.Decision{Host: "mx.example.com", Found: policy.Findings{
	DANE: &dane.Finding{Status: dane.NotApplicable},
	STS:  &mtasts.Finding{Policy: &mtasts.Policy{Mode: mtasts.Testing}},
}}, Tested: report.Failure{Result: report.CertificateExpired}}}

// delivered is a delivery with all that can be told of one.
var delivered = proxy.Delivery{
	Destination: "example.com", Host: "mx.example.com", Address: "192.0.2.1", Decision: &policy.Decision{Level: level.Secure, Source: policy.SourceRemembered},
	Trust: "Verified", Version: tls.VersionTLS13, Cipher: "TLS_AES_128_GCM_SHA256", Group: tls.X25519, Resumed: true, Reused: true,
	DNS: time.Second, Connect: 2 * time.Second, Handshake: 3 * time.Second, SMTP: 4 * time.Second, Code: 250,
}

// scrape reads the page as Prometheus does.
func scrape(t *testing.T, tel *Telemetry) map[string]*dto.MetricFamily {
	t.Helper()
	w := httptest.NewRecorder()
	tel.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("scraping: %d %s", w.Code, w.Body)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return families
}

func labelNames(family *dto.MetricFamily) []string {
	names := []string{}
	for _, m := range family.GetMetric() {
		for _, l := range m.GetLabel() {
			names = append(names, l.GetName())
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// series gives every series of the proxy as text, as in `name{a=b} 1`, with
// the number of observations for a histogram.
func series(t *testing.T, tel *Telemetry) []string {
	t.Helper()
	var all []string
	for name, family := range scrape(t, tel) {
		for _, m := range family.GetMetric() {
			if strings.HasPrefix(name, "postern_") && name != "postern_build_info" {
				all = append(all, name+labelText(m)+" "+valueText(m))
			}
		}
	}
	slices.Sort(all)
	return all
}

func labelText(m *dto.Metric) string {
	var pairs []string
	for _, l := range m.GetLabel() {
		pairs = append(pairs, l.GetName()+"="+l.GetValue())
	}
	return "{" + strings.Join(pairs, ",") + "}"
}

func valueText(m *dto.Metric) string {
	switch {
	case m.Counter != nil:
		return fmt.Sprint(m.Counter.GetValue())
	case m.Gauge != nil:
		return fmt.Sprint(m.Gauge.GetValue())
	default:
		return fmt.Sprintf("%d of %v", m.Histogram.GetSampleCount(), m.Histogram.GetSampleSum())
	}
}

func TestEachEventIsCounted(t *testing.T) {
	tls12 := &tls.ConnectionState{Version: tls.VersionTLS12, CipherSuite: tls.TLS_RSA_WITH_AES_128_GCM_SHA256}
	for name, c := range map[string]struct {
		events func(proxy.Observer)
		want   []string
	}{
		"nothing happened": {func(proxy.Observer) {}, nil},
		"a session is open": {
			func(o proxy.Observer) { o.Connected("mx"); o.Connected("mx"); o.Connected("sub") },
			[]string{
				"postern_sessions_open{listener=mx} 2", "postern_sessions_open{listener=sub} 1",
				"postern_sessions_total{listener=mx} 2", "postern_sessions_total{listener=sub} 1",
			},
		},
		"a session is over": {
			func(o proxy.Observer) {
				o.Connected("mx")
				o.Disconnected("mx", proxy.Summary{BytesIn: 10, BytesOut: 20, Duration: 2 * time.Second, Secured: true})
			},
			[]string{
				"postern_session_bytes_total{direction=in,listener=mx} 10",
				"postern_session_bytes_total{direction=out,listener=mx} 20",
				"postern_session_duration_seconds{listener=mx} 1 of 2",
				"postern_sessions_ended_total{cause=quit,listener=mx,secured=true} 1",
				"postern_sessions_open{listener=mx} 0",
				"postern_sessions_total{listener=mx} 1",
			},
		},
		"a session ended with a cause": {
			func(o proxy.Observer) { o.Disconnected("mx", proxy.Summary{Cause: proxy.CauseTimeout}) },
			[]string{
				"postern_session_bytes_total{direction=in,listener=mx} 0",
				"postern_session_bytes_total{direction=out,listener=mx} 0",
				"postern_session_duration_seconds{listener=mx} 1 of 0",
				"postern_sessions_ended_total{cause=timeout,listener=mx,secured=false} 1",
				"postern_sessions_open{listener=mx} -1",
			},
		},
		"a handshake succeeded": {
			func(o proxy.Observer) { o.Handshake("mx", proxy.Handshake{State: tls13, Duration: time.Second}) },
			[]string{
				"postern_handshake_duration_seconds{listener=mx,result=ok} 1 of 1",
				"postern_handshakes_total{cipher=TLS_AES_128_GCM_SHA256,group=X25519MLKEM768,listener=mx,result=ok,version=TLS 1.3} 1",
			},
		},
		"a handshake had RSA key exchange": {
			func(o proxy.Observer) { o.Handshake("mx", proxy.Handshake{State: tls12}) },
			[]string{
				"postern_handshake_duration_seconds{listener=mx,result=ok} 1 of 0",
				"postern_handshakes_total{cipher=TLS_RSA_WITH_AES_128_GCM_SHA256,group=none,listener=mx,result=ok,version=TLS 1.2} 1",
			},
		},
		"a handshake failed": {
			func(o proxy.Observer) {
				o.Handshake("mx", proxy.Handshake{Cause: proxy.CauseNotTLS, Duration: time.Second})
			},
			[]string{
				"postern_handshake_duration_seconds{listener=mx,result=not_tls} 1 of 1",
				"postern_handshakes_total{cipher=none,group=none,listener=mx,result=not_tls,version=none} 1",
			},
		},
		"a handshake failed for no stated cause": {
			func(o proxy.Observer) { o.Handshake("mx", proxy.Handshake{}) },
			[]string{
				"postern_handshake_duration_seconds{listener=mx,result=handshake} 1 of 0",
				"postern_handshakes_total{cipher=none,group=none,listener=mx,result=handshake,version=none} 1",
			},
		},
		"something was refused": {
			func(o proxy.Observer) { o.Refused("mx", proxy.CausePerClient) },
			[]string{"postern_refusals_total{cause=per_client,listener=mx} 1"},
		},
		"the backend failed": {
			func(o proxy.Observer) { o.BackendFailed("mx", "192.0.2.1:25", proxy.CauseDial) },
			[]string{"postern_backend_failures_total{backend=192.0.2.1:25,cause=dial,listener=mx} 1"},
		},
		"TLS came out with a server": {
			func(o proxy.Observer) { o.Attempt("egress", attempted); o.Attempt("egress", attempted) },
			[]string{
				"postern_dane_result_total{listener=egress,result=insecure_chain} 2",
				"postern_mta_sts_result_total{listener=egress,mode=testing,result=not_met} 2",
			},
		},
		"nobody was asked what a server publishes": {
			func(o proxy.Observer) {
				o.Attempt("egress", proxy.Attempt{Outcome: policy.Outcome{Decision: &policy.Decision{}}})
			},
			nil,
		},
		"the DNS answered": {
			func(o proxy.Observer) { o.Resolved("egress", "secure"); o.Resolved("egress", "bogus") },
			[]string{"postern_dnssec_result_total{listener=egress,result=bogus} 1", "postern_dnssec_result_total{listener=egress,result=secure} 1"},
		},
		"steps ended": {
			func(o proxy.Observer) {
				_, done := o.Step(context.Background(), "mx", proxy.StepDial)
				done(errors.New("refused"))
			},
			[]string{"postern_step_duration_seconds{result=failed,step=dial} 1 of"},
		},
		"a duration was negative": {
			func(o proxy.Observer) { o.Handshake("mx", proxy.Handshake{Cause: proxy.CauseStalled, Duration: -1}) },
			[]string{
				"postern_handshake_duration_seconds{listener=mx,result=stalled} 1 of 0",
				"postern_handshakes_total{cipher=none,group=none,listener=mx,result=stalled,version=none} 1",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tel := start(t)
			c.events(tel)
			equalSeries(t, series(t, tel), c.want)
		})
	}
}

// equalSeries compares; a wanted series that ends in "of" leaves the sum open.
func equalSeries(t *testing.T, got, want []string) {
	t.Helper()
	same := func(g, w string) bool { return g == w || strings.HasSuffix(w, " of") && strings.HasPrefix(g, w) }
	if !slices.EqualFunc(got, want, same) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestAMessageIsCountedByTheClassOfItsReply(t *testing.T) {
	for code, want := range map[int]string{
		250: "2xx", 451: "4xx", 554: "5xx", 0: "none", 354: "none", 99999: "none", -1: "none",
	} {
		tel := start(t)
		tel.Message("mx", proxy.Message{Code: code, Bytes: 100, Recipients: 3, Duration: time.Second, Secured: true})
		equalSeries(t, series(t, tel), []string{
			"postern_message_duration_seconds{listener=mx,outcome=" + want + ",secured=true} 1 of 1",
			"postern_message_recipients_total{listener=mx} 3",
			"postern_message_size_bytes{listener=mx} 1 of 100",
			"postern_messages_total{listener=mx,outcome=" + want + ",secured=true} 1",
		})
	}
}

func TestNothingIsLostWhenManySessionsReportAtOnce(t *testing.T) {
	tel := start(t)
	var sessions sync.WaitGroup
	for range 8 {
		sessions.Go(func() {
			for i := range 100 {
				tel.Refused("mx", proxy.Cause(fmt.Sprint("cause", i%10)))
			}
		})
	}
	series(t, tel) // a scrape in between takes nothing away
	sessions.Wait()
	var want []string
	for i := range 10 {
		want = append(want, fmt.Sprintf("postern_refusals_total{cause=cause%d,listener=mx} 80", i))
	}
	equalSeries(t, series(t, tel), want)
}

func TestTheBuildIsExposed(t *testing.T) {
	family := scrape(t, start(t))["postern_build_info"]
	got := labelText(family.GetMetric()[0]) + " " + valueText(family.GetMetric()[0])
	if want := "{go=go1.26,revision=abc,version=1.2.3} 1"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestTwoInstancesShareNothing(t *testing.T) {
	first, second := start(t), start(t)
	first.Connected("mx")
	equalSeries(t, series(t, second), nil)
}

func TestTheEnvironmentAddsNoLabels(t *testing.T) {
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "team=mail")
	for name := range scrape(t, start(t)) {
		if name == "target_info" || strings.HasPrefix(name, "otel_") {
			t.Errorf("%s is exposed", name)
		}
	}
}

func TestCallsAfterShutdownAreSafe(t *testing.T) {
	tel, err := New(build)
	if err != nil {
		t.Fatal(err)
	}
	if err := tel.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	exercise(tel)
}

func TestTheSteadyPathAllocatesOnlyTheClosureOfAStep(t *testing.T) {
	for name, c := range events(start(t)) {
		t.Run(name, func(t *testing.T) {
			c.call()
			if got := testing.AllocsPerRun(100, c.call); got > c.allocations {
				t.Errorf("%v allocations, want at most %v", got, c.allocations)
			}
		})
	}
}

type event struct {
	call        func()
	allocations float64
}

func events(tel *Telemetry) map[string]event {
	return map[string]event{
		"Connected":     {func() { tel.Connected("mx") }, 0},
		"Handshake":     {func() { tel.Handshake("mx", proxy.Handshake{State: tls13, Duration: time.Millisecond}) }, 0},
		"Refused":       {func() { tel.Refused("mx", proxy.CausePerClient) }, 0},
		"BackendFailed": {func() { tel.BackendFailed("mx", "127.0.0.1:2525", proxy.CauseDial) }, 0},
		"Message": {func() {
			tel.Message("mx", proxy.Message{Code: 250, Bytes: 4096, Recipients: 1, Duration: time.Millisecond, Secured: true})
		}, 0},
		"Delivery":     {func() { tel.Delivery("egress", delivered) }, 0},
		"Disconnected": {func() { tel.Disconnected("mx", proxy.Summary{BytesIn: 1, BytesOut: 1, Duration: time.Second}) }, 0},
		"Step": {func() {
			_, done := tel.Step(context.Background(), "mx", proxy.StepRelay)
			done(nil)
		}, 1},
	}
}

func BenchmarkEvents(b *testing.B) {
	for name, e := range events(start(b)) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				e.call()
			}
		})
	}
}
