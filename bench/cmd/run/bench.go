package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"postern/bench/load"
	"postern/internal/sink"
)

// run is one run of the load generator against one peer.
type run struct {
	Scenario string      `json:"scenario"`
	Peer     string      `json:"peer"`
	Round    int         `json:"round"` // from 0; -1: a warm-up
	Load     load.Result `json:"load"`
	Sink     sink.Stats  `json:"sink"`
	CPU      float64     `json:"cpu"`       // seconds, of the peer's tree
	SinkCPU  float64     `json:"sink_cpu"`  // seconds, of the sink
	Wall     float64     `json:"wall"`      // seconds until the sink had every message
	StealPct float64     `json:"steal_pct"` // of the machine
}

// record is one line of the file that -o writes: one of the two.
type record struct {
	Run  *run     `json:"run,omitempty"`
	Idle *idleRow `json:"idle,omitempty"`
}

// bench is one invocation.
type bench struct {
	o       *options
	dir     string // work folder
	binDir  string
	sink    *exec.Cmd
	ctl     string // the sink's control address
	out     io.Writer
	records []record
	altered []string // scenario and peer where messages were not what was sent
}

// keep notes a result for the summary and the file.
func (b *bench) keep(r record) error {
	b.records = append(b.records, r)
	return json.NewEncoder(b.out).Encode(r)
}

func (b *bench) get(path string) ([]byte, error) {
	r, err := http.Get("http://" + b.ctl + path)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	return io.ReadAll(r.Body)
}

func (b *bench) reset(verify bool) error {
	path := "/reset"
	if verify {
		path += "?verify=1"
	}
	_, err := b.get(path)
	return err
}

func (b *bench) stats() (s sink.Stats, err error) {
	d, err := b.get("/stats")
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(d, &s)
}

func (b *bench) startSink(s scenario, args ...string) error {
	v := b.vars(0, s)
	at := func(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }
	a := []string{"-plain", at(v.SinkPlain), "-starttls", at(v.SinkSTARTTLS), "-tls", at(v.SinkTLS),
		"-ctl", b.ctl, "-cert", v.Cert, "-key", v.Key, fmt.Sprintf("-tickets=%v", !s.noTickets)}
	b.sink = exec.Command(filepath.Join(b.binDir, "sink"), append(a, args...)...)
	b.sink.Stderr = os.Stderr
	b.sink.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := b.sink.Start(); err != nil {
		return err
	}
	for _, port := range []int{v.SinkPlain, b.o.port + 3} {
		if err := waitPort(port, nil); err != nil {
			return fmt.Errorf("sink: %w", err)
		}
	}
	return nil
}

func (b *bench) stopSink() {
	_ = b.sink.Process.Kill() // it may have died of itself, which was logged
	_ = b.sink.Wait()
}

func (b *bench) loadgen(s scenario, p *peer, n int, args ...string) *exec.Cmd {
	mode := s.kind
	if mode == "outbound" {
		mode = "plain"
	}
	a := []string{"-addr", fmt.Sprintf("127.0.0.1:%d", p.port(s.kind)), "-mode", mode,
		"-n", strconv.Itoa(n), "-c", strconv.Itoa(s.concurrent), "-m", strconv.Itoa(s.messages), "-size", strconv.Itoa(s.size)}
	cmd := exec.Command(filepath.Join(b.binDir, "loadgen"), append(append(a, s.args...), args...)...)
	cmd.Stderr = os.Stderr
	return cmd
}

// load is one run of n sessions.
func (b *bench) load(s scenario, p *peer, n, round int, verify bool) (r run, err error) {
	r = run{Scenario: s.name, Peer: p.name, Round: round}
	if err := b.reset(verify); err != nil {
		return r, err
	}
	sinkPid := b.sink.Process.Pid
	pid := p.pid()
	if pid == 0 {
		pid = sinkPid
	}
	c0, k0 := cpu(pid), cpu(sinkPid)
	t0, st0 := machine()
	w0 := time.Now()
	o, err := b.loadgen(s, p, n).Output()
	if err != nil {
		return r, fmt.Errorf("loadgen: %w", err)
	}
	if err := json.Unmarshal(o, &r.Load); err != nil {
		return r, fmt.Errorf("loadgen: %w", err)
	}
	if r.Sink, err = b.allArrived(r.Load.Messages); err != nil {
		return r, err
	}
	r.Wall = time.Since(w0).Seconds()
	if p.async { // the rate until the backend had it all
		time.Sleep(100 * time.Millisecond)
		r.Load.SessPerSec = float64(r.Load.Sessions) / r.Wall
		r.Load.MsgPerSec = float64(r.Load.Messages) / r.Wall
		r.Load.MBPerSec = float64(r.Load.Bytes) / 1e6 / r.Wall
	}
	t1, st1 := machine()
	r.CPU, r.SinkCPU = cpu(pid)-c0, cpu(sinkPid)-k0
	if t1 > t0 {
		r.StealPct = 100 * float64(st1-st0) / float64(t1-t0)
	}
	if r.Load.Errors > 0 {
		log.Printf("%s %s: %d errors: %q", s.name, p.name, r.Load.Errors, r.Load.FirstErrs)
	}
	return r, nil
}

// allArrived waits up to 30 s until the sink has n messages: a queueing peer
// delivers later.
func (b *bench) allArrived(n int) (s sink.Stats, err error) {
	for range 600 {
		if s, err = b.stats(); err != nil || s.Messages >= int64(n) {
			return s, err
		}
		time.Sleep(50 * time.Millisecond)
	}
	return s, nil
}

// vars is what the templates of the i-th peer are filled with in a scenario.
func (b *bench) vars(i int, s scenario) vars {
	port := b.o.port + 10 + 10*i
	v := vars{Bin: b.binDir, Workers: b.o.workers, Resume: s.resumes(), Reuse: s.reuse,
		PortSTARTTLS: port, PortTLS: port + 1, PortOut: port + 2, PortAux: port + 3,
		SinkPlain: b.o.port, SinkSTARTTLS: b.o.port + 1, SinkTLS: b.o.port + 2}
	cert := s.cert
	if cert == "pair" {
		cert = "ecdsa"
		v.Cert2, v.Key2 = filepath.Join(b.dir, "rsa.crt"), filepath.Join(b.dir, "rsa.key")
	}
	v.Cert, v.Key, v.Pem = filepath.Join(b.dir, cert+".crt"), filepath.Join(b.dir, cert+".key"), filepath.Join(b.dir, cert+".pem")
	return v
}

// varsFor is vars, with the sink's own ports for direct: outbound has no TLS
// client leg without a proxy, so it is the plaintext sink then.
func (b *bench) varsFor(p *peer, i int, s scenario) vars {
	v := b.vars(i, s)
	if p.start == "" {
		v.PortTLS, v.PortOut, v.PortSTARTTLS = v.SinkTLS, v.SinkPlain, v.SinkSTARTTLS
		if s.kind == "plain" {
			v.PortSTARTTLS = v.SinkPlain
		}
	}
	return v
}
