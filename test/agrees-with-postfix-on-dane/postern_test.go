package agrees

import (
	"encoding/json"
	"regexp"
	"strings"
	"sync"
	"testing"

	"postern/test/harness"
)

// story is what an outbound has made of a message: the level of each attempt with what
// became of it, and what the mail server was told.
func story(made []harness.Delivery, told string) string {
	text := harness.Story(made)
	if told != "clear" { // Postfix has no TLS with postern
		text += " " + told
	}
	return strings.TrimSpace(text)
}

// attempts are those of one outbound for a destination, in order.
func attempts(all []harness.Delivery, outbound, domain string) (those []harness.Delivery) {
	for _, d := range all {
		if d.Outbound == outbound && d.Destination == domain {
			those = append(those, d)
		}
	}
	return those
}

// explanation is what "postern explain --json" says of an outbound.
type explanation struct {
	Outbound, Refusal, Cause string
	Hosts                    []struct {
		Name         string
		AddressError string `json:"address_error"`
		Decision     struct {
			Level, Source, Error string
			TLSA                 []string
		}
	}

	code int // of the command's exit
}

// explain asks for what is asked of all set-ups, by their name and the recipient's. The
// posterns are asked in turn: each says the same of all.
func (l *lab) explain(t *testing.T) map[string]explanation {
	var mu sync.Mutex
	said := map[string]explanation{}
	l.each(func(s *setup) {
		for _, w := range ways {
			text, code := l.postern[w.resolver].Command("explain", s.domain(), "--outbound", w.outbound, "--json")
			var all []explanation
			if err := json.Unmarshal([]byte(text), &all); err != nil || len(all) != 1 {
				t.Errorf("explain %s: %v\n%s", s.domain(), err, text)
				continue
			}
			all[0].code = code
			mu.Lock()
			said[s.name+" "+w.user] = all[0]
			mu.Unlock()
		}
	})
	return said
}

// clock is the time of day, which some replies tell.
var clock = regexp.MustCompile(`\d\d:\d\d:\d\d`)

// check compares an explanation with what was done.
func (e *explanation) check(t *testing.T, made []harness.Delivery) {
	t.Helper()
	usable := false
	for _, d := range made {
		if d.Host == "" {
			if clock.ReplaceAllString(e.Refusal, "") != clock.ReplaceAllString(d.Reply, "") || e.Cause != d.Cause {
				t.Errorf("explained as %q (%s), and done: %+v", e.Refusal, e.Cause, d)
			}
			continue
		}
		usable = e.host(t, d) || usable
	}
	if usable != (e.code == 0) {
		t.Errorf("explain ended with exit code %d after %+v", e.code, made)
	}
}

// host compares what is said of a host with an attempt at it, and says whether it could
// be used.
func (e *explanation) host(t *testing.T, d harness.Delivery) bool {
	t.Helper()
	asked := strings.TrimRight(strings.SplitN(strings.SplitN(d.TLS, "/", 2)[0], ":", 2)[0], "?")
	unknown := strings.HasSuffix(d.TLS, "?")
	for _, h := range e.Hosts {
		if h.Name != d.Host {
			continue
		}
		if h.Decision.Level != asked || h.Decision.Source != d.Source || (h.Decision.Error != "") != unknown || (len(h.Decision.TLSA) > 0) != (asked == "dane" && !unknown) {
			t.Errorf("explained as %+v, and done: %+v", h, d)
		}
		if unknown && !strings.Contains(d.Reply, h.Decision.Error) {
			t.Errorf("explained as %q, and replied: %q", h.Decision.Error, d.Reply)
		}
		return h.Decision.Error == "" && h.AddressError == ""
	}
	t.Errorf("%s is not explained: %+v", d.Host, e)
	return false
}
