package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/template"
)

// direct is the peer without a proxy: loadgen speaks to the sink.
const direct = "direct"

// peer is one parsed peer file.
type peer struct {
	name    string
	kinds   []string
	start   string            // empty for direct
	before  string            // run once before start
	late    bool              // the backend leg opens after RCPT
	async   bool              // the reply may come before the backend has the message
	maxIdle int               // limit of the memory scenario, 0 for none
	share   float64           // of a run's sessions: less for a peer that is slow by a fixed wait
	files   map[string]string // the peer's own files, by name

	proc *process // nil while it does not run, and for direct
	v    vars
}

// vars is what a peer file's templates may use.
type vars struct {
	Name         string // of the peer
	Dir          string // the peer's own folder
	Bin          string // folder with the bench's own programs, and postern
	Workers      int    // worker processes or threads to use
	PortSTARTTLS int    // listen: STARTTLS offered, plaintext to SinkPlain
	PortTLS      int    // listen: implicit TLS, plaintext to SinkPlain
	PortOut      int    // listen: plaintext from the MTA, STARTTLS to SinkSTARTTLS
	PortAux      int    // free for the peer's own use
	SinkPlain    int
	SinkSTARTTLS int
	SinkTLS      int
	Cert, Key    string
	Cert2, Key2  string // the RSA pair beside the ECDSA one; empty in all scenarios but bp…
	Pem          string // certificate and key in one file
	Resume       bool   // the clients come back with session tickets
	Reuse        bool   // upstream connections are kept for the next session
}

// parsePeer reads the text of a peer file: words first, then the peer's own
// files, each behind a line "--- NAME".
func parsePeer(name, text string) (*peer, error) {
	p := &peer{name: name, share: 1, files: map[string]string{}}
	file := ""
	n := 0
	for l := range strings.Lines(text) {
		n++
		if f, ok := strings.CutPrefix(l, "--- "); ok {
			file = strings.TrimSpace(f)
			if file == "" || !filepath.IsLocal(file) {
				return nil, fmt.Errorf("%s.peer:%d: %q is no file name inside the peer's folder", name, n, file)
			}
			p.files[file] = ""
			continue
		}
		if file != "" {
			p.files[file] += l
			continue
		}
		if l = strings.TrimSpace(l); l == "" || l[0] == '#' {
			continue
		}
		if err := p.word(l); err != nil {
			return nil, fmt.Errorf("%s.peer:%d: %w", name, n, err)
		}
	}
	if p.start == "" || len(p.kinds) == 0 {
		return nil, fmt.Errorf("%s.peer: needs the words start and kinds", name)
	}
	return p, nil
}

var allKinds = []string{"starttls", "tls", "plain", "outbound"}

func (p *peer) word(l string) (err error) {
	k, v, _ := strings.Cut(l, " ")
	v = strings.TrimSpace(v)
	switch k {
	case "kinds":
		p.kinds = strings.Fields(v)
		for _, kind := range p.kinds {
			if !slices.Contains(allKinds, kind) {
				return fmt.Errorf("unknown kind %q: use %s", kind, strings.Join(allKinds, ", "))
			}
		}
	case "start":
		p.start = v
	case "before":
		p.before = v
	case "late-backend":
		p.late = v == "yes"
	case "async":
		p.async = v == "yes"
	case "share":
		p.share, err = strconv.ParseFloat(v, 64)
	case "max-idle":
		p.maxIdle, err = strconv.Atoi(v)
	default:
		err = fmt.Errorf("unknown word %q", k)
	}
	return err
}

// loadPeers reads the peers named, in order; "direct" needs no file.
func loadPeers(dir string, names []string) ([]*peer, error) {
	var peers []*peer
	for _, n := range names {
		if n == direct {
			peers = append(peers, &peer{name: n, share: 1, kinds: allKinds})
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, n+".peer"))
		if err != nil {
			return nil, err
		}
		p, err := parsePeer(n, string(b))
		if err != nil {
			return nil, err
		}
		peers = append(peers, p)
	}
	return peers, nil
}

func (p *peer) serves(kind string) bool { return slices.Contains(p.kinds, kind) }

// port is where the peer listens for clients of a kind.
func (p *peer) port(kind string) int {
	switch kind {
	case "tls":
		return p.v.PortTLS
	case "outbound":
		return p.v.PortOut
	}
	return p.v.PortSTARTTLS
}

// expand fills a template of a peer file.
func expand(text string, v vars) (string, error) {
	t, err := template.New("").Parse(text)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	if err := t.Execute(&b, v); err != nil {
		return "", err
	}
	return b.String(), nil
}
