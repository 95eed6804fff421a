// Package agrees compares postern with Postfix, whose authors wrote the standard
// of DANE for mail: both deliver to the same servers under the same signed DNS, and have to
// come to the same end, or to another one for a reason that is written down.
package agrees

import (
	_ "embed"
	"slices"
	"strconv"
	"strings"
	"testing"

	"postern/test/harness"
)

//go:embed testdata/setups.txt
var setupsText string

func TestMailEndsAsWithPostfix(t *testing.T) {
	t.Parallel()
	newLab(t, setupsText, 25).compare(t)
}

// STANDARDS 74: the records are those of the port that is dialled.
func TestAnotherPortHasRecordsOfItsOwn(t *testing.T) {
	t.Parallel()
	newLab(t, otherPort, 2525).compare(t)
}

const otherPort = `
setup port 74
zone @
  @             MX   10 mx
  mx            A    {mx}
  _25._tcp.mx   TLSA 3 1 1 {next}
  _2525._tcp.mx TLSA 3 1 1 {leaf}
server mx leaf sub
finger  Verified
postfix Verified
postern dane Verified

setup port-wrong 74
zone @
  @             MX   10 mx
  mx            A    {mx}
  _25._tcp.mx   TLSA 3 1 1 {leaf}
  _2525._tcp.mx TLSA 3 1 1 {next}
server mx leaf sub
finger  Untrusted
postfix deferred 4.7.5
postern dane/!certificate deferred 4.7.5
`

// compare delivers a message to each set-up in every way.
func (l *lab) compare(t *testing.T) {
	l.Do(func() {
		direct, through := l.postfix.Open(), l.legacy.Open()
		for _, s := range l.setups {
			direct.Message(harness.Message("postfix-"+s.name), "postfix@"+s.domain())
			for _, w := range ways {
				through.Message(harness.Message(w.user+"-"+s.name), w.user+"@"+s.domain())
			}
		}
		direct.Quit()
		through.Quit()
	})
	fingers := l.fingers(t)
	l.postfix.WaitTried(len(l.setups))
	l.legacy.WaitTried(len(l.setups) * len(ways))
	byPostfix, byPostern := results(l.postfix.Log()), results(l.legacy.Log())
	explained := l.explain(t)
	for _, s := range l.setups {
		t.Run(s.name, func(t *testing.T) {
			s.expect(t, "finger", fingers[s.name])
			s.expect(t, "postfix", byPostfix["postfix@"+s.domain()])
			l.arrived(t, s, "postfix", byPostfix["postfix@"+s.domain()])
			for _, w := range ways {
				told := byPostern[w.user+"@"+s.domain()]
				made := attempts(l.postern[w.resolver].Deliveries(), w.outbound, s.domain())
				s.expect(t, w.user, story(made, told))
				l.arrived(t, s, w.user, story(made, told))
				if e, ok := explained[s.name+" "+w.user]; ok {
					e.check(t, made)
				}
			}
		})
	}
}

func (s *setup) expect(t *testing.T, who, got string) {
	t.Helper()
	if want := s.wants(who); got != want {
		t.Errorf("%s %s, want %s", who, got, want)
	}
}

// arrived checks that a server has the message if and only if it is said so, and over TLS.
func (l *lab) arrived(t *testing.T, s *setup, user, story string) {
	t.Helper()
	end := outcome(story)
	taken := end != "deferred" && end != "bounced" && end != "lost"
	if has, secured := l.took(s, user+"@"+s.domain()); has != taken || secured != (taken && end != "clear") {
		t.Errorf("%s: the servers have it: %t, over TLS: %t; that is not %q", user, has, secured, story)
	}
}

// outcome is what becomes of a message in the end: what is thought of the server
// that has it, "clear", "deferred", "bounced" or "lost".
func outcome(story string) string {
	f := strings.Fields(story)
	if len(f) == 0 {
		return "lost"
	}
	for _, end := range []string{"deferred", "bounced"} {
		if slices.Contains(f, end) {
			return end
		}
	}
	return f[len(f)-1]
}

// authenticates says whether the first server that was come to had to be
// authenticated, and was: what posttls-finger tells.
func authenticates(story string) bool {
	for attempt := range strings.SplitSeq(story, ", ") {
		if attempt != "dane" && attempt != "dane?" {
			return attempt == "dane Verified" || attempt == "dane Trusted"
		}
	}
	return false
}

// agrees says whether postern is expected to do what Postfix does.
func (s *setup) agrees() bool {
	for _, w := range ways {
		finger := s.want["finger"] == "Verified" || s.want["finger"] == "Trusted"
		if outcome(s.wants(w.user)) != outcome(s.want["postfix"]) || authenticates(s.wants(w.user)) != finger {
			return false
		}
	}
	return true
}

func TestEveryDifferenceHasAReason(t *testing.T) {
	all, err := setups(setupsText)
	if err != nil {
		t.Fatal(err)
	}
	differ := 0
	for _, s := range all {
		if s.agrees() != (s.because == "") {
			t.Errorf("%s: postfix %s, postern %s, because %q", s.name, s.want["postfix"], s.want["postern"], s.because)
		}
		if s.because != "" {
			differ++
		}
	}
	t.Logf("%d set-ups, %d of which end in another way than with Postfix", len(all), differ)
}

// The points that Postfix's author of DANE checks in other programs, and what follows from them.
func TestEveryPointHasASetUp(t *testing.T) {
	all, err := setups(setupsText + otherPort)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 40 {
		t.Errorf("only %d set-ups", len(all))
	}
	for point := 67; point <= 88; point++ {
		if !slices.ContainsFunc(all, func(s *setup) bool { return slices.Contains(s.standards, strconv.Itoa(point)) }) {
			t.Errorf("nothing shows STANDARDS %d", point)
		}
	}
}
