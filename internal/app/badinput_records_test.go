package app

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"postern/internal/dnstest"
)

// garbage are TLSA records for the world's mail server, each in the place of the right one,
// with what becomes of mail: "" goes out, at that level.
func TestGarbageInTLSARecords(t *testing.T) {
	const hash = "abababababababababababababababababababababababababababababababab"
	for what, c := range map[string]struct {
		records []string // "3 1 1 ab…"
		right   bool     // and the right one
		level   string   // that results at auto
		reply   string
		why     string // in the explanation
	}{
		"usages for browsers":        {[]string{"0 0 1 " + hash, "1 1 1 " + hash}, false, "encrypt", "", "0 of 2 TLSA records"},
		"numbers that nobody knows":  {[]string{"4 1 1 " + hash, "3 9 1 " + hash, "3 1 77 " + hash}, false, "encrypt", "", "0 of 3 TLSA records"},
		"digests cut short":          {[]string{"3 1 1 abab", "3 1 2 " + hash}, false, "encrypt", "", "0 of 2 TLSA records"},
		"certificates that are none": {[]string{"2 0 0 deadbeef", "3 1 0 00", "2 1 0 3000"}, false, "encrypt", "", "of 3 TLSA records"},
		"of somebody else":           {[]string{"3 1 1 " + hash, "2 0 1 " + hash}, false, "dane", "451 4.7.5 mx.DOMAIN [127.0.0.2]: level dane asked by dane: expected a certificate that one of the 2 TLSA records of mx.DOMAIN authenticates, saw", "2 of 2 TLSA records"},
		"garbage beside the right":   {[]string{"4 1 1 " + hash, "3 1 1 abab", "2 0 0 deadbeef"}, true, "dane", "", "of 4 TLSA records"},
		"a hundred of somebody else": {many("3 1 1", 100), true, "dane", "", "101 of 101 TLSA records"},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			records := ""
			for _, r := range c.records {
				records += "_" + w.port + "._tcp.mx TLSA " + r + "\n"
			}
			if c.right {
				records += w.tlsa(true)
			}
			w.signed(t, records)
			p := w.begin(t, inMemory+w.admin()+w.resolverWith("")+w.outbound(""))
			w.wantOutcome(t, p, what, c.reply)
			x, _, _ := explained(t, ExplainOptions{Domain: "example.com", Config: p.file})
			wantWords(t, what, x, c.why, "  "+c.level+", because of its TLSA records")
			if c.reply == "" {
				p.log.await(t, "msg=delivery", "tls="+c.level)
			}
		})
	}
}

// wantOutcome is wantReply for what only the handshake can tell.
func (w *world) wantOutcome(t *testing.T, p *running, what, want string) {
	t.Helper()
	if want == "" {
		mail(t, p.at(t, "egress"), "example.com")
		return
	}
	got := reply(t, p.at(t, "egress"), "example.com")
	if !strings.HasPrefix(got, strings.ReplaceAll(want, "DOMAIN", "example.com")) {
		t.Errorf("%s:\n got %s\nwant %s", what, got, want)
	}
}

func many(kind string, n int) (all []string) {
	for i := range n {
		all = append(all, kind+" "+strings.Repeat(string("0123456789abcdef"[i%16])+string("0123456789abcdef"[i/16]), 32))
	}
	return all
}

