package app

import (
	"errors"
	"strings"
	"testing"

	"postern/internal/dnstest"
)

func TestExplainUsesTheMemoryOfTheOneThatRuns(t *testing.T) {
	w := newWorld(t)
	p := w.begin(t, inMemory+w.admin()+w.resolver()+w.outbound(""))
	mail(t, p.at(t, "egress"), "example.com")
	text, _, err := explained(t, ExplainOptions{Domain: "example.com", Config: p.file})
	must(err)
	wantWords(t, "beside it", text, "TLS has worked in the last 30 days")
	must(p.stop())
	text, _, err = explained(t, ExplainOptions{Domain: "example.com", Config: p.file})
	must(err)
	wantWords(t, "without it", text, "no TLS with it in the last 30 days", "the same mail goes in clear, at once")
}

func TestExplainShowsEveryOutboundOrTheOneAskedFor(t *testing.T) {
	w := newWorld(t)
	file := w.written(t, inMemory+w.resolver()+w.outboundAt("a", "127.0.0.1:0", `level = "secure"`)+
		w.outboundAt("b", "127.0.0.1:0", "destination \".com\" {\n level = \"verify\"\n match = [\".example.net\"]\n }"))
	text, _, err := explained(t, ExplainOptions{Domain: "example.com", Config: file})
	must(err)
	wantWords(t, "all", text, `outbound "a"`, `outbound "b"`, "secure, as config.hcl:", "for example.com or a name below example.com, by an authority in "+w.roots,
		"verify, as config.hcl:", "for a name below example.net", `destination ".com": level verify`, "the next server is tried; when none is left, the mail waits (451)")
	text, _, err = explained(t, ExplainOptions{Domain: "example.com", Outbound: "b", Config: file})
	if must(err); strings.Contains(text, `outbound "a"`) {
		t.Errorf("it shows the other one too:\n%s", text)
	}
	if _, _, err = explained(t, ExplainOptions{Domain: "example.com", Outbound: "c", Config: file}); err == nil || err.Error() != `there is no outbound "c"` || Hint(err) != "There is: a, b." {
		t.Errorf("an outbound that there is not: %v", err)
	}
}

func TestExplainSaysWhyMailCannotGoOut(t *testing.T) {
	w := newWorld(t)
	w.dns.Break("broken.example", "", dnstest.ServFail)
	file := w.written(t, inMemory+w.resolver()+w.outbound(""))
	for domain, words := range map[string][]string{
		"null.example":    {"no server", "556 5.1.10", "returns the mail to its sender"},
		"none.example":    {"550 5.1.2"},
		"broken.example":  {"451 4.4.3", "the mail waits"},
		"\x1b[31m.exa.mp": {"no server"}, // of which the command does not even ask
	} {
		text, _, err := explained(t, ExplainOptions{Domain: domain, Config: file})
		if !errors.Is(err, ErrReported) {
			t.Errorf("%q: %v", domain, err)
		}
		wantWords(t, domain, text, words...)
		if strings.Contains(text, "\x1b") {
			t.Errorf("%q: it writes to the terminal what it was given: %q", domain, text)
		}
	}
}

func TestExplainTellsOfAnOutboundOfOurs(t *testing.T) {
	w := newWorld(t)
	file := w.written(t, inMemory+w.resolver()+w.outboundAt("egress", "0.0.0.0:"+w.port, ""))
	text, _, err := explained(t, ExplainOptions{Domain: "example.com", Config: file})
	if !errors.Is(err, ErrReported) {
		t.Error(err)
	}
	wantWords(t, "explain", text, "it is an outbound of this postern")
}

func TestExplainBesideAPosternWithoutASocketSaysWhatItDoesNotKnow(t *testing.T) {
	w := newWorld(t)
	p := w.begin(t, w.kept()+w.resolver()+w.outbound(""))
	text, note, err := explained(t, ExplainOptions{Domain: "example.com", Config: p.file})
	must(err)
	wantWords(t, "explain", text, "mx.example.com")
	asJSON, _, err := explained(t, ExplainOptions{Domain: "example.com", Config: p.file, JSON: true})
	must(err)
	if strings.Contains(asJSON, `"remembered":`) || !strings.Contains(asJSON, `"state":"unavailable"`) {
		t.Errorf("it tells of a memory that it has not seen: %s", asJSON)
	}
	wantWords(t, "the note", note, "not taken into account", "in use", "socket =")
	_, err = peersCommand(t, ListPeers, p.file, "", false)
	if err == nil || !strings.Contains(err.Error(), "in use") || !strings.Contains(Hint(err), "socket =") {
		t.Errorf("peers list: %v, %q", err, Hint(err))
	}
}

func TestWhatIsRememberedIsEnforcedObservedOrLeftAlone(t *testing.T) {
	for remember, words := range map[string][]string{
		"enforce": {"level          secure, because of what is remembered (until ", "for mx.example.com, by an authority in ", "may have expired up to 3 days ago"},
		"observe": {"level          may, because nobody asks for more", `would be       secure, with remember = "enforce": for mx.example.com`},
		"off":     {"level          may, because nobody asks for more", "remembered     not asked: remember is off"},
	} {
		t.Run(remember, func(t *testing.T) {
			w := newWorld(t)
			p := w.begin(t, inMemory+w.admin()+w.resolver()+w.outbound("remember = \""+remember+"\"\n  reuse_idle = \"0s\"\n  remember_after {\n sessions = 2\n age = \"0s\"\n grace = \"72h\"\n }"))
			for range 2 {
				mail(t, p.at(t, "egress"), "example.com")
			}
			text, _, err := explained(t, ExplainOptions{Domain: "example.com", Config: p.file})
			must(err)
			wantWords(t, "explain", text, words...)
			list := must1(peersCommand(t, ListPeers, p.file, "", false))
			if remembered := lineWith(list, []string{"domain", "mx.example.com"}); !remembered {
				t.Errorf("peers list does not say that it is remembered:\n%s", list)
			}
		})
	}
}
