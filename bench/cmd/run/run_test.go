package main

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/bench/load"
	"postern/internal/sink"
)

func TestTheMedianDoesNotDisturbItsInput(t *testing.T) {
	x := []float64{3, 1, 2}
	for _, c := range []struct {
		in   []float64
		want float64
	}{{nil, 0}, {[]float64{5}, 5}, {x, 2}, {[]float64{4, 1, 3, 2}, 2.5}} {
		if got := median(c.in); got != c.want {
			t.Errorf("median of %v: got %v, want %v", c.in, got, c.want)
		}
	}
	if !slices.Equal(x, []float64{3, 1, 2}) {
		t.Error("the input was sorted")
	}
}

// made is a run of 100 sessions with a rate and microseconds of CPU for each.
func made(scenario, peer string, round int, rate, cpu, p50 float64) record {
	return record{Run: &run{Scenario: scenario, Peer: peer, Round: round, CPU: cpu * 100 / 1e6,
		Load: load.Result{Sessions: 100, Messages: 100, Bytes: 100e6, SessPerSec: rate, MsgPerSec: rate, MBPerSec: rate, SessP50: p50}}}
}

func TestRatiosAreTakenRoundByRound(t *testing.T) {
	records := []record{
		made("a", "x", 0, 20, 1, 1), made("a", "x", 1, 90, 1, 1), made("a", "x", 2, 60, 1, 1),
		made("a", "base", 0, 10, 1, 1), made("a", "base", 1, 30, 1, 1),
		made("a", "base", 2, 0, 1, 1), // without a rate: the round does not count
		made("c", "x", 0, 1000, 1, 1),
	}
	runs := results(records, "a")
	if got, want := ratio(runs["x"], runs["base"], scenario{}.rate), 2.5; got != want {
		t.Errorf("got %v, want %v, the median of 2 and 3", got, want)
	}
	if got := ratio(runs["x"], nil, scenario{}.rate); got != 0 {
		t.Errorf("without a base: %v", got)
	}
}

func TestARepeatedRoundReplacesTheFirst(t *testing.T) {
	runs := results([]record{made("a", "x", 0, 1, 1, 1), made("a", "x", 1, 2, 1, 1), made("a", "x", 0, 3, 1, 1)}, "a")
	if d := cmp.Diff([]float64{2, 3}, column(runs["x"], scenario{}.rate)); d != "" {
		t.Error(d)
	}
}

func TestCPUIsDividedByTheScenariosUnit(t *testing.T) {
	r := run{CPU: 2, Load: load.Result{Sessions: 4, Messages: 8, Bytes: 400e6, SessPerSec: 1, MsgPerSec: 2, MBPerSec: 3}}
	for _, c := range []struct {
		unit      string
		cpu, rate float64
	}{{perSession, 500_000, 1}, {perMessage, 250_000, 2}, {perMB, 500, 3}} {
		s := scenario{unit: c.unit}
		if s.cpu(r) != c.cpu || s.rate(r) != c.rate {
			t.Errorf("%q: %v and %v, want %v and %v", c.unit, s.cpu(r), s.rate(r), c.cpu, c.rate)
		}
	}
}

