package proxy

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/smtptest"
)

// faultyClient is a mail server with a queue, which hangs up now and then.
type faultyClient struct {
	*egress
	l       *ledger
	r       *rand.Rand
	name    string
	domains []string
	c       *smtptest.Client // nil: not connected
}

// errand is one message on its way to some domains, and what was said to it: the reply for each
// domain, and whether that came behind the end of the message.
type errand struct {
	id, body string
	to       []string
	reply    map[string]string
	behind   bool
	gone     bool // the client left before it had its answer
}

// queue sends n messages, each again where it is deferred.
func (f *faultyClient) queue(n int) {
	for i := range n {
		m := errand{id: fmt.Sprintf("X-Id: %s-%d", f.name, i), to: f.choose()}
		m.body = m.id + "\r\n\r\n" + randomMessage(f.r)
		doubts := map[string]int{}
		for try := 0; try < 2 && len(m.to) > 0 && !m.gone; try++ {
			m.reply, m.behind = map[string]string{}, false
			f.send(&m)
			f.check(&m, doubts)
			m.to = m.deferred()
			if f.r.IntN(4) == 0 {
				<-time.After(time.Duration(f.r.IntN(100)) * time.Second)
			}
		}
	}
	f.hangUp()
}

func (f *faultyClient) choose() []string {
	n := 1
	if f.now().(*Outbound).LMTP || f.r.IntN(10) == 0 {
		n = 1 + f.r.IntN(len(f.domains))
	}
	start := f.r.IntN(len(f.domains))
	var to []string
	for i := range n {
		to = append(to, f.domains[(start+i)%len(f.domains)])
	}
	return to
}

func (m *errand) deferred() (to []string) {
	for _, d := range m.to {
		if strings.HasPrefix(m.reply[d], "4") {
			to = append(to, d)
		}
	}
	return to
}

func (f *faultyClient) hangUp() {
	if f.c != nil {
		f.c.Close()
		f.c = nil
	}
}

// says sends something and reads n replies; nil where the connection ended.
func (f *faultyClient) says(text string, n int) (replies []string) {
	if f.c.Try(text) != nil {
		return nil
	}
	for range n {
		r, err := f.c.Reply()
		if err != nil {
			return nil
		}
		replies = append(replies, r)
	}
	return replies
}

// leaves says whether the client hangs up now.
func (f *faultyClient) leaves(m *errand) bool {
	if f.r.IntN(100) > 0 {
		return false
	}
	f.l.count("client: hangs up")
	m.gone = true
	f.hangUp()
	return true
}

// lost is a connection that ended although nobody hung up.
func (f *faultyClient) lost(m *errand, where string) {
	f.t.Errorf("%s: the connection ended at %s, without an answer", m.id, where)
	m.gone = true
	f.hangUp()
}

func (f *faultyClient) send(m *errand) {
	if f.c == nil {
		f.c = f.connect()
		hello := "EHLO"
		if f.now().(*Outbound).LMTP {
			hello = "LHLO"
		}
		if f.says(hello+" mta.test\r\n", 2) == nil {
			f.lost(m, hello)
			return
		}
	}
	lines := "MAIL FROM:<a@sender.test>\r\n"
	for _, d := range m.to {
		lines += "RCPT TO:<b@" + d + ">\r\n"
	}
	if f.leaves(m) {
		return
	}
	replies := f.says(lines, 1+len(m.to))
	if replies == nil {
		f.lost(m, "RCPT")
		return
	}
	var accepted []string
	for i, d := range m.to {
		if m.reply[d] = replies[i+1]; m.reply[d][0] == '2' {
			accepted = append(accepted, d)
		}
	}
	if f.leaves(m) {
		return
	}
	if len(accepted) > 0 {
		f.message(m, accepted)
	} else if f.says("RSET\r\n", 1) == nil {
		f.lost(m, "RSET")
	}
	if f.c != nil && f.r.IntN(2) == 0 {
		f.says("QUIT\r\n", 1)
		f.hangUp()
	}
}

// message sends the message, with DATA or in two chunks.
func (f *faultyClient) message(m *errand, accepted []string) {
	first, second := "DATA\r\n", stuffed(m.body)+".\r\n"
	if chunked := f.r.IntN(3) == 0; chunked {
		cut := f.r.IntN(len(m.body))
		first = fmt.Sprintf("BDAT %d\r\n%s", cut, m.body[:cut])
		second = fmt.Sprintf("BDAT %d LAST\r\n%s", len(m.body)-cut, m.body[cut:])
	}
	r := f.says(first, 1)
	switch {
	case r == nil:
		f.lost(m, first[:4])
		return
	case r[0][0] != '2' && r[0][0] != '3':
		for _, d := range accepted {
			m.reply[d] = r[0]
		}
		if f.says("RSET\r\n", 1) == nil {
			f.lost(m, "RSET")
		}
		return
	}
	if f.leaves(m) {
		return
	}
	if f.r.IntN(100) == 0 { // within the message
		f.c.Try(second[:f.r.IntN(len(second))])
		m.gone = true
		f.hangUp()
		return
	}
	m.behind = true
	n := 1
	if f.now().(*Outbound).LMTP {
		n = len(accepted)
	}
	if f.r.IntN(100) == 0 { // behind it
		f.c.Try(second)
		m.gone = true
		f.hangUp()
		return
	}
	if r = f.says(second, n); r == nil {
		f.lost(m, "the final reply")
		return
	}
	for i, d := range accepted {
		m.reply[d] = r[min(i, n-1)]
	}
}

