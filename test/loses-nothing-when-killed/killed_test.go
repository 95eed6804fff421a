// Package killed proves that postern owns no message: it is killed again and
// again in the middle of deliveries, at every step of the dialogue with the
// server, and every message is either there or still in the queue of the mail
// server that sends it.
package killed

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"postern/internal/smtptest"
	"postern/test/harness"
)

const (
	kills    = 8
	messages = 160
)

// steps are the moments of a delivery at which postern is killed, as the server
// sees them: it is about to answer.
var steps = []string{".", "greeting", "EHLO", "STARTTLS", "TLS EHLO", "MAIL", "RCPT", "DATA"}

// assassin kills postern when a server has come to a step.
type assassin struct {
	mu      sync.Mutex
	step    string // empty: not now
	reached chan struct{}
}

// answer is what every server does before it answers as usual.
func (a *assassin) answer(c *smtptest.Conn, phase, _ string) string {
	if c.Secured() != nil && phase == "EHLO" {
		phase = "TLS EHLO"
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.step == phase {
		a.step = ""
		close(a.reached)
	}
	return ""
}

// next waits until a server has come to the step. The sender, which has seen
// postern die, would take a rest.
func (a *assassin) next(sender *harness.Sender, step string) {
	a.mu.Lock()
	a.step, a.reached = step, make(chan struct{})
	reached := a.reached
	a.mu.Unlock()
	sender.FlushUntil("a delivery comes to "+step, func() bool {
		select {
		case <-reached:
			return true
		default:
			return false
		}
	})
}

func TestEveryMessageIsThereOrInTheQueue(t *testing.T) {
	t.Parallel()
	for _, front := range []struct{ name, protocol string }{{"Postfix, SMTP", "smtp"}, {"Postfix, LMTP", "lmtp"}} {
		t.Run(front.name, func(t *testing.T) {
			t.Parallel()
			l := harness.NewLab(t)
			a := &assassin{}
			servers := []*smtptest.Backend{
				l.Serve(smtptest.Script{TLS: l.Good(), Answer: a.answer}, "tls.test"),
				l.Serve(smtptest.Script{Answer: a.answer}, "clear.test"),
			}
			g := l.Gateway()
			g.Protocol, g.Bolt = front.protocol, filepath.Join(t.TempDir(), "state.db")
			g.Outbound = "reuse_idle = \"0s\"" // with a session for each message, every step comes with every message
			out := g.Start(t)
			sender := harness.NewPostfixSender(t, harness.Snippet(t, "outbound.md", front.name, 0, out.Addr),
				"default_process_limit = 10\nminimal_backoff_time = 1s\nmaximal_backoff_time = 1s\nsmtp_connection_cache_on_demand = no\nlmtp_connection_cache_on_demand = no")
			session := sender.Open()
			for i := range kills {
				for n := range messages / kills {
					session.Message(harness.Message(fmt.Sprintf("m-%d-%d", i, n)), "b@tls.test", "b@clear.test")
				}
				a.next(sender, steps[i%len(steps)])
				out.Kill()
				out.StartAgain()
				compare(t, sender, servers)
			}
			session.Quit()
			sender.FlushUntil("the queue is empty", func() bool { return len(sender.Queue()) == 0 })
			compare(t, sender, servers)
			for i, s := range servers {
				if got := len(ids(s)); got != messages/kills*kills {
					t.Errorf("server %d has %d messages of %d", i, got, messages/kills*kills)
				}
			}
		})
	}
}

var sent = regexp.MustCompile(`: (\w+): to=<b@(tls|clear)\.test>.* status=sent`)

// compare fails the test unless each message that the mail server was told is
// delivered has arrived.
func compare(t *testing.T, sender *harness.Sender, servers []*smtptest.Backend) {
	t.Helper()
	log := sender.Log()
	names := map[string]string{} // queue id to message id
	for _, m := range regexp.MustCompile(`: (\w+): message-id=<([^@]*)@`).FindAllStringSubmatch(log, -1) {
		names[m[1]] = m[2]
	}
	told := sent.FindAllStringSubmatch(log, -1)
	arrived := map[string]map[string]int{"tls": ids(servers[0]), "clear": ids(servers[1])}
	for _, m := range told {
		if arrived[m[2]][names[m[1]]] == 0 {
			t.Errorf("%s is delivered to %s.test, says the mail server, and it is not there", names[m[1]], m[2])
		}
	}
}

// ids are the messages that a server has, with how often it has each.
func ids(s *smtptest.Backend) map[string]int {
	all := map[string]int{}
	for _, m := range s.Messages() {
		_, rest, _ := strings.Cut(m, "Message-ID: <")
		id, _, _ := strings.Cut(rest, "@")
		all[id]++
	}
	return all
}
