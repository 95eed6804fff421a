package main

import (
	"fmt"
	"log"
	"math"
	"os"
	"strings"
)

// scaled is the number of sessions of one run.
func (s scenario) scaled(scale float64) int {
	least := s.concurrent
	if s.unit == perMB {
		least = 2
	}
	return max(least, int(math.Round(float64(s.sessions)*scale)))
}

// throughput measures the peers that were started for a scenario, and prints
// its table.
func (b *bench) throughput(s scenario, ps []*peer) error {
	n := s.scaled(b.o.scale)
	good, notes, err := b.verify(s, ps, n)
	if err != nil {
		return err
	}
	runs := map[string][]run{}
	for k := range b.o.rounds {
		for _, p := range rotate(good, k) {
			r, err := b.load(s, p, p.sessions(s, n), k, false)
			if err != nil {
				return err
			}
			runs[p.name] = append(runs[p.name], r)
			if err := b.keep(record{Run: &r}); err != nil {
				return err
			}
		}
	}
	var names []string
	for _, p := range good {
		names = append(names, p.name)
	}
	base := pickBaseline(b.o.baseline, names)
	fmt.Printf("\n### %s: %s\n\n%d sessions per run, %d at a time, %d rounds, baseline %s. CPU is the proxy's process tree (direct: the sink's).\n\n",
		s.name, s.desc, n, s.concurrent, b.o.rounds, base)
	printTable(os.Stdout, s, names, runs, base)
	fmt.Println()
	for _, l := range notes {
		fmt.Println("- " + l)
	}
	return nil
}

// sessions is how many of a run's n sessions the peer gets.
func (p *peer) sessions(s scenario, n int) int {
	if s.unit == perMB {
		return n
	}
	return max(s.concurrent, int(p.share*float64(n)))
}

// verify sends verified messages through each peer, then warms it up. Peers
// that deliver nothing are left out, and the notes say why.
func (b *bench) verify(s scenario, ps []*peer, n int) (good []*peer, notes []string, err error) {
	few := min(n, 4*s.concurrent)
	for _, p := range ps {
		r, err := b.load(s, p, few, -1, true)
		if err != nil {
			return nil, nil, err
		}
		if r.Load.Messages == 0 {
			notes = append(notes, p.name+": no message got through: "+strings.Join(r.Load.FirstErrs, "; "))
			continue
		}
		if !intact(r) {
			b.altered = append(b.altered, s.name+" "+p.name)
			log.Printf("%s %s: MESSAGES WERE LOST, ALTERED OR DOUBLED: see the note under the table", s.name, p.name)
		}
		notes = append(notes, note(s, p, r))
		good = append(good, p)
		if _, err := b.load(s, p, few, -1, false); err != nil {
			return nil, nil, err
		}
	}
	return good, notes, nil
}

// intact says whether a verified run delivered what was sent, once each.
func intact(r run) bool {
	return r.Sink.VerifyBad == 0 && r.Sink.Duplicates == 0 && r.Sink.VerifyOK >= int64(r.Load.Messages)
}

// note is what the verified run found.
func note(s scenario, p *peer, r run) string {
	parts := []string{fmt.Sprintf("%s: %d sent, %d verified, %d altered, %d duplicated",
		p.name, r.Load.Messages, r.Sink.VerifyOK, r.Sink.VerifyBad, r.Sink.Duplicates)}
	if r.Load.TLS != "" {
		parts = append(parts, r.Load.TLS)
	}
	if s.kind == "outbound" {
		parts = append(parts, fmt.Sprintf("sink handshakes %d, resumed %d, connections %d", r.Sink.Handshakes, r.Sink.Resumed, r.Sink.Accepted))
	}
	if r.Sink.XClient > 0 {
		parts = append(parts, fmt.Sprintf("XCLIENT %d", r.Sink.XClient))
	}
	return strings.Join(parts, "; ")
}

// rotate is ps beginning with the k-th: A B C, B C A, C A B. So each comes
// behind each of the others equally often.
func rotate(ps []*peer, k int) []*peer {
	out := make([]*peer, len(ps))
	for i := range ps {
		out[i] = ps[(i+k)%len(ps)]
	}
	return out
}
