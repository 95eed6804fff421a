package agrees

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"

	"postern/test/harness"
)

var (
	secured = regexp.MustCompile(`(?:posttls-finger|postfix/smtp\[\d+\]): (\w+) TLS connection established to (\S+): `)
	status  = regexp.MustCompile(`postfix/\w+\[\d+\]: \w+: to=<([^>]+)>, relay=([^,]+),.* dsn=([\d.]+), status=(\w+)`)
)

// fingers are posttls-finger's words for all set-ups, by name: of the first server that
// it comes to, "none" where it makes no TLS connection.
func (l *lab) fingers(t *testing.T) map[string]string {
	tool := harness.Tool(t, "posttls-finger")
	var mu sync.Mutex
	words := map[string]string{}
	l.each(func(s *setup) {
		var said string
		l.Do(func() {
			said, _ = harness.Run(t, "", tool, "-c", "-l", "dane", "-L", "summary", "-o", "compatibility_level=3.6", fmt.Sprintf("%s:%d", s.domain(), l.port))
		})
		word := "none"
		if m := secured.FindStringSubmatch(said); m != nil {
			word = m[1]
		}
		mu.Lock()
		defer mu.Unlock()
		if words[s.name] = word; word != s.want["finger"] {
			t.Logf("posttls-finger %s:\n%s", s.domain(), said)
		}
	})
	return words
}

// each calls f for all set-ups, a few at a time.
func (l *lab) each(f func(*setup)) {
	var workers sync.WaitGroup
	next := make(chan *setup)
	for range 4 {
		workers.Go(func() {
			for s := range next {
				f(s)
			}
		})
	}
	for _, s := range l.setups {
		next <- s
	}
	close(next)
	workers.Wait()
}

// results are what became of messages by the log of a Postfix, by recipient: what
// it thinks of the server that took it, "clear", or "deferred" or "bounced" and the status code.
func results(log string) map[string]string {
	all := map[string]string{}
	words := map[string]string{} // by server: each is that of one set-up
	for line := range strings.Lines(log) {
		if m := secured.FindStringSubmatch(line); m != nil {
			words[m[2]] = m[1]
		}
		m := status.FindStringSubmatch(line)
		switch {
		case m == nil:
		case m[4] != "sent":
			all[m[1]] = m[4] + " " + m[3]
		case words[m[2]] != "":
			all[m[1]] = words[m[2]]
		default:
			all[m[1]] = "clear"
		}
	}
	return all
}