func TestTheTableOfAScenario(t *testing.T) {
	var rs []record
	for k, f := range []float64{1, 2} {
		rs = append(rs, made("a", "x", k, 300*f, 50*f, 1), made("a", "base", k, 100*f, 100*f, 10))
	}
	rs[0].Run.Load.Errors, rs[0].Run.Load.Resumed = 2, 50
	var b strings.Builder
	printTable(&b, scenario{}, []string{"x", "base", "absent"}, results(rs, "a"), "base")
	want := `| peer | sess/s | min..max | x base | proxy CPU us/sess | min..max | x base | load+sink CPU | hs p50/p99 ms | sess p50/p99 ms | resumed | err | steal% |
|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|
| x | 450 | 300..600 | 3.00 | 75 | 50..100 | 0.50 | 0 | 0.00/0.00 | 1.00/0.00 | 25% | 2 | 0.0 |
| base | 150 | 100..200 | 1.00 | 150 | 100..200 | 1.00 | 0 | 0.00/0.00 | 10.00/0.00 | 0% | 0 | 0.0 |
`
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestPeersAreRotated(t *testing.T) {
	ps := []*peer{{name: "A"}, {name: "B"}, {name: "C"}}
	for k, want := range []string{"ABC", "BCA", "CAB", "ABC"} {
		got := ""
		for _, p := range rotate(ps, k) {
			got += p.name
		}
		if got != want {
			t.Errorf("round %d: %s, want %s", k, got, want)
		}
	}
}

func TestTheBaselineIsAProxyThatWasMeasured(t *testing.T) {
	for _, c := range []struct {
		names []string
		want  string
	}{
		{[]string{"direct", "x", "nginx-buf"}, "nginx-buf"},
		{[]string{"direct", "x", "y"}, "x"},
		{[]string{"direct"}, "direct"},
	} {
		if got := pickBaseline("nginx-buf", c.names); got != c.want {
			t.Errorf("%v: %s, want %s", c.names, got, c.want)
		}
	}
}

func TestARunIsIntactOnlyIfEveryMessageCameOnceAndUnaltered(t *testing.T) {
	for _, c := range []struct {
		sink sink.Stats
		want bool
	}{
		{sink.Stats{VerifyOK: 5}, true},
		{sink.Stats{VerifyOK: 4}, false},
		{sink.Stats{VerifyOK: 4, VerifyBad: 1}, false},
		{sink.Stats{VerifyOK: 5, Duplicates: 1}, false},
	} {
		if got := intact(run{Load: load.Result{Messages: 5}, Sink: c.sink}); got != c.want {
			t.Errorf("%+v: %v", c.sink, got)
		}
	}
}

func TestTargetsAreJudged(t *testing.T) {
	full := target{cpuMust: 0.8, cpuTry: 0.6, rateMust: 3, rateTry: 3.5, p50Must: 0.3}
	for _, c := range []struct {
		t    target
		got  outcome
		want string
	}{
		{full, outcome{0.8, 3, 0.3}, "met"},
		{full, outcome{0.804, 2.996, 0.304}, "met"}, // as printed
		{full, outcome{0.6, 3.5, 0.3}, "met, and the try"},
		{full, outcome{0.6, 3.4, 0.3}, "met"},
		{full, outcome{0.81, 3, 0.3}, "MISSED: CPU"},
		{full, outcome{0.8, 2.9, 0.3}, "MISSED: rate"},
		{full, outcome{0.9, 2.9, 0.4}, "MISSED: CPU, rate, p50"},
		{target{}, outcome{9, 0, 9}, "reported"},
		{target{cpuMust: 1.4}, outcome{1.3, 0, 9}, "met"},
	} {
		if got := c.t.judge(c.got); got != c.want {
			t.Errorf("%+v: %q, want %q", c.got, got, c.want)
		}
	}
}

func TestTheTableOfTargets(t *testing.T) {
	idle := func(peer, stage string, n int, pss int64) record {
		return record{Idle: &idleRow{Scenario: "f", Peer: peer, Stage: stage, N: n, Held: n, With: memory{PSS: pss}}}
	}
	records := []record{
		made("a", "postern", 0, 350, 60, 2), made("a", "nginx-buf", 0, 100, 100, 10), made("a", "gorelay", 0, 330, 70, 3),
		made("dp", "postern", 0, 350, 60, 2), made("dp", "nginx-buf", 0, 100, 100, 10),
		made("i", "postern", 0, 90, 110, 2), made("i", "hitch", 0, 100, 100, 10),
		made("e", "postern", 0, 90, 110, 2), // no base: no row
		idle("postern", "ehlo", 10, 900), idle("postern", "ehlo", 100, 1150), idle("postern", "message1m", 100, 3000),
		idle("nginx-buf", "ehlo", 100, 100), idle("nginx-buf", "rcpt", 100, 2500), idle("nginx-buf", "message1m", 100, 2000),
	}
	var b strings.Builder
	if printTargets(&b, records, "postern") {
		t.Error("said to be met, though two rows are not")
	}
	want := `
## Targets: postern

Medians of the per-round ratios. Must (try): CPU and p50 at most, rate at least.

| scenario | against | CPU x | must (try) | rate x | must (try) | session p50 x | must | gorelay: CPU, rate | verdict |
|---|---|--:|--:|--:|--:|--:|--:|--:|---|
| a: inbound STARTTLS, full handshake, TLS 1.3, ECDSA P-256, 1 x 4 KiB | nginx-buf | 0.60 | 0.80 (0.65) | 3.50 | 3.00 (3.40) | 0.20 | 0.30 | 0.70, 3.30 | met, and the try |
| dp: as d, with PIPELINING | nginx-buf | 0.60 |  | 3.50 |  | 0.20 |  |  | reported |
| i: implicit TLS, full handshake, TLS 1.3, ECDSA, 1 x 4 KiB | hitch | 1.10 | 1.00 (0.85) | 0.90 | 1.00 (1.05) | 0.20 |  |  | MISSED: CPU, rate |

KiB of PSS per idle session after STARTTLS, the backend leg open.

| stage | sessions | postern | must (try) | verdict | nginx-buf |
|---|--:|--:|--:|---|--:|
| ehlo | 100 | 11.5 | 17.00 (12.00) | met, and the try | 25.0 |
| message1m | 100 | 30.0 | 20.00 | MISSED | 20.0 |
`
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	b.Reset()
	if !printTargets(&b, records[:5], "postern") {
		t.Error("all met, but said not to be")
	}
	b.Reset()
	if !printTargets(&b, records, "nobody") || b.Len() > 0 {
		t.Errorf("without a figure: %s", b.String())
	}
}

func TestTheLateStageWinsWhateverTheOrder(t *testing.T) {
	at := func(stage string, pss int64) record {
		return record{Idle: &idleRow{Scenario: "f", Peer: "x", Stage: stage, N: 1, Held: 1, With: memory{PSS: pss}}}
	}
	for _, rs := range [][]record{{at("ehlo", 1), at("rcpt", 2)}, {at("rcpt", 2), at("ehlo", 1)}} {
		if r, ok := idleOf(rs, "x", "ehlo"); !ok || r.With.PSS != 2 {
			t.Errorf("got %+v", r)
		}
	}
}

func TestEveryTargetHasItsScenarioAndIsMeasuredByDefault(t *testing.T) {
	def := strings.Split(defaultScenarios, ",")
	for _, tg := range targets {
		if _, err := pickScenarios(tg.scenario); err != nil {
			t.Error(err)
		}
		if !slices.Contains(def, tg.scenario) || !slices.Contains(strings.Split(defaultPeers, ","), tg.base) {
			t.Errorf("%s against %s is not measured by default", tg.scenario, tg.base)
		}
	}
	for _, names := range []string{defaultScenarios, quickScenarios} {
		if _, err := pickScenarios(names); err != nil {
			t.Error(err)
		}
	}
	if _, err := pickScenarios("a,nope"); err == nil {
		t.Error("an unknown scenario was found")
	}
}

func TestRecordsSurviveTheirFile(t *testing.T) {
	want := []record{made("a", "x", 0, 1, 2, 3), {Idle: &idleRow{Scenario: "f", Peer: "x", Held: 3, With: memory{PSS: 4}}}}
	var f bytes.Buffer
	b := &bench{out: &f}
	for _, r := range want {
		if err := b.keep(r); err != nil {
			t.Fatal(err)
		}
	}
	got, err := readRecords(&f)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if d := cmp.Diff(want, b.records); d != "" {
		t.Errorf("kept (-want +got):\n%s", d)
	}
	if _, err := readRecords(strings.NewReader("{}\n{bad")); err == nil {
		t.Error("a broken file was read")
	}
}

func TestStagesOfAPeerThatOpensItsBackendLate(t *testing.T) {
	want := []string{"ehlo", "message4k"}
	if d := cmp.Diff(want, stagesFor(&peer{}, want)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"ehlo", "rcpt", "message4k"}, stagesFor(&peer{late: true}, want)); d != "" {
		t.Error(d)
	}
	want = []string{"rcpt", "ehlo"}
	if d := cmp.Diff(want, stagesFor(&peer{late: true}, want)); d != "" {
		t.Errorf("rcpt was asked for already: %s", d)
	}
}