// check compares what the client heard with what the servers have. doubts counts, for each
// domain, the 4xx behind the end of the message so far: so often it may have been doubled.
func (f *faultyClient) check(m *errand, doubts map[string]int) {
	f.l.mu.Lock()
	defer f.l.mu.Unlock()
	for _, d := range m.to {
		got, code := *f.l.of(m.id, d), (m.reply[d] + "   ")[:3]
		f.l.sums["answer "+code]++
		if m.gone {
			if !m.behind {
				f.l.left[m.id+" "+d] = doubts[d]
			}
			continue
		}
		switch {
		case code == "250" && got.accepted == 0:
			f.t.Errorf("%s was lost: 250 to the client, and %s has it not", m.id, d)
		case code == "250" && got.accepted > 1+doubts[d]:
			f.t.Errorf("%s is at %s %d times", m.id, d, got.accepted)
		case code != "250" && !m.behind && got.accepted > doubts[d]:
			f.t.Errorf("%s is at %s, and the client was told %q before its end", m.id, d, m.reply[d])
		case code[0] == '5' && got.accepted > doubts[d]:
			f.t.Errorf("%s is at %s, and the client was told %q", m.id, d, m.reply[d])
		case code[0] == '4' && m.behind:
			doubts[d]++
		}
		if got.accepted > 1 {
			f.l.sums["doubled"]++
		}
	}
}

// bad is a gateway in the middle of servers in bad health, and its clients.
func bad(t *testing.T, seed uint64, lmtp bool, clients, messages int) map[string]int {
	l := &ledger{all: map[string]*received{}, left: map[string]int{}, sums: map[string]int{}}
	synctest.Test(t, func(t *testing.T) {
		w := newPipedWorld(t)
		e := newPipedEgress(t, w, func(p *layout) {
			p.LMTP = lmtp
			p.gateway.ReuseIdle = 5 * time.Second
		})
		var all sync.WaitGroup
		for n := range clients {
			f := &faultyClient{egress: e, l: l, name: fmt.Sprintf("c%d", n), r: rand.New(rand.NewPCG(seed, uint64(n)))}
			for i := range 3 {
				d := fmt.Sprintf("d%d-%d.test", n, i)
				f.domains = append(f.domains, d)
				for j := range 2 {
					s := &faultyServer{domain: d, l: l, r: rand.New(rand.NewPCG(seed, uint64(100*n+10*i+j+1000)))}
					script := smtptest.Script{Answer: s.answer}
					if (n+i+j)%3 == 0 {
						script.TLS = w.cert(fmt.Sprintf("mx%d.%s", j, d))
					}
					w.server(fmt.Sprintf("mx%d.%s", j, d), script)
				}
				w.domain(d, "mx0."+d, "mx1."+d)
			}
			all.Go(func() { f.queue(messages) })
		}
		all.Wait()
		<-time.After(time.Hour) // whatever servers still do is done
		l.mu.Lock()
		defer l.mu.Unlock()
		for key, most := range l.left {
			if got := l.all[key]; got != nil && got.accepted > most {
				t.Errorf("%s was delivered, and the client left before its end", key)
			}
		}
	})
	return l.sums
}

// Promise 2, and the promise that nobody is left without an answer: a great many messages
// through servers that do everything wrong now and then.
func TestFaultsLoseNoMessageAndLeaveNobodyWithoutAnAnswer(t *testing.T) {
	const clients = 4
	total := 10000
	if testing.Short() || raceDetector {
		total = 400
	}
	for i, front := range []string{"SMTP", "LMTP"} {
		t.Run(front, func(t *testing.T) {
			sums := bad(t, uint64(i)+1, front == "LMTP", clients, total/2/clients)
			for what, n := range sums {
				if strings.HasPrefix(what, "answer") || strings.HasPrefix(what, "client") || what == "doubled" {
					t.Logf("%s: %d", what, n)
				}
			}
			for _, what := range []string{"answer 250", "answer 450", "answer 550", "client: hangs up", ".: close", "DATA: nonsense", "handshake: close"} {
				if sums[what] == 0 && total == 10000 {
					t.Errorf("%q did not come about", what)
				}
			}
		})
	}
}
