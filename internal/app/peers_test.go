package app

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAPeerIsForgottenBesideAPosternThatRunsAndWithoutIt(t *testing.T) {
	for name, beside := range map[string]bool{"beside": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			p := w.begin(t, w.kept()+w.admin()+w.resolver()+w.outbound(""))
			mail(t, p.at(t, "egress"), "example.com")
			if !beside {
				must(p.stop())
			}
			shown, err := peersCommand(t, ShowPeer, p.file, "mx.example.com", false)
			must(err)
			wantWords(t, "show", shown, "host mx.example.com:"+w.port, "with TLS", "versions", "TLS 1.3: 1", "verdicts", "Verified: 1", "domain example.com", "server")
			got, err := peersCommand(t, ForgetPeer, p.file, "mx.example.com", false)
			if must(err); got != "2 records of mx.example.com forgotten\n" {
				t.Errorf("forget: %q", got)
			}
			for what, do := range map[string]func(PeersOptions) error{"show": ShowPeer, "forget": ForgetPeer} {
				if text, err := peersCommand(t, do, p.file, "mx.example.com", false); err == nil || text != "" || !strings.Contains(err.Error(), "nothing is remembered of") {
					t.Errorf("%s of what is forgotten: %q, %v", what, text, err)
				}
			}
		})
	}
}

func TestWhatTheCommandsWriteAsJSONIsTheSameBesideAndWithout(t *testing.T) {
	w := newWorld(t)
	p := w.begin(t, w.kept()+w.admin()+w.resolver()+w.outbound(""))
	mail(t, p.at(t, "egress"), "example.com")
	all := func() string {
		list := must1(peersCommand(t, ListPeers, p.file, "", true))
		show := must1(peersCommand(t, ShowPeer, p.file, "example.com", true))
		text, _, err := explained(t, ExplainOptions{Domain: "example.com", Config: p.file, JSON: true})
		must(err)
		for _, one := range []string{list, show, text} {
			var array []map[string]any
			if err := json.Unmarshal([]byte(one), &array); err != nil || len(array) == 0 {
				t.Errorf("%v: %s", err, one)
			}
		}
		return list + show + text
	}
	beside := all()
	must(p.stop())
	if without := all(); without != beside {
		t.Errorf("without:\n%s\nbeside:\n%s", without, beside)
	}
	nothing, err := peersCommand(t, ShowPeer, p.file, "nobody.example", true)
	if err == nil || nothing != "[]\n" {
		t.Errorf("show of nobody: %q, %v", nothing, err)
	}
}

func TestTheMemoryOfNobodyIsAskedInVain(t *testing.T) {
	w := newWorld(t)
	file := w.written(t, w.kept()+w.resolver()+w.outbound(""))
	text, err := peersCommand(t, ListPeers, file, "", false)
	if must(err); !strings.Contains(text, "which does not exist") {
		t.Errorf("without a file: %q", text)
	}
	if text := must1(peersCommand(t, ListPeers, file, "", true)); text != "[]\n" {
		t.Errorf("as JSON: %q", text)
	}
	if _, err := os.Stat(filepath.Join(w.dir, "state")); !os.IsNotExist(err) {
		t.Error("asking has made the file, which would belong to whoever asks")
	}
	file = w.written(t, inMemory+w.resolver()+w.outbound(""))
	if _, err := peersCommand(t, ListPeers, file, "", false); err == nil || !strings.Contains(Hint(err), "socket =") {
		t.Errorf("with state memory: %v", err)
	}
}
