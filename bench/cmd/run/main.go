// run measures SMTP TLS proxies side by side.
//
// For each scenario it starts the sink and every peer that serves the
// scenario's kind, checks each peer once with a verified run, then measures
// them interleaved (A B C, B C A, ...) for -rounds rounds and prints medians,
// the spread, and the median of the per-round ratios against -baseline. At the
// end it prints how -subject stands against its targets.
//
// It exits with 1 when it failed, or when a peer lost, altered or doubled a
// message.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	log.SetFlags(log.Ltime)
	o, err := parseOptions(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "run:", err)
		os.Exit(2)
	}
	if err := o.do(); err != nil {
		log.Fatal(err)
	}
}

func (o *options) do() error {
	if o.scenarios == "list" {
		listScenarios()
		return nil
	}
	if o.table != "" {
		return o.printTable()
	}
	ss, err := pickScenarios(o.scenarios)
	if err != nil {
		return err
	}
	peers, err := loadPeers(o.peerDir, o.peerNames())
	if err != nil {
		return err
	}
	b, done, err := o.prepare()
	if err != nil {
		return err
	}
	defer done()
	peers = slices.DeleteFunc(peers, func(p *peer) bool {
		missing := !p.installed(b.vars(0, ss[0]))
		if missing {
			log.Printf("%s is not installed, and left out", p.name)
		}
		return missing
	})
	if o.probe {
		return b.probes(peers)
	}
	return b.measure(ss, peers)
}

func (b *bench) measure(ss []scenario, peers []*peer) error {
	fmt.Printf("%s, %d rounds, peers:", time.Now().UTC().Format(time.DateTime), b.o.rounds)
	for _, p := range peers {
		fmt.Print(" " + p.name)
	}
	fmt.Printf("\n%s, %d processors, %s\n", cpuModel(), runtime.NumCPU(), runtime.Version())
	for _, s := range ss {
		if err := b.scenario(s, peers); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	printTargets(os.Stdout, b.records, b.o.subject)
	if len(b.altered) > 0 {
		return fmt.Errorf("messages were lost, altered or doubled: %s", strings.Join(b.altered, ", "))
	}
	return nil
}

func (o *options) printTable() error {
	f, err := os.Open(o.table)
	if err != nil {
		return err
	}
	defer f.Close()
	records, err := readRecords(f)
	if err != nil {
		return fmt.Errorf("%s: %w", o.table, err)
	}
	printTargets(os.Stdout, records, o.subject)
	return nil
}

// prepare makes the work folder and what is in it.
func (o *options) prepare() (b *bench, done func(), err error) {
	if err := ownProcesses(); err != nil {
		return nil, nil, err
	}
	b = &bench{o: o, out: io.Discard, ctl: fmt.Sprintf("127.0.0.1:%d", o.port+3), dir: o.work}
	if b.binDir, err = filepath.Abs(o.bin); err != nil {
		return nil, nil, err
	}
	done = func() {}
	if b.dir == "" {
		if b.dir, err = os.MkdirTemp("", "smtpbench"); err != nil {
			return nil, nil, err
		}
		if !o.keep {
			done = func() { os.RemoveAll(b.dir) }
		}
	} else if err := os.MkdirAll(b.dir, 0o755); err != nil {
		return nil, nil, err
	}
	if b.dir, err = filepath.Abs(b.dir); err != nil {
		return nil, nil, err
	}
	if err := os.Chmod(b.dir, 0o755); err != nil { // some peers change their user
		return nil, nil, err
	}
	if o.outFile != "" {
		if b.out, err = os.OpenFile(o.outFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644); err != nil {
			return nil, nil, err
		}
	}
	endWithUs(done)
	return b, done, makeCerts(b.dir)
}

// ownProcesses makes this process inherit what its children leave behind, and
// lets every child open as many files as this account is allowed.
func ownProcesses() error {
	const prSetChildSubreaper = 36 // prctl(2)
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, prSetChildSubreaper, 1, 0); errno != 0 {
		return fmt.Errorf("prctl: %w", errno)
	}
	var rl syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &rl); err != nil {
		return err
	}
	rl.Cur = rl.Max
	return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &rl)
}

// endWithUs ends every child when this process is told to end.
func endWithUs(done func()) {
	sig := make(chan os.Signal, 1)
	signal.Notify(sig, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	go func() {
		<-sig
		signalTree(os.Getpid(), syscall.SIGTERM)
		done()
		os.Exit(1)
	}()
}

// scenario starts the sink and the peers, measures, and stops them.
func (b *bench) scenario(s scenario, peers []*peer) error {
	if err := b.startSink(s); err != nil {
		return err
	}
	defer b.stopSink()
	var ps []*peer
	defer func() {
		for _, p := range ps {
			p.stop()
		}
	}()
	for i, p := range peers {
		if !p.serves(s.kind) {
			continue
		}
		p.v = b.varsFor(p, i, s)
		if !s.idle { // there each is started by itself
			if err := p.launch(b.dir, p.v, s.kind); err != nil {
				log.Print(err)
				continue
			}
		}
		ps = append(ps, p)
	}
	if s.idle {
		return b.memory(s, ps)
	}
	return b.throughput(s, ps)
}
