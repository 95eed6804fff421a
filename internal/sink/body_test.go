package sink

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"testing"
)

// signed is a message that can be verified, unstuffed.
func signed(id, rest string) string {
	h := sha256.Sum256([]byte(rest))
	return idPrefix + id + "\r\n" + sumPrefix + hex.EncodeToString(h[:]) + "\r\n" + rest
}

func stuff(s string) string {
	if strings.HasPrefix(s, ".") {
		s = "." + s
	}
	return strings.ReplaceAll(s, "\r\n.", "\r\n..") + ".\r\n"
}

func TestMessagesAreVerifiedHoweverTheyAreFramed(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	rest := "Subject: x\r\n\r\n.dot\r\n..\r\n" + long + "\r\n\xff\x00 bare \n.\n and \r.\r\r\nend\r\n"
	whole := signed("1", rest)
	chunks := func(sizes ...int) string {
		var b strings.Builder
		left := whole
		for _, n := range append(sizes, len(whole)) {
			n = min(n, len(left))
			last := ""
			if n == len(left) {
				last = " LAST"
			}
			fmt.Fprintf(&b, "BDAT %d%s\r\n%s", n, last, left[:n])
			left = left[n:]
		}
		return b.String()
	}
	received := "Received: from a (b [192.0.2.1])\r\n\tby c with ESMTPS; x\r\n"
	flip := strings.Replace(whole, "end", "enD", 1)
	for _, c := range []struct {
		name, send string
		want       Stats
	}{
		{"DATA", "DATA\r\n" + stuff(whole), Stats{VerifyOK: 1}},
		{"DATA with a Received line on top", "DATA\r\n" + stuff(received+whole), Stats{VerifyOK: 1}},
		{"DATA with an endless line on top", "DATA\r\n" + stuff(long+"\r\n"+whole), Stats{VerifyOK: 1}},
		{"BDAT in one chunk", chunks(), Stats{VerifyOK: 1}},
		{"BDAT split in the id", chunks(5, 3), Stats{VerifyOK: 1}},
		{"BDAT split in the sum", chunks(40, 10, 1), Stats{VerifyOK: 1}},
		{"BDAT split in the body", chunks(200, 0, 50_000), Stats{VerifyOK: 1}},
		{"BDAT with the Received line in a chunk of its own", fmt.Sprintf("BDAT %d\r\n%s%s", len(received), received, chunks(7)), Stats{VerifyOK: 1}},
		{"BDAT ended by an empty last chunk", strings.Replace(chunks(), " LAST", "", 1) + "BDAT 0 LAST\r\n", Stats{VerifyOK: 1}},
		{"one bit flipped in DATA", "DATA\r\n" + stuff(flip), Stats{VerifyBad: 1}},
		{"one bit flipped in BDAT", fmt.Sprintf("BDAT %d LAST\r\n%s", len(flip), flip), Stats{VerifyBad: 1}},
		{"a dot left stuffed", "DATA\r\n" + stuff(strings.ReplaceAll(whole, "\r\n.", "\r\n..")), Stats{VerifyBad: 1}},
		{"no sum at all", "DATA\r\nX\r\n.\r\n", Stats{VerifyBad: 1}},
		{"an empty message", "DATA\r\n.\r\n", Stats{VerifyBad: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := &Server{}
			srv.Reset(true)
			nc := dial(t, start(t, srv, srv.Serve))
			go io.WriteString(nc, c.send+"QUIT\r\n")
			if all, err := io.ReadAll(nc.br); err != nil || !strings.HasSuffix(string(all), "queued\r\n221 2.0.0 bye\r\n") {
				t.Fatalf("the dialog was %q, %v", all, err)
			}
			got := srv.Stats()
			c.want.Messages, c.want.Quit, c.want.Accepted, c.want.Bytes = 1, 1, 1, got.Bytes
			wantStats(t, srv, c.want)
		})
	}
}

func TestAMessageSeenTwiceIsADuplicate(t *testing.T) {
	srv := &Server{}
	srv.Reset(true)
	c := dial(t, start(t, srv, srv.Serve))
	c.say("", "220")
	for _, id := range []string{"1", "2", "1"} {
		c.say("DATA\r\n", "354")
		c.say(stuff(signed(id, "x\r\n")), "250")
	}
	if s := srv.Stats(); s.VerifyOK != 3 || s.Duplicates != 1 {
		t.Errorf("%d verified, %d duplicates, want 3 and 1", s.VerifyOK, s.Duplicates)
	}
	srv.Reset(true)
	wantStats(t, srv, Stats{})
	c.say("DATA\r\n", "354")
	c.say(stuff(signed("1", "x\r\n")), "250")
	if s := srv.Stats(); s.Duplicates != 0 {
		t.Error("ids outlived Reset")
	}
}

func TestOnlyCRLFDotCRLFEndsData(t *testing.T) {
	for _, not := range []string{
		"\n.\n", "\n.\r\n", "\r\n.\n", "\r\n.\r", "\n.\r", "\r.\n", "\r.\r", "\r.\r\n",
		"\r\n\x00.\r\n", "\r\n.\x00\r\n", "\r\n.\r\r\n", "\r\r\n.\r\r\n",
	} {
		for _, verify := range []bool{false, true} {
			t.Run(fmt.Sprintf("%q verify %v", not, verify), func(t *testing.T) {
				srv := &Server{}
				srv.Reset(verify)
				c := dial(t, start(t, srv, srv.Serve))
				c.say("", "220")
				c.say("DATA\r\n", "354")
				c.say("x"+not+"RSET\r\n.\r\nQUIT\r\n", "250 2.0.0 queued", "221")
				if m := srv.Stats().Messages; m != 1 {
					t.Errorf("%d messages, want 1", m)
				}
			})
		}
	}
}
