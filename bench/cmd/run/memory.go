package main

import (
	"encoding/json"
	"fmt"
	"log"
	"slices"
	"time"

	"postern/bench/load"
)

// idleRow is one measurement of the memory scenario.
type idleRow struct {
	Scenario string `json:"scenario"`
	Peer     string `json:"peer"`
	Stage    string `json:"stage"` // see loadgen -stage
	N        int    `json:"n"`
	Held     int    `json:"held"`
	Backend  int64  `json:"backend_open"`
	Before   memory `json:"before"`
	With     memory `json:"with"`
	After    memory `json:"after"`
}

// perSession is KiB of PSS for each session held.
func (r idleRow) perSession() float64 {
	return float64(r.With.PSS-r.Before.PSS) / float64(max(1, r.Held))
}

// settle is how long a peer is left alone before its memory is read: enough
// for a collector or a janitor that works after a quiet second.
const settle = 3 * time.Second

// stagesFor is the wanted stages; a peer that opens its backend leg late is
// held after RCPT too where it is held after EHLO, so that both legs are open.
func stagesFor(p *peer, want []string) (stages []string) {
	for _, s := range want {
		stages = append(stages, s)
		if s == "ehlo" && p.late && !slices.Contains(want, "rcpt") {
			stages = append(stages, "rcpt")
		}
	}
	return stages
}

// memory measures each peer alone, anew for each stage and count.
func (b *bench) memory(s scenario, ps []*peer) error {
	fmt.Printf("\n### %s: %s\n\nKiB. PSS of the process tree; per session is (with - before) / held.\n\n", s.name, s.desc)
	fmt.Println("| peer | stage | sessions held | backend legs | PSS before | PSS with | KiB/session | RSS with | PSS after close |")
	fmt.Println("|---|---|--:|--:|--:|--:|--:|--:|--:|")
	for _, n := range b.o.idle {
		for _, p := range ps {
			if p.start == "" {
				continue
			}
			k := n
			if p.maxIdle > 0 {
				k = min(k, p.maxIdle)
			}
			for _, stage := range stagesFor(p, b.o.stages) {
				r, err := b.idle(s, p, k, stage)
				if err != nil {
					log.Print(err)
					continue
				}
				if err := b.keep(record{Idle: &r}); err != nil {
					return err
				}
				fmt.Printf("| %s | %s | %d | %d | %d | %d | %.1f | %d | %d |\n", p.name, stage, r.Held, r.Backend, r.Before.PSS, r.With.PSS,
					r.perSession(), r.With.RSS, r.After.PSS)
			}
		}
	}
	return nil
}

func (b *bench) idle(s scenario, p *peer, n int, stage string) (row idleRow, err error) {
	row = idleRow{Scenario: s.name, Peer: p.name, Stage: stage, N: n}
	if err := p.launch(b.dir, p.v, s.kind); err != nil {
		return row, err
	}
	defer p.stop()
	if _, err := b.load(s, p, 64, -1, false); err != nil { // the first sessions fault pages in
		return row, err
	}
	time.Sleep(settle)
	st, err := b.stats()
	if err != nil {
		return row, err
	}
	row.Before = mem(p.pid())
	l, release, err := b.hold(s, p, n, stage)
	if err != nil {
		return row, err
	}
	time.Sleep(settle)
	row.Held, row.With = l.Sessions, mem(p.pid())
	now, err := b.stats()
	release()
	if err != nil {
		return row, err
	}
	row.Backend = now.Open - st.Open
	if l.Errors > 0 {
		log.Printf("%s %s: %d errors: %q", s.name, p.name, l.Errors, l.FirstErrs)
	}
	time.Sleep(settle)
	row.After = mem(p.pid())
	return row, nil
}

// hold opens n sessions and holds them until release is called.
func (b *bench) hold(s scenario, p *peer, n int, stage string) (l load.Result, release func(), err error) {
	cmd := b.loadgen(s, p, n, "-idle", "-stage", stage, "-deadline", "300s")
	in, err := cmd.StdinPipe()
	if err != nil {
		return l, nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return l, nil, err
	}
	if err := cmd.Start(); err != nil {
		return l, nil, err
	}
	release = func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			log.Printf("loadgen: %v", err)
		}
	}
	if err := json.NewDecoder(out).Decode(&l); err != nil {
		release()
		return l, nil, fmt.Errorf("loadgen: %w", err)
	}
	return l, release, nil
}
