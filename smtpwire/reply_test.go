package smtpwire

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

func TestReadReply(t *testing.T) {
	long := strings.Repeat("x", MaxReplyLine-6)
	for _, c := range []struct {
		in   string
		code int
		want string // the lines; empty: as in
	}{
		{"250 ok\r\n", 250, ""},
		{"250-a\r\n250-b\r\n250 c\r\n", 250, ""},
		{"220 \r\n", 220, ""},
		{"250-\r\n250 \r\n", 250, ""},
		{"250\r\n", 250, "250 \r\n"},
		{"250-a\r\n250\r\n", 250, "250-a\r\n250 \r\n"},
		{"554 5.7.1 Grüße\r\n", 554, ""},
		{"354 go\n", 354, "354 go\r\n"},
		{"250-a\n250 b\n", 250, "250-a\r\n250 b\r\n"},
		{"250 a\r\r\r\n", 250, "250 a\r\n"},
		{"250 a\rb\x00c\x7fd\te\r\n", 250, "250 a b c d\te\r\n"},
		{"250 \xff\xfe\r\n", 250, ""},
		{"250 " + long + "\r\n", 250, ""},
		{"550-5.7.1 no\r\n550 5.7.1 no\r\n", 550, ""},
	} {
		for kind, source := range sources {
			for i, p := range [][][]byte{whole(c.in), each(c.in), random(c.in, 9)} {
				if c.want == "" {
					c.want = c.in
				}
				r := newReader(source(p, errWouldBlock))
				got, err := ReadReply(r, []byte("kept"))
				if err != nil || waited(r) > 0 || got.Code != c.code || string(got.Lines) != c.want {
					t.Errorf("%.40q, %s, split %d: %d %.40q, %v", c.in, kind, i, got.Code, got.Lines, err)
				}
			}
		}
	}
}

func TestReadReplyRefuses(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     error
	}{
		{"another code", "250-a\r\n550 b\r\n", ErrReplySyntax},
		{"another code in between", "250-a\r\n251-b\r\n250 c\r\n", ErrReplySyntax},
		{"no code", "hello\r\n", ErrReplySyntax},
		{"an empty line", "\r\n", ErrReplySyntax},
		{"two digits", "25 a\r\n", ErrReplySyntax},
		{"four digits", "2500 a\r\n", ErrReplySyntax},
		{"1xx", "150 a\r\n", ErrReplySyntax},
		{"6xx", "650 a\r\n", ErrReplySyntax},
		{"another mark", "250+a\r\n", ErrReplySyntax},
		{"a space in front", " 250 a\r\n", ErrReplySyntax},
		{"a TLS alert", "\x15\x03\x01\x00\x02\x02\x28\n", ErrReplySyntax},
		{"a banner of SSH", "SSH-2.0-OpenSSH\r\n", ErrReplySyntax},
		{"a line too long", "250 " + strings.Repeat("x", MaxReplyLine-5) + "\r\n", ErrReplyTooBig},
		{"a line of 1 MB", "250 " + strings.Repeat("x", 1e6) + "\r\n", ErrReplyTooBig},
		{"a line without an end", strings.Repeat("2", 1e6), ErrReplyTooBig},
		{"lines without an end", strings.Repeat("250-x\r\n", 1e5), ErrReplyTooBig},
		{"nothing", "", io.EOF},
		{"the end within a line", "250 a", io.ErrUnexpectedEOF},
		{"the end between lines", "250-a\r\n", io.ErrUnexpectedEOF},
	} {
		for kind, source := range sources {
			for i, p := range [][][]byte{whole(c.in), random(c.in, 9)} {
				if got, err := ReadReply(newReader(source(p, io.EOF)), nil); err != c.want || got.Code != 0 || got.Lines != nil {
					t.Errorf("%s, %s, split %d: %d %.40q, %v", c.name, kind, i, got.Code, got.Lines, err)
				}
			}
		}
	}
}

func TestALongReplyLineIsRefusedHoweverMuchIsBuffered(t *testing.T) {
	r := reader("x\r\n.\r\n250 " + strings.Repeat("x", MaxReplyLine) + "\r\n")
	if bad, err := NewBody(Reject, 0).CopyDots(newWriter(io.Discard), r); bad != nil || err != nil {
		t.Fatal(bad, err)
	}
	if _, err := ReadReply(r, nil); err != ErrReplyTooBig {
		t.Error(err)
	}
}

func TestAReplyNeverGrowsOverItsLimit(t *testing.T) {
	for n := maxReply - 10; n <= maxReply+10; n++ {
		var in strings.Builder
		for in.Len()+1000 < n-20 {
			in.WriteString("250-" + strings.Repeat("x", 994) + "\r\n")
		}
		in.WriteString("250 " + strings.Repeat("x", n-in.Len()-6) + "\r\n")
		buf := make([]byte, 100, 100+maxReply)
		got, err := ReadReply(reader(in.String()), buf)
		if err == nil && (n > maxReply || len(got.Lines) != n || &got.Lines[0] != &buf[:101][100]) || err != nil && (n <= maxReply-1 || err != ErrReplyTooBig) {
			t.Errorf("a reply of %d octets: %d, %v", n, len(got.Lines), err)
		}
	}
}

func TestRepliesFollowEachOther(t *testing.T) {
	r := reader("250 a\r\n250-b\r\n250 c\r\n354 d\r\n")
	var got []string
	for range 3 {
		got = append(got, try(ReadReply(r, nil))(t).String())
	}
	if !slices.Equal(got, []string{"250 a", "250-b / 250 c", "354 d"}) {
		t.Error(got)
	}
}

func TestReplyAccessors(t *testing.T) {
	r := Reply{Code: 451, Lines: []byte("451-one\r\n451 two\r\n")}
	c := r.Clone()
	r.Lines[4] = 'X'
	if c.Class() != 4 || c.Text() != "one" || c.String() != "451-one / 451 two" {
		t.Errorf("%d %q %q", c.Class(), c.Text(), c.String())
	}
	if (Reply{}).Text() != "" || (Reply{}).String() != "" || (Reply{}).Class() != 0 {
		t.Error("the zero Reply")
	}
}

func TestNewReplyIsOneCleanLine(t *testing.T) {
	for _, c := range []struct {
		code           int
		enhanced, text string
		want           string
	}{
		{220, "", "mx.example ESMTP", "220 mx.example ESMTP\r\n"},
		{550, "5.7.1", "no", "550 5.7.1 no\r\n"},
		{550, "5.7.1", "no\r\n250 yes", "550 5.7.1 no  250 yes\r\n"},
		{421, "4.3.2", "a\x00b\x7fc\td", "421 4.3.2 a b c d\r\n"},
		{554, "", "Grüße", "554 Grüße\r\n"},
	} {
		r := NewReply(c.code, c.enhanced, c.text)
		if string(r.Lines) != c.want || r.Code != c.code {
			t.Errorf("%q", r.Lines)
		}
		if back, err := ReadReply(reader(string(r.Lines)), nil); err != nil || string(back.Lines) != c.want {
			t.Errorf("%q is read as %q, %v", r.Lines, back.Lines, err)
		}
	}
}

func TestABrokenConnectionIsNotAReply(t *testing.T) {
	broken := errors.New("connection reset")
	for _, in := range []string{"", "250-a\r\n", "250 a"} {
		if _, err := ReadReply(newReader(&pieces{left: whole(in), end: broken}), nil); err != broken {
			t.Errorf("%q: %v", in, err)
		}
	}
}