// A signature that is there and wrong is worth as little as none; that it takes too much work
// to look through all of them is not the same.
func TestMailWaitsForWrongSignatures(t *testing.T) {
	for flaw, why := range map[dnstest.Flaw]string{
		dnstest.WrongKey: "bogus (the signature for TYPE of NAME does not verify)", dnstest.AlteredData: "bogus (the signature for TYPE of NAME does not verify)",
		dnstest.Expired: "bogus (the signature for TYPE of NAME expired on ", dnstest.NotYet: "bogus (the signature for TYPE of NAME is valid from ",
		dnstest.ForeignName: "bogus (no signature by com for TYPE of NAME)",
		dnstest.TwoBadFirst: "an answer that cannot be validated (it takes more work to validate than any honest zone does)",
	} {
		for _, at := range []struct{ kind, owner, beginning string }{
			{"MX", "@", "451 4.7.5 cannot look up the mail exchangers of DOMAIN: "},
			{"A", "mx", "451 4.7.5 mx.DOMAIN: cannot look up the address of mx.DOMAIN: "},
			{"TLSA", "_PORT._tcp.mx", "451 4.7.5 mx.DOMAIN: cannot look up the TLSA records of _PORT._tcp.mx.DOMAIN: "},
		} {
			w, what := newWorld(t), string(flaw)+" at "+at.owner
			owner := strings.ReplaceAll(at.owner, "PORT", w.port)
			w.twoDestinations(t, time.Now(), map[string]dnstest.Flaw{owner: flaw})
			p := w.begin(t, inMemory+w.admin()+w.resolverWith("")+w.outbound(""))
			p.log.await(t, "signatures through")
			if flaw == dnstest.TwoBadFirst && at.kind == "MX" {
				at.beginning = strings.Replace(at.beginning, "4.7.5", "4.4.3", 1)
			}
			name := strings.TrimPrefix(owner+".example.com", "@.")
			w.wantReply(t, p, what, "example.com", at.beginning+strings.NewReplacer("TYPE", at.kind, "NAME", name).Replace(why))
			w.wantReply(t, p, what, "plain.com", "")
			must(p.stop())
		}
	}
}

// Anchors of another root make all of this one bogus; SEM 27 says for whom that counts.
func TestTrustAnchorsOfAnotherRoot(t *testing.T) {
	for written, want := range map[string]string{
		"":                    "",
		`dnssec = "validate"`: "451 4.7.5 cannot look up the mail exchangers of DOMAIN: bogus (",
	} {
		w := newWorld(t)
		w.twoDestinations(t, time.Now(), nil)
		must(os.WriteFile(w.anchors(), []byte(dnssecRoot), 0o600))
		p := w.begin(t, inMemory+w.admin()+w.resolverWith(written)+w.outbound(""))
		for _, domain := range []string{"example.com", "plain.com"} {
			w.wantReply(t, p, written, domain, want)
		}
		if want == "" {
			p.log.await(t, "DNSSEC is not available", "no key of . is the one that its DS record")
		} else {
			p.log.await(t, "holds DNSSEC signatures back")
		}
		must(p.stop())
	}
}

func TestPosternDoesNotStartOnTrustAnchorsThatAreNone(t *testing.T) {
	w := newWorld(t)
	w.twoDestinations(t, time.Now(), nil)
	for what, c := range map[string]struct{ text, want string }{
		"empty":            {"", "write at least one DS or DNSKEY record"},
		"comments":         {"; nothing\n", "write at least one DS or DNSKEY record"},
		"other records":    {". IN NS a.root-servers.net.\n", "a NS record is none: write DS or DNSKEY records"},
		"cut short":        {w.dns.Anchors[:len(w.dns.Anchors)/2], "trust anchors"},
		"binary":           {"\x00\x01\xff\xfe", "trust anchors"},
		"an old digest":    {". IN DS 20326 8 99 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D\n", "the algorithm or digest of none is supported"},
		"a key not base64": {". IN DNSKEY 257 3 8 !!!\n", "trust anchors"},
	} {
		must(os.WriteFile(w.anchors(), []byte(c.text), 0o600))
		file := w.written(t, inMemory+w.resolverWith("")+w.outbound(""))
		var out bytes.Buffer
		if err := Check(t.Context(), CheckOptions{Config: file, Out: &out}); !errors.Is(err, ErrReported) || !strings.Contains(out.String(), w.anchors()+": ") || !strings.Contains(out.String(), c.want) {
			t.Errorf("%s: %v\n%s", what, err, &out)
		}
	}
}
