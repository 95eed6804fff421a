package smtpwire

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
)

// copyWith copies a message with the fast way or without it.
func copyWith(fast bool, newlines Newlines, in []byte) (out []byte, size int64, bad error) {
	var to bytes.Buffer
	body := NewBody(newlines, 0)
	body.odd = !fast
	bad, err := body.CopyDots(newWriter(&to), newReader(bytes.NewReader(in)))
	if err != nil {
		bad = err
	}
	return to.Bytes(), body.Size(), bad
}

// evenText is lines of which some are as long as two others, so that a guess at
// the next line's length can pass over an end.
func evenText(r *rand.Rand) []byte {
	var b bytes.Buffer
	length := 8 + r.IntN(60)
	for b.Len() < 2*window+r.IntN(6000) {
		n := length
		switch r.IntN(8) {
		case 0:
			n = (length - 2) / 2
		case 1:
			n = 2*length + 2
		case 2:
			n = r.IntN(100)
		}
		b.WriteString(strings.Repeat("x", n) + "\r\n")
	}
	return b.Bytes()
}

func TestTheFastWayOverTextFindsWhatTheSlowOneFinds(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	odds := []string{"\r", "\n", "\r\n", "\r\n.", "\n.", ".", "\r\n..", "\r\r\n", "\n\n", "\r\n.\r\n", "\r\n.\n", "\n.\r\n"}
	for range 4000 {
		in := evenText(r)
		for range r.IntN(3) {
			i := r.IntN(len(in))
			in = append(in[:i:i], append([]byte(odds[r.IntN(len(odds))]), in[i:]...)...)
		}
		in = append(in, ".\r\n"...)
		for _, newlines := range []Newlines{Reject, Normalize} {
			fast, fastSize, fastBad := copyWith(true, newlines, in)
			slow, slowSize, slowBad := copyWith(false, newlines, in)
			if fastBad != slowBad || fastBad == nil && (!bytes.Equal(fast, slow) || fastSize != slowSize) {
				t.Fatalf("%q\nfast: %d octets, %v\nslow: %d octets, %v", in, fastSize, fastBad, slowSize, slowBad)
			}
		}
	}
}

// What is bare may not make the search begin anew for each octet.
func TestTextOfBareOctetsIsGoneOverOnce(t *testing.T) {
	in := append(bytes.Repeat([]byte("\r"), 1<<20), "\r\n.\r\n"...)
	body := NewBody(Normalize, 0)
	bad, err := body.CopyDots(newWriter(&bytes.Buffer{}), newReader(bytes.NewReader(in)))
	if bad != nil || err != nil || !body.odd {
		t.Errorf("%v, %v, odd %v", bad, err, body.odd)
	}
}
