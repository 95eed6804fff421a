package main

import (
	"fmt"
	"log"
	"os/exec"
	"path/filepath"
	"time"
)

// situation is one thing to look at peers in.
type situation struct {
	desc, kind, mode string
	sinkArgs         []string
	noRemoteTLS      bool
}

var situations = []situation{
	{desc: "inbound", kind: "starttls", mode: "in"},
	{desc: "outbound to a self-signed remote", kind: "outbound", mode: "out"},
	{desc: "outbound, plaintext injected behind the remote's 220", kind: "outbound", mode: "out", sinkArgs: []string{"-inject"}},
	{desc: "outbound, the remote offers no STARTTLS", kind: "outbound", mode: "out", noRemoteTLS: true},
}

// probes looks at each peer once per situation, and counts what its sink got.
func (b *bench) probes(peers []*peer) error {
	for _, t := range situations {
		fmt.Printf("\n## %s\n", t.desc)
		s := scenario{name: "probe", kind: t.kind, cert: "ecdsa"}
		if err := b.startSink(s, t.sinkArgs...); err != nil {
			return err
		}
		for i, p := range peers {
			if !p.serves(t.kind) {
				continue
			}
			v := b.varsFor(p, i, s)
			if t.noRemoteTLS {
				v.SinkSTARTTLS = v.SinkPlain
			}
			if err := p.launch(b.dir, v, t.kind); err != nil {
				log.Print(err)
				continue
			}
			err := b.probe(t, p)
			p.stop()
			if err != nil {
				b.stopSink()
				return err
			}
		}
		b.stopSink()
	}
	return nil
}

func (b *bench) probe(t situation, p *peer) error {
	if err := b.reset(true); err != nil {
		return err
	}
	addr := fmt.Sprintf("127.0.0.1:%d", p.port(t.kind))
	o, err := exec.Command(filepath.Join(b.binDir, "probe"), "-mode", t.mode, "-addr", addr).Output()
	if err != nil {
		o = append(o, fmt.Sprintf("probe: %v\n", err)...)
	}
	if p.async {
		time.Sleep(time.Second)
	}
	s, err := b.stats()
	if err != nil {
		return err
	}
	fmt.Printf("\n### %s\n\n%s", p.name, o)
	fmt.Printf("sink: connections %d, handshakes %d, messages %d\n", s.Accepted, s.Handshakes, s.Messages)
	return nil
}
