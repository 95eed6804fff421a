package smtpwire

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// These are the same rules once more, written for whole strings and in another
// way, so that the streaming code has something to agree with.

// refDots finds the end of data in in: what is in front of it, and what follows.
func refDots(in string) (body, rest string, ok bool) {
	before, rest, ok := strings.Cut("\r\n"+in, "\r\n.\r\n")
	return strings.TrimPrefix(before+"\r\n", "\r\n"), rest, ok
}

// refContent is the content of stuffed lines; a dot in front of a bare LF stays.
func refContent(body string) string {
	lines := strings.Split(body, "\r\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") && !strings.HasPrefix(l, ".\n") {
			lines[i] = l[1:]
		}
	}
	return strings.Join(lines, "\r\n")
}

func refNormalize(s string) string {
	lines := strings.Split(s, "\r\n")
	for i, l := range lines {
		lines[i] = strings.NewReplacer("\r", " ", "\n", "\r\n").Replace(l)
	}
	return strings.Join(lines, "\r\n")
}

// unstuff reads what the next server reads, and wants one end, at the end.
func unstuff(out string) (string, error) {
	body, rest, ok := refDots(out)
	if !ok || rest != "" {
		return "", fmt.Errorf("no end, or not at the end, of %q", out)
	}
	lines := strings.Split(body, "\r\n")
	for i, l := range lines {
		lines[i] = strings.TrimPrefix(l, ".")
	}
	return strings.Join(lines, "\r\n"), nil
}

// checkDots compares CopyDots with the reference, for in that has an end.
func checkDots(in string, kind string, p func(string) [][]byte) error {
	body, rest, _ := refDots(in)
	content, bare := refContent(body), hasBare(body)
	got := copyDots(Normalize, 0, kind, p(in))
	if got.bad != nil || got.err != nil || got.rest != rest || hasBare(got.out) {
		return fmt.Errorf("normalized: %+v", got)
	}
	if mended, err := unstuff(got.out); err != nil || mended != refNormalize(content) {
		return fmt.Errorf("normalized %q, want %q, %v", mended, refNormalize(content), err)
	}
	if got.size != int64(len(content)) {
		return fmt.Errorf("normalized: size %d, want %d", got.size, len(content))
	}
	clean := got.out
	switch got = copyDots(Reject, 0, kind, p(in)); {
	case got.err != nil || got.rest != rest:
		return fmt.Errorf("rejected: %+v", got)
	case !bare && (got.bad != nil || got.out != body+".\r\n" || got.out != clean || got.size != int64(len(content))):
		return fmt.Errorf("clean: %+v", got)
	case bare && (got.bad != ErrBareCR && got.bad != ErrBareLF || hasBare(got.out) || !strings.HasPrefix(body, got.out)):
		return fmt.Errorf("bare: %+v", got)
	}
	if len(content) < 2 {
		return nil
	}
	for _, mode := range []Newlines{Reject, Normalize} {
		got = copyDots(mode, int64(len(content))-1, kind, p(in))
		if got.bad == nil || got.err != nil || got.rest != rest || strings.Contains("\r\n"+got.out, "\r\n.\r\n") {
			return fmt.Errorf("over the limit: %+v", got)
		}
	}
	return nil
}

// checkChunks compares the chunks that in makes with the reference.
func checkChunks(source func([][]byte, error) io.Reader, parts ...string) error {
	in := strings.Join(parts, "")
	got := chunks(Reject, 0, source, false, parts...)
	if got.err != nil || got.rest != next || (got.bad != nil) != hasBare(in) || got.bad == nil && got.out != in || !strings.HasPrefix(in, got.out) {
		return fmt.Errorf("copied: %+v", got)
	}
	want := refNormalize(in)
	if want != "" && !strings.HasSuffix(want, "\r\n") {
		want += "\r\n"
	}
	got = chunks(Normalize, 0, source, true, parts...)
	if content, err := unstuff(got.out); err != nil || content != want || got.bad != nil || got.err != nil || got.rest != next || hasBare(got.out) {
		return fmt.Errorf("normalized: %q, %v, %+v", content, err, got)
	}
	stuffed := got.out
	got = chunks(Reject, 0, source, true, parts...)
	if got.err != nil || got.rest != next || (got.bad != nil) != hasBare(in) || got.bad == nil && got.out != stuffed || hasBare(got.out) {
		return fmt.Errorf("stuffed: %+v", got)
	}
	if got.bad != nil && strings.Contains("\r\n"+got.out, "\r\n.\r\n") {
		return fmt.Errorf("a refused message has an end: %+v", got)
	}
	return nil
}

func TestEveryShortMessage(t *testing.T) {
	for n := range 6 {
		everyOf(n, func(s string) {
			in := s + "\r\n.\r\n" + next
			for kind := range sources {
				if err := checkDots(in, kind, each); err != nil {
					t.Errorf("%q, octet by octet, %s: %v", in, kind, err)
				}
				if err := checkDots(in, kind, whole); err != nil {
					t.Errorf("%q, whole, %s: %v", in, kind, err)
				}
			}
			if err := checkChunks(sources["lender"], s[:n/2], s[n/2:]); err != nil {
				t.Errorf("%q in two chunks: %v", s, err)
			}
		})
	}
}

// everyOf calls f with every string of n of CR, LF, dot and x.
func everyOf(n int, f func(string)) {
	if n == 0 {
		f("")
		return
	}
	everyOf(n-1, func(s string) {
		for _, c := range []string{"\r", "\n", ".", "x"} {
			f(s + c)
		}
	})
}

// drawMessage draws text in which everything that matters is frequent.
func drawMessage(t *rapid.T) string {
	part := rapid.OneOf(
		rapid.SampledFrom([]string{"\r\n", "\r\n", "\r\n", "\r\n.", "\r\n..", ".", "\r", "\n", "\x00", "\xff", "x", "\r\n.\r\n"}),
		rapid.Map(rapid.SampledFrom([]int{10, window - 1, window, window + 1, smallBlock - 1, smallBlock, largeBlock - 2, largeBlock}), func(n int) string { return strings.Repeat("x", n) }),
	)
	return strings.Join(rapid.SliceOfN(part, 0, 40).Draw(t, "parts"), "")
}

func TestLongMessagesAgreeWithTheReference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawMessage(t) + "\r\n.\r\n" + next
		seed := rapid.Uint64().Draw(t, "split")
		for kind := range sources {
			if err := checkDots(in, kind, func(s string) [][]byte { return random(s, seed) }); err != nil {
				t.Errorf("%s: %v", kind, err)
			}
		}
	})
}

func TestChunksAgreeWithTheReference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawMessage(t)
		i := rapid.IntRange(0, len(in)).Draw(t, "first cut")
		j := rapid.IntRange(i, len(in)).Draw(t, "second cut")
		for kind, source := range sources {
			if err := checkChunks(source, in[:i], in[i:j], in[j:]); err != nil {
				t.Errorf("%s: %v", kind, err)
			}
		}
	})
}
