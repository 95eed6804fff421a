package main

import (
	"fmt"
	"io"
	"slices"
)

// median is 0 when there is nothing.
func median(x []float64) float64 {
	if len(x) == 0 {
		return 0
	}
	x = slices.Sorted(slices.Values(x))
	n := len(x)
	if n%2 == 0 {
		return (x[n/2-1] + x[n/2]) / 2
	}
	return x[n/2]
}

// column is f of each run.
func column(rs []run, f func(run) float64) []float64 {
	x := make([]float64, len(rs))
	for i, r := range rs {
		x[i] = f(r)
	}
	return x
}

// ratio is the median over rounds of f of a run divided by f of the base's
// run of the same round. Rounds that either lacks, or where the base is 0, are
// left out; without any it is 0.
func ratio(rs, base []run, f func(run) float64) float64 {
	byRound := map[int]run{}
	for _, r := range base {
		byRound[r.Round] = r
	}
	var x []float64
	for _, r := range rs {
		if b, ok := byRound[r.Round]; ok && f(b) > 0 {
			x = append(x, f(r)/f(b))
		}
	}
	return median(x)
}

// perUnit turns CPU seconds of a run into microseconds per session or message,
// or milliseconds per 100 MB.
func (s scenario) perUnit(r run, cpu float64) float64 {
	switch s.unit {
	case perMessage:
		return cpu * 1e6 / float64(max(1, r.Load.Messages))
	case perMB:
		return cpu * 1e3 / (float64(max(1, r.Load.Bytes)) / 100e6)
	}
	return cpu * 1e6 / float64(max(1, r.Load.Sessions))
}

func (s scenario) cpu(r run) float64 { return s.perUnit(r, r.CPU) }

func (s scenario) rate(r run) float64 {
	switch s.unit {
	case perMessage:
		return r.Load.MsgPerSec
	case perMB:
		return r.Load.MBPerSec
	}
	return r.Load.SessPerSec
}

// resumed is the share of handshakes that resumed, on the side that matters.
func (s scenario) resumed(r run) float64 {
	if s.kind == "outbound" {
		return float64(r.Sink.Resumed) / float64(max(1, r.Sink.Handshakes))
	}
	return float64(r.Load.Resumed) / float64(max(1, r.Load.Sessions))
}

// pickBaseline is the wanted peer if it was measured, else the first proxy.
func pickBaseline(want string, names []string) string {
	if slices.Contains(names, want) {
		return want
	}
	for _, n := range names {
		if n != direct {
			return n
		}
	}
	return direct
}

// printTable prints one scenario as a Markdown table: medians over the rounds,
// the spread, and the median of the per-round ratios against base.
func printTable(w io.Writer, s scenario, names []string, runs map[string][]run, base string) {
	rate := map[string]string{perSession: "sess/s", perMessage: "msg/s", perMB: "MB/s"}[s.unit]
	cpu := map[string]string{perSession: "us/sess", perMessage: "us/msg", perMB: "ms/100MB"}[s.unit]
	fmt.Fprintf(w, "| peer | %s | min..max | x base | proxy CPU %s | min..max | x base | load+sink CPU | hs p50/p99 ms | sess p50/p99 ms | resumed | err | steal%% |\n", rate, cpu)
	fmt.Fprintln(w, "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
	for _, name := range names {
		rs := runs[name]
		if len(rs) == 0 {
			continue
		}
		md := func(f func(run) float64) float64 { return median(column(rs, f)) }
		rt, cp := column(rs, s.rate), column(rs, s.cpu)
		errs := 0
		for _, r := range rs {
			errs += r.Load.Errors
		}
		fmt.Fprintf(w, "| %s | %.0f | %.0f..%.0f | %.2f | %.0f | %.0f..%.0f | %.2f | %.0f | %.2f/%.2f | %.2f/%.2f | %.0f%% | %d | %.1f |\n", name,
			median(rt), slices.Min(rt), slices.Max(rt), ratio(rs, runs[base], s.rate),
			median(cp), slices.Min(cp), slices.Max(cp), ratio(rs, runs[base], s.cpu),
			md(func(r run) float64 { return s.perUnit(r, r.Load.CPUSeconds+r.SinkCPU) }),
			md(func(r run) float64 { return r.Load.HsP50 }), md(func(r run) float64 { return r.Load.HsP99 }),
			md(func(r run) float64 { return r.Load.SessP50 }), md(func(r run) float64 { return r.Load.SessP99 }),
			100*md(s.resumed), errs, slices.Max(column(rs, func(r run) float64 { return r.StealPct })))
	}
}
