// loadgen is an SMTP client load generator.
//
// It opens -n sessions, -c at a time, sends -m messages of -size bytes in
// each, and prints one JSON object with rates, latencies and errors.
// With -idle it opens -n sessions, holds them until stdin closes, and prints
// its JSON object when all of them are open.
//
// It verifies no certificate: it measures servers, and is no example of a
// client.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"postern/bench/load"
)

// options is the command line.
type options struct {
	addr, mode     string
	tls            string
	sessions       int
	concurrent     int
	messages, size int
	resume         bool
	pipeline, bdat bool
	deadline       time.Duration
	mail, rcpt     string // the envelope, as commands
	idle           bool
	stage          string
}

func parseFlags() (o options, seed uint64) {
	flag.StringVar(&o.addr, "addr", "127.0.0.1:2525", "server address")
	flag.StringVar(&o.mode, "mode", "plain", "plain, starttls or tls")
	flag.IntVar(&o.sessions, "n", 100, "sessions")
	flag.IntVar(&o.concurrent, "c", 16, "concurrent sessions")
	flag.IntVar(&o.messages, "m", 1, "messages per session")
	flag.IntVar(&o.size, "size", 4096, "message size in bytes")
	flag.BoolVar(&o.resume, "resume", false, "resume TLS sessions (one cache per worker)")
	flag.StringVar(&o.tls, "tls", "1.3", "TLS version, 1.2 or 1.3")
	flag.BoolVar(&o.pipeline, "pipeline", false, "send MAIL, RCPT and DATA in one write")
	flag.BoolVar(&o.bdat, "bdat", false, "send the message with BDAT")
	flag.BoolVar(&o.idle, "idle", false, "open -n sessions and hold them until stdin closes")
	flag.StringVar(&o.stage, "stage", stageEHLO, "idle: hold after ehlo, after rcpt, or after one message (message4k, message1m)")
	flag.DurationVar(&o.deadline, "deadline", 120*time.Second, "limit for the whole run; with -idle for opening and, again, for holding")
	flag.Uint64Var(&seed, "seed", uint64(time.Now().UnixNano()), "first message id")
	from := flag.String("from", "a@bench.test", "envelope sender")
	rcpt := flag.String("rcpt", "b@bench.test", "envelope recipient")
	flag.Parse()
	o.mail, o.rcpt = "MAIL FROM:<"+*from+">\r\n", "RCPT TO:<"+*rcpt+">\r\n"
	return o, seed
}

func main() {
	o, seed := parseFlags()
	if !slices.Contains([]string{"plain", "starttls", "tls"}, o.mode) || !slices.Contains(stages, o.stage) {
		fmt.Fprintln(os.Stderr, "loadgen: unknown -mode or -stage: see loadgen -h")
		os.Exit(2)
	}
	debug.SetGCPercent(400) // what the collector takes here, the proxy lacks
	t := &tally{}
	t.id.Store(seed)
	if o.idle {
		hold(&o, t)
		return
	}
	output(measure(&o, t))
}

func output(r load.Result) {
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		fmt.Fprintln(os.Stderr, "loadgen:", err)
		os.Exit(1)
	}
}

// measure runs all sessions.
func measure(o *options, t *tally) load.Result {
	msg := newMessage(o.size)
	start := time.Now()
	limit := start.Add(o.deadline)
	ws := spread(o, t, func(w *worker) bool {
		if err := w.session(msg, limit); err != nil {
			t.fail(err)
		}
		return time.Now().Before(limit)
	})
	el := time.Since(start).Seconds()
	r := t.result()
	r.Seconds = el
	r.SessPerSec, r.MsgPerSec, r.MBPerSec = float64(r.Sessions)/el, float64(r.Messages)/el, float64(r.Bytes)/1e6/el
	var hs, sess []time.Duration
	for _, w := range ws {
		hs, sess = append(hs, w.hs...), append(sess, w.sess...)
	}
	r.HsP50, r.HsP99 = quantile(hs, .5), quantile(hs, .99)
	r.SessP50, r.SessP99 = quantile(sess, .5), quantile(sess, .99)
	return r
}

// spread calls one for each session, from as many workers as asked for, until
// all sessions are begun or one returns false.
func spread(o *options, t *tally, one func(*worker) bool) []*worker {
	var left atomic.Int64
	left.Store(int64(o.sessions))
	ws := make([]*worker, min(o.concurrent, o.sessions))
	var wg sync.WaitGroup
	for i := range ws {
		ws[i] = newWorker(o, t)
		wg.Go(func() {
			for left.Add(-1) >= 0 && one(ws[i]) {
			}
		})
	}
	wg.Wait()
	return ws
}

func (t *tally) result() load.Result {
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		t.fail(err)
	}
	note, _ := t.tlsNote.Load().(string)
	return load.Result{
		Sessions: int(t.sessions.Load()), Messages: int(t.messages.Load()), Bytes: t.bytes.Load(),
		Errors: int(t.errors.Load()), FirstErrs: t.errs,
		Resumed: int(t.resumed.Load()), TLS: note,
		CPUSeconds: float64(ru.Utime.Nano()+ru.Stime.Nano()) / 1e9,
	}
}

// quantile is the q-quantile of d in milliseconds, 0 when there is none.
func quantile(d []time.Duration, q float64) float64 {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return float64(d[min(len(d)-1, int(q*float64(len(d))))].Microseconds()) / 1000
}

// bdatLine is the command in front of the only, and so last, chunk.
func bdatLine(size int) string { return "BDAT " + strconv.Itoa(size) + " LAST\r\n" }
