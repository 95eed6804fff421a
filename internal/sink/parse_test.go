package sink

import (
	"bufio"
	"bytes"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

func TestPathsAreTakenOutOfTheirCommands(t *testing.T) {
	for line, want := range map[string]string{
		"MAIL FROM:<a@b>\r\n":                  "a@b",
		"MAIL FROM: <a@b> SIZE=3\r\n":          "a@b",
		"MAIL FROM:<>\r\n":                     "",
		"MAIL FROM:<\"a>b\"@c> X=Y\r\n":        "\"a>b\"@c",
		"MAIL FROM:<\"a\\\">b\"@c>\r\n":        "\"a\\\">b\"@c",
		"MAIL FROM:<\"a>b@c\r\n":               "\"a",
		"RCPT TO:a@b NOTIFY=NEVER\r\n":         "a@b",
		"RCPT TO:<@x,@y:a@b> NOTIFY=NEVER\n":   "@x,@y:a@b",
		"RCPT\r\n":                             "",
		"RCPT TO:<unclosed@b NOTIFY=NEVER\r\n": "unclosed@b NOTIFY=NEVER",
	} {
		if got := parsePath(line); got != want {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
}

func TestXCLIENTAttributesAreDecoded(t *testing.T) {
	got := map[string]string{"PORT": "1"}
	parseXCLIENT("XCLIENT addr=192.0.2.1 NAME=a+20b+ LOGIN= HELO=+zz PORT=2\r\n", got)
	want := map[string]string{"ADDR": "192.0.2.1", "NAME": "a b+", "LOGIN": "", "HELO": "+zz", "PORT": "2"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// FuzzEndOfData holds the two readers of DATA to one another: the one that
// only looks for the end and the one that takes the dots out must find the
// same end, however the bytes arrive.
func FuzzEndOfData(f *testing.F) {
	f.Add([]byte(".\r\nQUIT\r\n"))
	f.Add([]byte("a\r\n..b\r\n.\r\nQUIT\r\n"))
	f.Add([]byte("a\n.\r\nb\r.\r\r\n.\n\r\n.\r\n"))
	f.Add([]byte("a\r\n.\r"))
	f.Add(append(bytes.Repeat([]byte("x"), 31), "\r\n.\r\n.\r\n"...))
	f.Fuzz(func(t *testing.T, in []byte) {
		whole := bytes.NewReader(in)
		a := bufio.NewReaderSize(whole, 32)
		size, errA := skip(a)
		b := bufio.NewReaderSize(iotest.OneByteReader(bytes.NewReader(in)), 32)
		var out bytes.Buffer
		errB := unstuff(b, &out)
		if (errA == nil) != (errB == nil) {
			t.Fatalf("skip: %v, unstuff: %v", errA, errB)
		}
		if errA != nil {
			return
		}
		restA, restB := whole.Len()+a.Buffered(), len(in)-int(size)-3
		if restA != restB {
			t.Errorf("skip left %d bytes, and its size says %d", restA, restB)
		}
		if d := cmp.Diff(plainUnstuff(in[:size]), out.Bytes()); d != "" {
			t.Errorf("body (-want +got):\n%s", d)
		}
	})
}

// plainUnstuff is dot-unstuffing by its definition.
func plainUnstuff(b []byte) []byte {
	lines := strings.SplitAfter(string(b), "\r\n")
	for i, l := range lines {
		lines[i] = strings.TrimPrefix(l, ".")
	}
	if len(b) == 0 {
		return nil
	}
	return []byte(strings.Join(lines, ""))
}

// FuzzChecker: a message is right or wrong however it is cut into pieces, and
// what is held of it is bounded.
func FuzzChecker(f *testing.F) {
	f.Add([]byte(signed("1", "x\r\n")), 3)
	f.Add([]byte("Received: x\r\n"+signed("1", "x\r\n")), 1)
	f.Add([]byte(strings.Repeat("x", 300)+"\n"+signed("2", "")), 50)
	f.Fuzz(func(t *testing.T, msg []byte, piece int) {
		if piece < 1 {
			return
		}
		whole, pieces := newChecker(), newChecker()
		whole.Write(msg)
		for left := msg; len(left) > 0; {
			n := min(piece, len(left))
			pieces.Write(left[:n])
			left = left[n:]
		}
		if whole.ok() != pieces.ok() || whole.id != pieces.id || whole.want != pieces.want {
			t.Errorf("whole: %v %q %q, in pieces of %d: %v %q %q", whole.ok(), whole.id, whole.want, piece, pieces.ok(), pieces.id, pieces.want)
		}
		if len(pieces.line) > maxHeld {
			t.Errorf("%d bytes held", len(pieces.line))
		}
	})
}

// FuzzCommands: no command line makes a parser fail other than by its error.
func FuzzCommands(f *testing.F) {
	for _, s := range []string{"BDAT 86 LAST\r\n", "BDAT 0\r\n", "MAIL FROM:<\"a\\", "XCLIENT A=+4 B=+41", "RCPT TO:<>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if n, last, err := parseBDAT(line); n < 0 || err != nil && (n != 0 || last) {
			t.Errorf("parseBDAT: %d, %v, %v", n, last, err)
		}
		if p := parsePath(line); !strings.Contains(line, p) && !strings.Contains(p, `"`) {
			t.Errorf("parsePath made up %q", p)
		}
		attrs := map[string]string{}
		parseXCLIENT(line, attrs)
		for k, v := range attrs {
			if len(v) > len(line) || k != strings.ToUpper(k) {
				t.Errorf("attribute %q=%q", k, v)
			}
		}
		verbOf([]byte(line))
	})
}
