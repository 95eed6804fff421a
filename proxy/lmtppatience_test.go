package proxy

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"postern/internal/smtptest"
)

// lasting is how long something took, of the bubble's time.
func lasting(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}

func within3s(t *testing.T, what string, got, want time.Duration) {
	t.Helper()
	if got < want-3*time.Second || got > want+3*time.Second {
		t.Errorf("%s took %v, want %v", what, got, want)
	}
}

// SEM 21: whoever is late with 354 is left behind.
func TestAServerThatIsLateWith354IsClosedWithoutTheDot(t *testing.T) {
	fanned(t, 3, func(t *testing.T, x *fanOut) {
		x.to[1].Play(smtptest.Script{Hold: map[string]<-chan struct{}{"DATA": make(chan struct{})}})
		c := x.client()
		within3s(t, "354", lasting(func() { x.begin(c, 0, 1, 2) }), time.Minute)
		c.Send(letter + ".\r\n")
		c.Expect("250")
		c.Expect("451 4.4.2 mx1.test")
		c.Expect("250")
		x.wantGot(0, 2)
		if got := x.to[1].Conns()[0].Octets(); strings.Contains(got, "hello") || strings.Contains(got, "\r\n.\r\n") {
			t.Errorf("it got %q", got)
		}
	})
}

// stops is a server that takes nothing more behind its 354.
func stops(s smtptest.Script) smtptest.Script {
	s.Answer = func(c *smtptest.Conn, phase, _ string) string {
		if phase != "DATA" {
			return ""
		}
		var to io.Writer = c.Conn
		io.WriteString(to, "354 go\r\n")
		<-time.After(24 * time.Hour)
		return "354"
	}
	return s
}

func TestAServerThatTakesNoOctetForAMinuteIsClosedWithoutTheDot(t *testing.T) {
	fanned(t, 3, func(t *testing.T, x *fanOut) {
		x.to[1].Play(stops(smtptest.Script{}))
		c := x.client()
		x.begin(c, 0, 1, 2)
		long := strings.Repeat(strings.Repeat("x", 76)+"\r\n", 10000)
		defer func() { t.Log(x.log.b.String()) }()
		within3s(t, "the message", lasting(func() {
			c.Send(long + ".\r\n")
			c.Expect("250")
			c.Expect("451 4.4.2 mx1.test")
			c.Expect("250")
		}), time.Minute)
		for _, i := range []int{0, 2} {
			if m := x.to[i].Messages(); len(m) != 1 || m[0] != long {
				t.Errorf("destination %d got %d messages", i, len(m))
			}
		}
		if len(x.to[1].Messages()) != 0 {
			t.Error("the one that stopped got the message")
		}
	})
}

// sips is a server that takes the message, but a KiB in a second.
func sips(s smtptest.Script) smtptest.Script {
	s.Answer = func(c *smtptest.Conn, phase, _ string) string {
		if phase != "DATA" {
			return ""
		}
		io.WriteString(c.Conn, "354 go\r\n")
		for sip := make([]byte, 1<<10); ; time.Sleep(time.Second) {
			if _, err := io.ReadFull(c.Conn, sip); err != nil {
				return "421 4.3.0 what"
			}
		}
	}
	return s
}

func TestAServerThatIsSlowAllAlongHoldsUpTheOthersForAMinuteAtMost(t *testing.T) {
	fanned(t, 3, func(t *testing.T, x *fanOut) {
		x.to[1].Play(sips(smtptest.Script{}))
		c := x.client()
		x.begin(c, 0, 1, 2)
		long := strings.Repeat(strings.Repeat("x", 76)+"\r\n", 10000)
		took := lasting(func() {
			c.Send(long + ".\r\n")
			c.Expect("250")
			c.Expect("451 4.4.2 mx1.test")
			c.Expect("250")
		})
		if took > 3*fanPatience {
			t.Errorf("it took %v", took)
		}
		for _, i := range []int{0, 2} {
			if m := x.to[i].Messages(); len(m) != 1 || m[0] != long {
				t.Errorf("destination %d got %d messages", i, len(m))
			}
		}
	})
}

func TestAServerThatIsSilentBehindTheDotGets9Minutes(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("TLS %v", secure), func(t *testing.T) {
			fanned(t, 3, func(t *testing.T, x *fanOut) {
				silent := smtptest.Script{Hold: map[string]<-chan struct{}{".": make(chan struct{})}}
				if secure {
					silent.TLS = x.w.cert("mx1.test")
				}
				x.to[1].Play(silent)
				c := x.client()
				x.begin(c, 0, 1, 2)
				c.Send(letter + ".\r\n")
				within3s(t, "the first reply", lasting(func() { c.Expect("250") }), 0)
				within3s(t, "the second", lasting(func() { c.Expect("451 4.4.2 mx1.test") }), 9*time.Minute)
				c.Expect("250")
				x.logged("may be delivered twice")
			})
		})
	}
}

// A server that thinks for long is waited for, whatever the leg is made of.
func TestAServerMayThinkForMinutes(t *testing.T) {
	fanned(t, 2, func(t *testing.T, x *fanOut) {
		for i, b := range x.to {
			hold := make(chan struct{})
			time.AfterFunc(8*time.Minute, func() { close(hold) })
			s := smtptest.Script{Hold: map[string]<-chan struct{}{".": hold}}
			if i == 0 {
				s.TLS = x.w.cert("mx0.test")
			}
			b.Play(s)
		}
		c := x.client()
		x.begin(c, 0, 1)
		c.Send(letter + ".\r\n")
		c.Expect("250")
		c.Expect("250")
		x.wantGot(0, 1)
	})
}
