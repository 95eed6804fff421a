package smtptest

import (
	"slices"
	"testing"
)

func TestTheBackendIsGullible(t *testing.T) {
	for _, end := range []string{"\r\n.\r\n", "\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\rx"} {
		b := NewBackend(t, Script{})
		c := Dial(t, b.Addr)
		c.Expect("220")
		c.Do("DATA", "354")
		c.Send("one" + end + "NOOP smuggled\r\n")
		c.Expect("250")
		c.Expect("250")
		if got := b.Commands(); len(got) != 2 {
			t.Errorf("behind %q it executed %q", end, got)
		}
	}
}

func TestTheBackendKeepsWhatItGets(t *testing.T) {
	b := NewBackend(t, Script{Replies: map[string]string{"RCPT": "550 5.1.1 no"}})
	c := Dial(t, b.Addr)
	c.Expect("220")
	c.Do("EHLO me\r\nRCPT TO:<a@b>", "250", "550 5.1.1 no")
	c.Send("BDAT 3\r\nab\n")
	c.Expect("250")
	c.Send("BDAT 1 LAST\r\n.")
	c.Expect("250")
	if want := []string{"EHLO me", "RCPT TO:<a@b>", "BDAT 3", "BDAT 1 LAST"}; !slices.Equal(b.Commands(), want) {
		t.Errorf("commands %q, want %q", b.Commands(), want)
	}
	if got := b.Messages(); !slices.Equal(got, []string{"ab\n."}) {
		t.Errorf("messages %q", got)
	}
	if got := b.Connection(0).Segments()[0]; got != "EHLO me\r\nRCPT TO:<a@b>\r\n" {
		t.Errorf("first segment %q", got)
	}
}

func TestTheBackendDiesWhereItIsTold(t *testing.T) {
	b := NewBackend(t, Script{Die: "message"})
	c := Dial(t, b.Addr)
	c.Expect("220")
	c.Do("DATA", "354")
	c.Send("x")
	c.ExpectClose()
	b.Connection(0).WaitOver()
}
