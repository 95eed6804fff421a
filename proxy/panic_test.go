package proxy

import (
	"context"
	"net/netip"
	"testing"

	"postern/internal/smtptest"
	"postern/resolve"
)

// defective panics wherever it is asked.
type defective struct{ noMemory }

func (defective) Avoid(netip.Addr, string) bool { panic("a defect") }

func (defective) ClientName(context.Context, netip.Addr) resolve.ClientName { panic("a defect") }

// wantPanic waits for the line of a panic, and takes it off the log.
func (e *edge) wantPanic() {
	e.t.Helper()
	e.logged("internal error")
	e.watch.update(e.log.b.Reset)
}

func TestAPanicWhileDiallingIsA451AndTheProcessLives(t *testing.T) {
	_, e := one(t, smtptest.Script{Capabilities: []string{"XCLIENT NAME ADDR"}}, convey(ConveyXCLIENT),
		func(p *plan) { p.backends.Names = defective{} })
	c := e.hello()
	c.Do("MAIL FROM:<a@b.test>", "451 4.4.1")
	e.wantPanic()
	c.Do("NOOP", "250")
	e.connect().Do("QUIT", "221")
}

func TestAPanicClosesBothLegsAndLeavesNothingBehind(t *testing.T) {
	b, e := one(t, smtptest.Script{}, func(p *plan) { p.Handshake = defective{} })
	for i := range 3 {
		c := e.connect()
		c.Do("MAIL FROM:<a@b.test>", "250")
		c.Send("EHLO client.test\r\n")
		c.ExpectClose()
		b.Connection(i).WaitOver()
		e.wantPanic()
	}
	ctx, cancel := context.WithTimeout(t.Context(), smtptest.Patience)
	defer cancel()
	if err := e.Shutdown(ctx); err != nil { // waits for the sessions
		t.Error(err)
	}
	e.sweeper.mu.Lock()
	defer e.sweeper.mu.Unlock()
	if n := len(e.sweeper.timers); n != 0 {
		t.Errorf("%d timers are left", n)
	}
	if n := len(e.clients.open); n != 0 {
		t.Errorf("%d places are taken", n)
	}
}
