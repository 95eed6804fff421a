package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// target is one row of what postern wants to be measured against its peers:
// ratios of one run, so that they hold on any machine. 0 means no target.
type target struct {
	scenario, base    string
	cpuMust, cpuTry   float64 // at most
	rateMust, rateTry float64 // at least
	p50Must           float64 // at most, of the session
}

var targets = []target{
	{"a", "nginx-buf", 0.80, 0.65, 3.0, 3.4, 0.30},
	{"a128", "nginx-buf", 0.80, 0.70, 1.1, 1.2, 0},
	{"b", "nginx-buf", 1.4, 0, 0, 0, 0},
	{"b128", "nginx-buf", 1.6, 0, 0, 0, 0},
	{"bp", "nginx-buf", 0.80, 0.65, 3.0, 3.4, 0.30},
	{"bp128", "nginx-buf", 0.80, 0.70, 1.1, 1.2, 0},
	{"c128", "nginx-buf", 0.80, 0.67, 1.1, 1.25, 0},
	{"d", "nginx-buf", 1.05, 0.85, 1.1, 1.2, 0},
	{"dp", "nginx-buf", 0, 0, 0, 0, 0},
	{"db", "nginx-buf", 0, 0, 0, 0, 0},
	{"e", "nginx-buf", 1.0, 0.80, 1.15, 1.25, 0},
	{"i", "hitch", 1.0, 0.85, 1.0, 1.05, 0},
	{"ic", "hitch", 1.0, 0.85, 1.0, 1.05, 0},
	{"g", "stunnel-out", 0.45, 0.35, 1.6, 1.75, 0},
	{"gr", "stunnel-out", 0.50, 0.40, 1.5, 1.6, 0},
	{"gu", "stunnel-out", 0, 0, 3.0, 0, 0},
	{"gd", "stunnel-out", 0.70, 0.60, 1.05, 1.1, 0},
	{"gb", "stunnel-out", 0.95, 0.80, 1.05, 1.1, 0},
	{"h", "nginx-buf", 1.0, 0, 0.95, 0, 0},
	{"hb", "nginx-buf", 1.1, 0, 0.95, 0, 0},
}

// memoryTarget is at most so many KiB of PSS for each idle session; must 0
// means no more than the peer named.
type memoryTarget struct {
	stage     string
	must, try float64
	peer      string
}

var memoryTargets = []memoryTarget{
	{"ehlo", 17, 12, ""},
	{"message4k", 24, 0, ""},
	{"message1m", 0, 0, "nginx-buf"},
}

// floor is the peer shown beside the subject: the naive Go relay.
const floor = "gorelay"

// results finds the records of a scenario by peer. Of several with the same
// round the last counts, so that a file may hold a repeated run.
func results(records []record, scenario string) map[string][]run {
	type key struct {
		peer  string
		round int
	}
	last := map[key]int{}
	for i, r := range records {
		if r.Run != nil && r.Run.Scenario == scenario {
			last[key{r.Run.Peer, r.Run.Round}] = i
		}
	}
	runs := map[string][]run{}
	for i, r := range records {
		if r.Run != nil && r.Run.Scenario == scenario && last[key{r.Run.Peer, r.Run.Round}] == i {
			runs[r.Run.Peer] = append(runs[r.Run.Peer], *r.Run)
		}
	}
	return runs
}

// printTargets prints how subject did against the targets, as far as the
// records go, and says whether every target that could be judged was met.
func printTargets(w io.Writer, records []record, subject string) (met bool) {
	met = true
	var rows strings.Builder
	for _, t := range targets {
		if row, ok := t.row(records, subject); ok {
			rows.WriteString(row)
			met = met && !strings.Contains(row, missed)
		}
	}
	if rows.Len() > 0 {
		fmt.Fprintf(w, "\n## Targets: %s\n\nMedians of the per-round ratios. Must (try): CPU and p50 at most, rate at least.\n\n", subject)
		fmt.Fprintf(w, "| scenario | against | CPU x | must (try) | rate x | must (try) | session p50 x | must | %s: CPU, rate | verdict |\n", floor)
		fmt.Fprintf(w, "|---|---|--:|--:|--:|--:|--:|--:|--:|---|\n%s", rows.String())
	}
	return printMemoryTargets(w, records, subject) && met
}

// row is one line of the table, if subject and its base were measured.
func (t target) row(records []record, subject string) (row string, ok bool) {
	ss, err := pickScenarios(t.scenario)
	if err != nil {
		return "", false // a test holds every target to a scenario
	}
	s, runs := ss[0], results(records, t.scenario)
	mine, base := runs[subject], runs[t.base]
	if len(mine) == 0 || len(base) == 0 {
		return "", false
	}
	got := outcome{ratio(mine, base, s.cpu), ratio(mine, base, s.rate), ratio(mine, base, sessionP50)}
	naive := ""
	if rs := runs[floor]; len(rs) > 0 {
		naive = fmt.Sprintf("%.2f, %.2f", ratio(rs, base, s.cpu), ratio(rs, base, s.rate))
	}
	return fmt.Sprintf("| %s: %s | %s | %.2f | %s | %.2f | %s | %.2f | %s | %s | %s |\n", s.name, s.desc, t.base,
		got.cpu, bound(t.cpuMust, t.cpuTry), got.rate, bound(t.rateMust, t.rateTry), got.p50, bound(t.p50Must, 0), naive, t.judge(got)), true
}

