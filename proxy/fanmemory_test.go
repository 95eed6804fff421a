package proxy

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"postern/internal/smtptest"
)

// The servers of the measurement are a process of their own, so that only what the gateway
// holds is measured. TestSinks is that process.
const (
	sinkFiles  = "POSTERN_TEST_SINK" // its variable: the files of certificate and key
	sinks      = 10
	stallAfter = 32 << 20 // octets of a message, until the process is told to go on
)

func TestSinks(t *testing.T) {
	files := strings.Fields(os.Getenv(sinkFiles))
	if len(files) != 2 {
		t.Skip("it is run by TestFanOutHoldsLittleHoweverLargeTheMessageIs")
	}
	pair, err := tls.LoadX509KeyPair(files[0], files[1])
	if err != nil {
		t.Fatal(err)
	}
	var stalled, goOn = make(chan struct{}), make(chan struct{})
	for range sinks {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		fmt.Println("at", l.Addr())
		go sink(l, &tls.Config{Certificates: []tls.Certificate{pair}}, stalled, goOn)
	}
	for range sinks {
		<-stalled
	}
	fmt.Println("stalled")
	in := bufio.NewReader(os.Stdin)
	in.ReadString('\n')
	close(goOn)
	in.ReadString('\n') // the end of the other process, or of its patience
}

// sink takes messages, one connection after the other, and keeps nothing.
func sink(l net.Listener, c *tls.Config, stalled chan<- struct{}, goOn <-chan struct{}) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		fmt.Fprint(conn, "220 sink\r\n")
		drain(conn, c, stalled, goOn)
		conn.Close()
	}
}

func drain(conn net.Conn, c *tls.Config, stalled chan<- struct{}, goOn <-chan struct{}) {
	r := bufio.NewReader(conn)
	for size := -1; ; {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return
		}
		switch text := strings.TrimRight(string(line), "\r\n"); {
		case size >= 0 && text == ".":
			size = -1
			fmt.Fprint(conn, "250 2.0.0 taken\r\n")
		case size >= 0:
			if size += len(line); size-len(line) < stallAfter && size >= stallAfter {
				stalled <- struct{}{}
				<-goOn
			}
		case text == "DATA":
			size = 0
			fmt.Fprint(conn, "354 go\r\n")
		case text == "STARTTLS":
			fmt.Fprint(conn, "220 go\r\n")
			conn = tls.Server(conn, c)
			r = bufio.NewReader(conn)
		case strings.HasPrefix(text, "EHLO"):
			fmt.Fprint(conn, "250-sink\r\n250-PIPELINING\r\n250 STARTTLS\r\n")
		default:
			fmt.Fprint(conn, "250 2.0.0 ok\r\n")
		}
	}
}

// otherProcess runs TestSinks, and gives its addresses and its streams.
func otherProcess(t *testing.T, w *world) (addrs []string, out *bufio.Scanner, in io.Writer) {
	certFile, keyFile := w.ca.Files(t, rightName)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSinks$")
	cmd.Env = append(os.Environ(), sinkFiles+"="+certFile+" "+keyFile)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		_ = cmd.Wait() // killed or not: it has done its service
	})
	out = bufio.NewScanner(stdout)
	for len(addrs) < sinks && out.Scan() {
		if addr, ok := strings.CutPrefix(out.Text(), "at "); ok {
			addrs = append(addrs, addr)
		}
	}
	return addrs, out, stdin
}

// alone is set in the process that only measures.
const alone = "POSTERN_TEST_ALONE"

// held is what is in use, in octets: what a collection leaves of the heap, and the stacks.
func held() int64 {
	runtime.GC()
	runtime.GC() // what lies in a sync.Pool survives the first
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// The figure is taken while no server takes anything more, and the gateway waits for the
// first of them. Were all ten in the middle of a write, each would hold a TLS record and the stack of
// a write in addition, 35 KiB or so: so half of the bound, which is 1 MiB, is for that.
func TestFanOutHoldsLittleHoweverLargeTheMessageIs(t *testing.T) {
	if raceDetector {
		t.Skip("memory is not what it is without the race detector")
	}
	if os.Getenv(alone) == "" { // what other tests left in the heap is no part of it
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), alone+"=1")
		out, err := cmd.CombinedOutput()
		t.Logf("%s", out)
		if err != nil {
			t.Error(err)
		}
		return
	}
	w := newWorld(t)
	addrs, out, in := otherProcess(t, w)
	for i, addr := range addrs {
		a := netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)})
		name := fmt.Sprintf("mx%d.test", i)
		w.addrs[name], w.servers[netip.AddrPortFrom(a, 25)] = []netip.Addr{a}, &smtptest.Backend{Addr: addr}
		w.domain(fmt.Sprintf("d%d.test", i), name)
	}
	e := newEgress(t, w, lmtp)
	e.g.Close() // nothing is kept for the next session
	(&fanOut{egress: e}).handOver(t, "hello\r\n")
	e.watch.until(t, "the end of the first session", func() bool { return len(e.watch.sessions) == 1 })
	before := held()

	x := &fanOut{egress: e}
	k := e.client()
	x.begin(k, upTo(sinks)...)
	block := strings.Repeat(strings.Repeat("x", 62)+"\r\n", 1024) // 64 KiB
	blocked := make(chan struct{})
	sent := make(chan error, 1)
	go func() { sent <- pour(k.Conn, block, 1024, blocked) }()
	for out.Scan() && out.Text() != "stalled" {
	}
	<-blocked
	figure := held() - before
	t.Logf("a message of 64 MiB to %d destinations over TLS holds %d KiB", sinks, figure>>10)
	if limit := int64(512 << 10); figure > limit {
		t.Errorf("that is more than %d KiB", limit>>10)
	}
	fmt.Fprintln(in, "go on")
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	k.Send(".\r\n")
	for range sinks {
		k.Expect("250 2.0.0 taken")
	}
}

// pour writes a block n times, and says when it is held up for a while behind stallAfter.
func pour(c net.Conn, block string, n int, blocked chan<- struct{}) error {
	for i := range n {
		for rest := block; rest != ""; {
			wait := smtptest.Patience
			if blocked != nil && i*len(block) >= stallAfter {
				wait = 300 * time.Millisecond
			}
			c.SetWriteDeadline(time.Now().Add(wait))
			k, err := io.WriteString(c, rest)
			if rest = rest[k:]; err != nil {
				if blocked == nil || !errors.Is(err, os.ErrDeadlineExceeded) || wait == smtptest.Patience {
					return err
				}
				close(blocked)
				blocked = nil
			}
		}
	}
	return nil
}

// handOver sends one message to all sinks.
func (x *fanOut) handOver(t *testing.T, text string) {
	t.Helper()
	k := x.client()
	x.begin(k, upTo(sinks)...)
	k.Send(text + ".\r\n")
	for range sinks {
		k.Expect("250")
	}
	k.Do("QUIT", "221")
}
