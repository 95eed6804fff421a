package proxy

import (
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"postern/internal/smtptest"
)

// ledger is what servers have received, as they see it.
type ledger struct {
	mu   sync.Mutex
	all  map[string]*received // by message and domain
	left map[string]int       // likewise, where the client left before the end: how often it can have been accepted before
	sums map[string]int       // of what happened at all, for the log
}

// received is one message at one destination.
type received struct {
	whole    int // its end was seen
	accepted int // and was answered 250
}

func (l *ledger) of(message, domain string) *received {
	key := message + " " + domain
	if l.all[key] == nil {
		l.all[key] = &received{}
	}
	return l.all[key]
}

func (l *ledger) count(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sums[what]++
}

// faultyServer is a server that is in bad health: at each phase something may go wrong.
type faultyServer struct {
	domain string
	l      *ledger
	mu     sync.Mutex
	r      *rand.Rand
}

// The faults of a phase, of which each comes once in oneIn.
const oneIn = 120

var phaseFaults = []string{"close", "421 4.3.2 bye", "450 4.2.0 later", "451 4.3.0 later", "550 5.7.1 no", "554 5.0.0 no", "nonsense", "wait 3s", "wait 70s", "wait 10m"}

func (f *faultyServer) fault() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := f.r.IntN(oneIn); n < len(phaseFaults) {
		return phaseFaults[n]
	}
	return ""
}

// answer is the Answer of a Script.
func (f *faultyServer) answer(c *smtptest.Conn, phase, _ string) string {
	fault := f.fault()
	if fault != "" {
		f.l.count(phase + ": " + fault)
	}
	if wait, ok := strings.CutPrefix(fault, "wait "); ok {
		d, _ := time.ParseDuration(wait)
		<-time.After(d)
		fault = ""
	}
	if phase == "." {
		return f.message(c, fault)
	}
	switch {
	case fault == "":
		return ""
	case fault == "close" || phase == "handshake":
		c.Conn.Close()
		return ""
	case phase == "DATA" && fault == "nonsense": // it closes within the message
		io.WriteString(c.Conn, "354 go\r\n")
		c.Conn.Read(make([]byte, 1))
		c.Conn.Close()
		return ""
	case phase == "QUIT":
		return ""
	}
	return fault
}

// message answers a message that was received whole.
func (f *faultyServer) message(c *smtptest.Conn, fault string) string {
	all := c.Messages()
	id, _, _ := strings.Cut(all[len(all)-1], "\r\n")
	f.l.mu.Lock()
	defer f.l.mu.Unlock()
	r := f.l.of(id, f.domain)
	r.whole++
	switch fault {
	case "":
		r.accepted++
	case "close":
		c.Conn.Close()
	}
	return fault
}
