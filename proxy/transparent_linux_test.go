package proxy

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"postern/internal/smtptest"
)

// SEM 9: where the client cannot be shown, nothing is sent in our own name.
func TestWithoutThePermissionToShowTheClientNothingIsSent(t *testing.T) {
	b := smtptest.NewBackend(t, smtptest.Script{})
	backends := newBackends(t, ConveyTransparent, b.Addr)
	client := introduction{client: netip.MustParseAddrPort("192.0.2.7:4711"), hello: "client.test", esmtp: true}
	withoutCapabilities(t, func() {
		_, err := backends.dial(t.Context(), client)
		var r refusal
		if !errors.As(err, &r) || r.cause != CauseBackendXCLIENT || !errors.Is(MayBeTransparent(), unix.EPERM) || !errors.Is(MayMark(7), unix.EPERM) {
			t.Errorf("the backend: %v; transparent: %v; mark: %v", err, MayBeTransparent(), MayMark(7))
		}
	})
	if n := len(b.Conns()); n != 0 {
		t.Errorf("there were %d connections", n)
	}
}

// SEM 9: an address that stands for none would have the kernel choose one of ours.
func TestAClientWithoutAnAddressIsNotShownAsUs(t *testing.T) {
	for client, listen := range map[string]string{"0.0.0.0:4711": "127.0.0.1:0", "[::]:4711": "[::1]:0", "[::ffff:0.0.0.0]:4711": "127.0.0.1:0"} {
		l, err := net.Listen("tcp", listen)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		backends := newBackends(t, ConveyTransparent, l.Addr().String())
		c, err := backends.connect(t.Context(), backends.targets[0], introduction{client: unmap(netip.MustParseAddrPort(client))})
		if err == nil {
			t.Errorf("%s comes from %s", client, c.LocalAddr())
			c.Close()
		} else if causeOf(err) != CauseBackendXCLIENT {
			t.Errorf("%s: %v", client, err)
		}
	}
	backends := newBackends(t, ConveyTransparent, "[::1]:25")
	if _, err := backends.connect(t.Context(), backends.targets[0], introduction{}); causeOf(err) != CauseBackendXCLIENT {
		t.Errorf("no address at all: %v", err)
	}
}

// A probe has no client to show, and comes from our own address.
func TestProbesOfATransparentBackendNeedNoPermission(t *testing.T) {
	b := smtptest.NewBackend(t, smtptest.Script{})
	backends := newBackends(t, ConveyTransparent, b.Addr)
	withoutCapabilities(t, func() { backends.probe(t.Context(), backends.targets[0]) })
	if !backends.Ready() {
		t.Error("not ready")
	}
}

func TestAClientIsShownToBackendsOfItsFamilyAlone(t *testing.T) {
	backends := newBackends(t, ConveyTransparent, "127.0.0.1:1", "[::1]:2", "localhost:3")
	for client, want := range map[string][]string{
		"192.0.2.7:4711":     {"127.0.0.1:1", "localhost:3"},
		"[2001:db8::7]:4711": {"[::1]:2", "localhost:3"},
	} {
		var got []string
		for _, one := range backends.suited(introduction{client: netip.MustParseAddrPort(client)}) {
			got = append(got, one.address)
		}
		if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
			t.Errorf("%s is shown to %q", client, got)
		}
	}
	six := introduction{client: netip.MustParseAddrPort("[2001:db8::7]:4711")}
	if _, err := newBackends(t, ConveyTransparent, "127.0.0.1:1").dial(t.Context(), six); causeOf(err) != CauseBackendXCLIENT {
		t.Errorf("without any: %v", err)
	}
}

// The backend sees the client's address, and TCP works over loopback, for addresses that
// are this machine's already.
func TestABackendSeesTheAddressOfTheClient(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	b := smtptest.NewBackend(t, smtptest.Script{})
	up, err := newBackends(t, ConveyTransparent, b.Addr).dial(t.Context(), introduction{client: netip.MustParseAddrPort("127.9.8.7:4711"), hello: "client.test", esmtp: true})
	if err != nil {
		t.Fatal(err)
	}
	defer up.close()
	if host, _, _ := net.SplitHostPort(b.Connection(0).RemoteAddr().String()); host != "127.9.8.7" {
		t.Errorf("it sees %s", host)
	}
}

func TestSocketsAreMarked(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	b := smtptest.NewBackend(t, smtptest.Script{})
	for name, control := range map[string]net.Dialer{"marked": {Control: marked(7)}, "transparent too": {Control: transparent(7)}} {
		c, err := control.Dial("tcp4", b.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		raw, err := c.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		raw.Control(func(fd uintptr) {
			if mark, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK); mark != 7 {
				t.Errorf("%s: the mark is %d, %v", name, mark, err)
			}
			late, err := unix.GetsockoptInt(int(fd), unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT)
			if (late == 1) != (name != "marked") {
				t.Errorf("%s: the port is chosen at connect: %d, %v", name, late, err)
			}
		})
	}
	if marked(0) != nil {
		t.Error("a mark of 0 is none")
	}
}

func newBackends(t *testing.T, how Convey, addresses ...string) *Backends {
	return NewBackends(BackendOptions{Addresses: addresses, Convey: how, Inbound: "mx", Hostname: "mx.test", Timeouts: patient,
		Observer: NoObserver{}, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
}

// withoutCapabilities calls f on a thread that may do nothing special.
func withoutCapabilities(t *testing.T, f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&header, &none[0]); err != nil {
			t.Errorf("capset: %v", err)
			return
		}
		f()
	}()
	<-done
}