func sessionP50(r run) float64 { return r.Load.SessP50 }

// outcome is what came out for one target.
type outcome struct{ cpu, rate, p50 float64 }

const missed = "MISSED"

// judge compares the figures as they are printed, to two decimals.
func (t target) judge(got outcome) string {
	var short []string
	if t.cpuMust > 0 && round2(got.cpu) > t.cpuMust {
		short = append(short, "CPU")
	}
	if round2(got.rate) < t.rateMust {
		short = append(short, "rate")
	}
	if t.p50Must > 0 && round2(got.p50) > t.p50Must {
		short = append(short, "p50")
	}
	switch {
	case len(short) > 0:
		return missed + ": " + strings.Join(short, ", ")
	case t.cpuMust == 0 && t.rateMust == 0:
		return "reported"
	case t.cpuTry > 0 && round2(got.cpu) <= t.cpuTry && round2(got.rate) >= t.rateTry:
		return "met, and the try"
	}
	return "met"
}

func round2(x float64) float64 { return float64(int64(x*100+0.5)) / 100 }

// bound shows a must and its try.
func bound(must, try float64) string {
	switch {
	case must == 0:
		return ""
	case try == 0:
		return fmt.Sprintf("%.2f", must)
	}
	return fmt.Sprintf("%.2f (%.2f)", must, try)
}

// idleOf is the last record of a peer in the STARTTLS memory scenario with the
// most sessions. A peer that opens its backend leg late counts as it is with
// both legs open.
func idleOf(records []record, peer, stage string) (row idleRow, ok bool) {
	for _, r := range records {
		if r.Idle == nil || r.Idle.Scenario != "f" || r.Idle.Peer != peer {
			continue
		}
		late := stage == "ehlo" && r.Idle.Stage == "rcpt"
		if (r.Idle.Stage == stage && (!ok || row.Stage == stage) || late) && (!ok || r.Idle.N >= row.N) {
			row, ok = *r.Idle, true
		}
	}
	return row, ok
}

func printMemoryTargets(w io.Writer, records []record, subject string) (met bool) {
	met = true
	peers := idlePeers(records, subject)
	if peers == nil {
		return met
	}
	fmt.Fprintf(w, "\nKiB of PSS per idle session after STARTTLS, the backend leg open.\n\n| stage | sessions | %s | must (try) | verdict |", subject)
	fmt.Fprintf(w, "%s\n|---|--:|--:|--:|---|%s\n", cells(peers, func(p string) string { return p }), strings.Repeat("--:|", len(peers)))
	for _, t := range memoryTargets {
		mine, ok := idleOf(records, subject, t.stage)
		if !ok {
			continue
		}
		verdict, must := t.judge(mine, records)
		met = met && verdict != missed
		fmt.Fprintf(w, "| %s | %d | %.1f | %s | %s |%s\n", t.stage, mine.Held, mine.perSession(), bound(must, t.try), verdict,
			cells(peers, func(p string) string {
				if r, ok := idleOf(records, p, t.stage); ok {
					return fmt.Sprintf("%.1f", r.perSession())
				}
				return ""
			}))
	}
	return met
}

// judge compares with the target, or with the peer that it names; must is
// what it came to, 0 when there is nothing to compare with.
func (t memoryTarget) judge(mine idleRow, records []record) (verdict string, must float64) {
	must = t.must
	if other, ok := idleOf(records, t.peer, t.stage); ok {
		must = other.perSession()
	}
	switch got := mine.perSession(); {
	case must == 0:
		return "reported", 0
	case got > must:
		return missed, must
	case t.try > 0 && got <= t.try:
		return "met, and the try", must
	}
	return "met", must
}

// cells is the rest of a table's line: f of each peer.
func cells(peers []string, f func(string) string) string {
	var b strings.Builder
	for _, p := range peers {
		b.WriteString(" " + f(p) + " |")
	}
	return b.String()
}

// idlePeers is the others that were measured beside subject, in order; nil
// when subject itself was not.
func idlePeers(records []record, subject string) (peers []string) {
	peers = []string{}
	seen := map[string]bool{subject: true}
	found := false
	for _, r := range records {
		if r.Idle == nil || r.Idle.Scenario != "f" {
			continue
		}
		found = found || r.Idle.Peer == subject
		if !seen[r.Idle.Peer] {
			seen[r.Idle.Peer] = true
			peers = append(peers, r.Idle.Peer)
		}
	}
	if !found {
		return nil
	}
	return peers
}

// readRecords reads what -o wrote.
func readRecords(r io.Reader) (records []record, err error) {
	for d := json.NewDecoder(r); ; {
		var rec record
		switch err := d.Decode(&rec); {
		case errors.Is(err, io.EOF):
			return records, nil
		case err != nil:
			return nil, err
		}
		records = append(records, rec)
	}
}