func TestOptions(t *testing.T) {
	o, err := parseOptions(nil)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(o.idle, []int{9500}) || !slices.Equal(o.stages, []string{"ehlo", "message4k", "message1m"}) || o.rounds != 3 {
		t.Errorf("defaults: %+v", o)
	}
	o, err = parseOptions([]string{"-quick", "-rounds", "7", "-idle", "1,2"})
	if err != nil {
		t.Fatal(err)
	}
	if o.rounds != 7 || o.scenarios != quickScenarios || !slices.Equal(o.idle, []int{1, 2}) {
		t.Errorf("-quick does not leave alone what is set: %+v", o)
	}
	for _, bad := range []string{"-rounds=0", "-scale=0", "-idle=x", "-idle=0", "-stages=data", "-nope", "argument"} {
		if _, err := parseOptions([]string{bad}); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
	if got := (&options{peers: "all", peerDir: "../../peers"}).peerNames(); !slices.Contains(got, "postern") || got[0] != direct {
		t.Errorf("all peers: %v", got)
	}
}

func TestSessionsAreScaledButNeverTooFew(t *testing.T) {
	for _, c := range []struct {
		s     scenario
		scale float64
		want  int
	}{
		{scenario{sessions: 2000, concurrent: 16}, 0.5, 1000},
		{scenario{sessions: 2000, concurrent: 16}, 0.001, 16},
		{scenario{sessions: 8, concurrent: 4, unit: perMB}, 0.01, 2},
	} {
		if got := c.s.scaled(c.scale); got != c.want {
			t.Errorf("%+v: %d, want %d", c.s, got, c.want)
		}
	}
	if got := (&peer{share: 0.25}).sessions(scenario{concurrent: 16}, 1000); got != 250 {
		t.Errorf("a quarter of 1000 is %d", got)
	}
	if got := (&peer{share: 0.25}).sessions(scenario{unit: perMB}, 4); got != 4 {
		t.Errorf("bulk sessions are not shared out, got %d", got)
	}
}

func TestProcessFilesAreRead(t *testing.T) {
	s, ok := parseStat([]byte("42 (a) b (c)) S 7 1 1 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 1 0"))
	if want := (stat{ppid: 7, ticks: 100, state: 'S'}); !ok || s != want {
		t.Errorf("got %+v, want %+v", s, want)
	}
	if _, ok := parseStat([]byte("42 (a) S 7")); ok {
		t.Error("half a line was read")
	}
	var m memory
	m.add("55d0-7ffd ---p 0 00:00 0 [rollup]\nRss: 10 kB\nPss: 5 kB\nPrivate_Clean: 1 kB\nPrivate_Dirty: 2 kB\n")
	m.add("Pss: 1 kB\n")
	if want := (memory{PSS: 6, RSS: 10, Private: 3}); m != want {
		t.Errorf("got %+v, want %+v", m, want)
	}
	if got := tree(os.Getpid()); got[0] != os.Getpid() || !alive(got[0]) || mem(got[0]).PSS == 0 {
		t.Error("this process was not found")
	}
	if total, _ := machine(); total == 0 {
		t.Error("the machine has no CPU time")
	}
}

func TestTheNoteOfAVerifiedRun(t *testing.T) {
	r := run{Load: load.Result{Messages: 3}, Sink: sink.Stats{VerifyOK: 2, VerifyBad: 1, XClient: 3, Handshakes: 4, Accepted: 5}}
	if got, want := note(scenario{kind: "outbound"}, &peer{name: "x"}, r),
		"x: 3 sent, 2 verified, 1 altered, 0 duplicated; sink handshakes 4, resumed 0, connections 5; XCLIENT 3"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	r.Load.TLS, r.Sink.XClient = "TLS 1.3", 0
	if got, want := note(scenario{}, &peer{name: "x"}, r), "x: 3 sent, 2 verified, 1 altered, 0 duplicated; TLS 1.3"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestResumedIsCountedOnTheSideThatMatters(t *testing.T) {
	var r run
	if err := json.Unmarshal([]byte(`{"load":{"sessions":4,"resumed":1},"sink":{"handshakes":4,"resumed":3}}`), &r); err != nil {
		t.Fatal(err)
	}
	if in, out := (scenario{}).resumed(r), (scenario{kind: "outbound"}).resumed(r); in != 0.25 || out != 0.75 {
		t.Errorf("inbound %v, outbound %v", in, out)
	}
}
